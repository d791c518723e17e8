"""Accounts: import them, match leads with them, and find the rep who talks to a company."""
