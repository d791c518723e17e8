"""Postmark: Email API, webhooks and suppression lists."""
