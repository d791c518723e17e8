"""Accounts: import them and match leads with them."""
