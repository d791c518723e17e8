"""Opt-outs, opt-ins, the preference center and erasure."""
