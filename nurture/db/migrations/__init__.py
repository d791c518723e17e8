"""Numbered forward migrations, run by `nurture.db.schema` without an alembic.ini.

`versions/0001_initial.py` (with `initial_sales`) creates the first tables; each later change is a revision of its own.
`ddl` has helpers for tables and triggers.

In a migration, SQLite's foreign keys are off (a table is altered by copying it) and are checked at the end. An
altered table loses its triggers: create them again.
"""
