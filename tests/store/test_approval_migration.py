"""Policies that were published before approvals existed count as approved by whom they name."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import orjson
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from nurture.store import schema
from nurture.store.database import Database
from nurture.store.schema import _MIGRATIONS

BEFORE = "0013_audit"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def upgrade_to(db: Database, revision: str) -> None:
    scripts = ScriptDirectory(str(_MIGRATIONS))

    def steps(found: Any, _context: Any) -> Any:
        return scripts._upgrade_revs(revision, found)

    with db.alter() as connection, EnvironmentContext(Config(), scripts, fn=steps) as environment:
        environment.configure(connection=connection, render_as_batch=True)
        environment.run_migrations()


def insert(db: Database, table: str, **values: Any) -> None:
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    bound = {name: one.isoformat() if isinstance(one, datetime) else one for name, one in values.items()}
    with db.write() as connection:
        connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), bound)


def publish(db: Database, version: int, policy: str) -> None:
    sources = orjson.dumps({"sales/policy.yaml": policy}).decode()
    insert(
        db, "publication", kind="policy", name="policy", version=version, digest="d", sources=sources,
        published_at=NOON,
    )  # fmt: skip


def test_what_was_published_is_in_force_and_hand_offs_keep_their_version(empty_db: Database) -> None:
    upgrade_to(empty_db, BEFORE)
    publish(empty_db, 1, "approved: {by: 'Mara, sales', on: 2026-01-15}\n")
    publish(empty_db, 2, "approved: {by: Ada}\n")
    publish(empty_db, 3, "points: {}\n")
    insert(
        empty_db, "lead", source="x", facts="{}", zone="", country="", engagement=0, readiness="",
        first_contact_at=NOON, created_at=NOON, updated_at=NOON,
    )  # fmt: skip
    with empty_db.read() as connection:
        lead = connection.execute(text("SELECT id FROM lead")).scalar_one()
    insert(
        empty_db, "offer", lead_id=lead, rep="ana", rule="r", because="b", routed_because="b",
        policy_version=2, state="offered", offered_at=NOON, expires_at=NOON, level=0, round=1, urgency=0,
        hot=False,
    )  # fmt: skip
    assert schema.upgrade(empty_db)[0] == "0014_approval"
    with empty_db.read() as connection:
        found = connection.execute(
            text("SELECT policy_version, approved_by, approved_on, how FROM approval ORDER BY policy_version")
        ).all()
        assert connection.execute(text("SELECT rep, policy_version FROM offer")).all() == [("ana", 2)]
    assert [(version, by, date.fromisoformat(str(on)), how) for version, by, on, how in found] == [
        (1, "Mara, sales", date(2026, 1, 15), "first"),
        (2, "Ada", date(2026, 3, 1), "approved"),
        (3, "not known", date(2026, 3, 1), "approved"),
    ]
