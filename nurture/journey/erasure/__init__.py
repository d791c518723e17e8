"""Erase a person, and name what a person must clear by hand."""
