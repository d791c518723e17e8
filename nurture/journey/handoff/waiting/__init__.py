"""The leads that wait in queues: checks, lists to their owners, and decisions."""
