"""Prefect flows, one per stage. Prefect triggers, observes and retries; all state is in nurture's database."""
