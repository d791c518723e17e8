"""Batches that other programs post, their tokens and idempotency keys."""
