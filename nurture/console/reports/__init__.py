"""Reports and deliverability: computed in threads, drawn with charts, downloaded as CSV, and acted on."""
