"""Compile an email once per template version and render it per lead."""
