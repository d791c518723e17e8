"""Keep scores current and show how they come about."""
