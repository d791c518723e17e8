"""Approvals: who approved which version of the policy; no hand-off without one."""

from __future__ import annotations

from datetime import date
from typing import Any

import sqlalchemy as sa
from alembic import op
from ruamel.yaml import YAML

from nurture.store.types import Json, UtcDateTime

revision = "0014_approval"
down_revision = "0013_audit"


def upgrade() -> None:
    """Add the table, count what is published as approved by whom it names, and bind hand-offs to it."""
    table = op.create_table(
        "approval",
        sa.Column("policy_version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("publication_id", sa.Integer, sa.ForeignKey("publication.id"), nullable=False),
        sa.Column("approved_by", sa.String, nullable=False),
        sa.Column("approved_on", sa.Date, nullable=False),
        sa.Column("recorded_at", UtcDateTime, nullable=False),
        sa.Column("how", sa.String, nullable=False),
        sa.UniqueConstraint("publication_id"),
        sa.CheckConstraint("how in ('first', 'approved', 'unchanged')", name="how"),
        sa.CheckConstraint("approved_by <> ''", name="approved_by"),
    )
    rows = _published()
    if rows:
        op.bulk_insert(table, rows)
    _append_only()
    with op.batch_alter_table("offer") as offer:
        offer.create_foreign_key(None, "approval", ["policy_version"], ["policy_version"])


def _published() -> list[dict[str, Any]]:
    """Until now publishing put a version in force, and its file named who had approved it."""
    publication = sa.table(
        "publication",
        sa.column("id", sa.Integer),
        sa.column("kind", sa.String),
        sa.column("version", sa.Integer),
        sa.column("sources", Json),
        sa.column("published_at", UtcDateTime),
    )
    found = sa.select(publication).where(publication.c.kind == "policy").order_by(publication.c.version)
    return [
        {
            "policy_version": row.version,
            "publication_id": row.id,
            "recorded_at": row.published_at,
            "how": "first" if row.version == 1 else "approved",
            **_approved(row.sources, row.published_at.date()),
        }
        for row in op.get_bind().execute(found)
    ]


def _approved(sources: dict[str, str], published_on: date) -> dict[str, Any]:
    said = YAML(typ="safe", pure=True).load(sources.get("sales/policy.yaml", "")) or {}
    approved = said.get("approved") or {}
    on = approved.get("on")
    return {
        "approved_by": str(approved.get("by") or "not known"),
        "approved_on": on if isinstance(on, date) else published_on,
    }


def _append_only() -> None:
    said = "approval is append-only: what was approved stays approved; publish and approve a newer version"
    if op.get_context().dialect.name == "sqlite":
        for act in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER approval_refuses_{act.lower()} BEFORE {act} ON approval "
                f"BEGIN SELECT RAISE(ABORT, '{said}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION approval_refuses() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{said}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER approval_refuses BEFORE UPDATE OR DELETE OR TRUNCATE ON approval "
        "FOR EACH STATEMENT EXECUTE FUNCTION approval_refuses()"
    )
