"""Erase a person, export what is stored about one, and list the copies that must be cleared by hand."""
