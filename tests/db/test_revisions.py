from __future__ import annotations

from alembic.script import Script
from sqlalchemy import inspect

from nurture.db import schema
from nurture.db.engine import Database
from tests.db.revisions import migrate_to


def test_a_database_stops_at_the_revision_that_is_named_and_can_be_upgraded_from_there(empty_db: Database) -> None:
    for script in reversed(list(schema._scripts().walk_revisions())):
        assert isinstance(script, Script)
        migrate_to(empty_db, script.revision)
        assert schema.current(empty_db) == script.revision
        with empty_db.read() as tx:
            assert "lead" in inspect(tx.connection).get_table_names()
    schema.upgrade(empty_db)
    schema.require_current(empty_db)
