"""Batches posted to the API, API tokens and idempotency keys."""
