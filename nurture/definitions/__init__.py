"""Read the files that marketing and sales write, check them as a whole, and turn them into domain values."""
