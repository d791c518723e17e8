"""Notify reps outside of email: Slack, Teams and other services."""
