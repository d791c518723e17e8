"""Tables, migrations and queries by subject; SQLite and PostgreSQL behave alike."""
