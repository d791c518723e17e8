"""SMTP: connection, envelope and receipts."""
