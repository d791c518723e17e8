"""Numbered, forward migrations. `nurture.store.schema` runs them; no alembic.ini is needed.

Inside a migration SQLite's foreign keys are off (a table is altered by copying it) and checked at the end.
A table that is altered so loses its triggers: make them again.
"""
