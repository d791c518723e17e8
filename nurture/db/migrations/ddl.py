"""Short forms of what revisions write: tables, columns, and triggers that refuse a change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import SchemaItem

from nurture.db.types import Id, Json, UtcDateTime


def table(name: str, *parts: SchemaItem | Iterable[SchemaItem], never_reuse_ids: bool = False) -> None:
    """Create a table of columns, groups of columns, and constraints.

    *never_reuse_ids*: other systems know its rows by their ids, so a restore must be able to
    move the next id on.
    """
    groups = [(part,) if isinstance(part, SchemaItem) else part for part in parts]
    op.create_table(name, *(item for group in groups for item in group), sqlite_autoincrement=never_reuse_ids)


def index(table: str, name: str, *columns: str, where: str | None = None, unique: bool = False) -> None:
    """Create an index, of the rows alone for which *where* holds."""
    rows = None if where is None else sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=rows, postgresql_where=rows)


def check(name: str, rule: str) -> SchemaItem:
    """Return a rule that each row keeps."""
    return sa.CheckConstraint(rule, name=name)


def unique(*columns: str) -> SchemaItem:
    """Return the rule that no two rows have the same *columns*."""
    return sa.UniqueConstraint(*columns)


def generated_id() -> SchemaItem:
    """Return the primary key `id`, which the database numbers."""
    return sa.Column("id", Id, sa.Identity(), primary_key=True)


def ref(name: str, target: str, *, null: bool = False, key: bool = False, index: bool = False) -> SchemaItem:
    """Return a column that refers to *target*, such as "lead.id"."""
    kind = Id if target.endswith(".id") else sa.Integer()
    return sa.Column(
        name, kind, sa.ForeignKey(target), nullable=null, primary_key=key, autoincrement=False, index=index
    )


def _columns(kind: Any, *names: str, null: bool = False, key: bool = False) -> list[SchemaItem]:
    return [sa.Column(name, kind, nullable=null, primary_key=key, autoincrement=False) for name in names]


text = partial(_columns, sa.String)
count = partial(_columns, sa.Integer)
id_or_count = partial(_columns, Id)
number = partial(_columns, sa.Float)
flag = partial(_columns, sa.Boolean)
day = partial(_columns, sa.Date)
blob = partial(_columns, sa.LargeBinary)
timestamp = partial(_columns, UtcDateTime)
json = partial(_columns, Json)


def append_only(table: str, reason: str, *, erasable: Sequence[str] = ()) -> None:
    """Refuse every change of the rows of *table*, but that *erasable* columns lose their words."""
    message = f"{table} is append-only: {reason}"
    update_operation = "UPDATE"
    if erasable:
        columns = [column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)]
        update_operation += f" OF {', '.join(name for name in columns if name not in erasable)}"
        has_text = " OR ".join(f"coalesce(CAST(NEW.{name} AS text), '') <> ''" for name in erasable)
        reject_changes(f"{table}_no_text_change", f"UPDATE OF {', '.join(erasable)} ON {table}", message, when=has_text)
    if op.get_context().dialect.name == "sqlite":
        reject_changes(f"{table}_no_update", f"{update_operation} ON {table}", message)
        reject_changes(f"{table}_no_delete", f"DELETE ON {table}", message)
    else:
        reject_changes(f"{table}_append_only", f"DELETE OR TRUNCATE OR {update_operation} ON {table}", message)


def reject_changes(name: str, operation: str, message: str, *, when: str | None = None) -> None:
    """Create a trigger that answers *operation* with *message*.

    It runs for each row for which *when* holds, or for the statement.
    """
    if op.get_context().dialect.name == "sqlite":
        condition = f" WHEN {when}" if when else ""
        op.execute(f"CREATE TRIGGER {name} BEFORE {operation}{condition} BEGIN SELECT RAISE(ABORT, '{message}'); END")
        return
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    rows = f"FOR EACH ROW WHEN ({when})" if when else "FOR EACH STATEMENT"
    op.execute(f"CREATE TRIGGER {name} BEFORE {operation} {rows} EXECUTE FUNCTION {name}()")
