"""Check and maintain an installation."""
