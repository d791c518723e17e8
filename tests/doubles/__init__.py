"""Doubles of external servers: real servers on loopback, stricter than the originals."""
