"""Measures: the figure of every requirement, with its definition, trend and leads."""
