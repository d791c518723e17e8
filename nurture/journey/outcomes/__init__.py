"""Record how leads ended."""
