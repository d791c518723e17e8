"""The files that marketers and sales write, checked as a whole and turned into domain values."""
