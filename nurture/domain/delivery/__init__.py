"""Define receipts, delivery statuses, retry backoff, sending limits and stops."""
