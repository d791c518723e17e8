"""Decide from an address's log of opt-outs and opt-ins whether it may be mailed."""
