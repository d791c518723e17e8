"""Prefect: one flow per stage of the journey. It triggers, observes and retries; it owns no truth."""
