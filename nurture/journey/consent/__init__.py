"""Opt-outs, opt-ins and consent to open tracking."""
