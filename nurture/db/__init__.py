"""Engine, transactions, tables, migrations and locks of the database, on SQLite and PostgreSQL."""
