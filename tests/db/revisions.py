"""Migrate an empty database to any revision, to test the next one with rows in the tables."""

from __future__ import annotations

from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext

from nurture.db import schema
from nurture.db.engine import Database
from nurture.db.metadata import metadata


def migrate_to(db: Database, revision: str) -> None:
    """Apply the revisions up to *revision* to *db*, as `schema.upgrade` applies all of them."""
    scripts = schema._scripts()

    def steps(current: Any, _context: MigrationContext) -> Any:
        return scripts._upgrade_revs(revision, current)

    with db.alter() as tx, EnvironmentContext(Config(), scripts, fn=steps) as environment:
        environment.configure(connection=tx.connection, target_metadata=metadata, render_as_batch=True)
        environment.run_migrations()
