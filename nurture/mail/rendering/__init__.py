"""Compile emails per template version and render them per lead."""
