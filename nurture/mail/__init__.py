"""Email: compile templates, compose per lead, send with a provider, read inbound mail."""
