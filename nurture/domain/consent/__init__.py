"""Decide from a log of opt-outs and opt-ins whether an address may be mailed."""
