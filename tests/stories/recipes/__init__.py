"""Recipes of marketing, each a folder of definitions beside the shipped ones, with a story that proves it."""
