"""How fast the engine is, beside hand-written loops. Run with `make bench`; nothing here asserts a time."""
