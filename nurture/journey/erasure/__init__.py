"""Erase a person, and list the copies that must be cleared by hand."""
