"""Emails: compiled once per template version, composed per lead, handed to a provider."""
