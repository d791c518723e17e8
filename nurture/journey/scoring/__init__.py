"""Recompute and explain scores."""
