"""SMTP: one connection, envelopes and receipts."""
