"""Accounts and which lead belongs to which."""
