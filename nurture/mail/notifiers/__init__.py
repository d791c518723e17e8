"""Notify reps outside email: Slack, Teams and other services."""
