"""Score engagement and fit, and filter clicks made by bots."""
