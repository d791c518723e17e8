"""Decide from an address's consent statements, opt-outs and opt-ins whether it may be mailed."""
