"""Check, preview, publish and approve definitions."""
