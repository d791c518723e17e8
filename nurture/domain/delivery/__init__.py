"""Delivery statuses, retry backoff and sending limits."""
