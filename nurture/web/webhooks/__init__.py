"""Endpoints for events and mail from providers."""
