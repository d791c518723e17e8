"""Doubles of other people's servers: real processes on loopback, stricter than what they stand for."""
