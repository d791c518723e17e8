"""Offer leads to reps, follow the SLA and take responses."""
