"""Enroll leads in tracks and advance them."""
