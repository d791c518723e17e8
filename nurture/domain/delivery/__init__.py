"""Define delivery statuses, retry backoff and sending limits."""
