"""Bring leads in from files and programs."""
