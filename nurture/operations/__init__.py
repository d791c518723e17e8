"""Checks and maintenance of an installation."""
