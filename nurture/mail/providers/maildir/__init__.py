"""Emails as files in a Maildir."""
