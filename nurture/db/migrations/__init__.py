"""Numbered, forward migrations. `nurture.db.schema` runs them; no alembic.ini is needed.

`versions/0001_initial.py` (with `initial_sales`) creates everything; until the first release columns are
changed there. `ddl` has short forms for tables and triggers, for later revisions too.

Inside a migration SQLite's foreign keys are off (a table is altered by copying it) and checked at the end.
A table that is altered so loses its triggers: make them again.
"""
