"""Engine, tables, migrations, locks and health of the database, on SQLite and PostgreSQL."""
