"""Inspect a context from outside: rows, statements, many leads at once, a provider that records mail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import event, insert, text

from nurture.db.engine import Database
from nurture.db.metadata import metadata
from nurture.db.types import UtcDateTime
from nurture.domain.consent.statements import grant
from nurture.domain.delivery.receipts import Accepted, Receipt
from nurture.domain.signals import SignalKind
from nurture.journey.engagement import signals
from nurture.journey.leads import consent_queries
from nurture.journey.leads.custody import JournalEntry, write_journal
from nurture.journey.leads.signal_queries import NewSignal
from nurture.journey.message_kinds import MESSAGE_KINDS
from nurture.mail.rendering.render import ComposedEmail
from nurture.runtime.context import AppContext
from nurture.runtime.published import PublishedDefinitions
from tests.journey.builders import START


def rows(ctx: AppContext, sql: str, **values: Any) -> list[tuple[Any, ...]]:
    """Return what *sql* reads, as plain tuples."""
    with ctx.database.read() as tx:
        return [tuple(row) for row in tx.execute(_parse(sql), values)]


_parse = cache(text)


def one(ctx: AppContext, sql: str, **values: Any) -> Any:
    """Return the one value that *sql* reads."""
    ((value,),) = rows(ctx, sql, **values)
    return value


def custody(ctx: AppContext, lead_id: int) -> tuple[str, str]:
    """Return (kind, ref) of a lead's custodian."""
    ((kind, ref),) = rows(ctx, "SELECT kind, ref FROM custody WHERE lead_id = :id", id=lead_id)
    return kind, ref


def due_at(ctx: AppContext, lead_id: int) -> datetime | None:
    """Return when the lead is due."""
    with ctx.database.read() as tx:
        query = text("SELECT due_at FROM custody WHERE lead_id = :id").columns(due_at=UtcDateTime())
        at: datetime | None = tx.execute(query, {"id": lead_id}).scalar_one()
    return at


def messages(ctx: AppContext, kind: str = "touch") -> list[tuple[int, str, str, str]]:
    """Return (lead, step, state, reason) of every mail of *kind*, the oldest first."""
    query = "SELECT lead_id, step, state, coalesce(reason, '') FROM message WHERE kind = :kind ORDER BY id"
    return rows(ctx, query, kind=kind)  # type: ignore[return-value]


def events(ctx: AppContext, lead_id: int) -> list[str]:
    """Return the journal events of a lead, in order."""
    return [row[0] for row in rows(ctx, "SELECT event FROM journal WHERE lead_id = :id ORDER BY id", id=lead_id)]


def write(ctx: AppContext, sql: str, **values: Any) -> None:
    """Change the database directly."""
    with ctx.database.write() as tx:
        tx.execute(text(sql), values)


def all_rows(ctx: AppContext) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table, to compare states."""
    return {name: sorted(rows(ctx, f"SELECT * FROM {name}"), key=repr) for name in metadata.tables}


def _is_rest_of(before: str, statement: str) -> bool:
    """Return whether *statement* inserts what was left, fewer rows, of the many rows at once of the one before."""
    head, values, _ = statement.partition(" VALUES (")
    return bool(values) and before.startswith(head + values) and len(before) > len(statement)


@contextmanager
def recorded_statements(database: Database) -> Iterator[list[str]]:
    """Collect the statements sent to *database* inside the block; an insert in two parts counts once."""
    statements: list[str] = []

    def note(_c: object, _u: object, statement: str, *_: object) -> None:
        if not statements or not _is_rest_of(statements[-1], statement):
            statements.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def add_leads(ctx: AppContext, count: int, at: datetime = START, **fields: Any) -> list[int]:
    """Bring *count* leads to intake at once."""
    names = metadata.tables
    with ctx.database.write() as tx:
        ids = tx.reserve_ids("lead", count)
        address_ids = tx.reserve_ids("address", count)
        mail = [f"one{address_id}@many.example" for address_id in address_ids]
        tx.execute(
            insert(names["address"]),
            [
                {"id": address_id, "email": name, "normalized": name}
                for address_id, name in zip(address_ids, mail, strict=True)
            ],
        )
        statements = [(address_id, grant("consent", "test", None, at)) for address_id in address_ids]
        consent_queries.append_statements(tx, statements)
        lead = {
            "source": "test",
            "fields": fields,
            "zone": "UTC",
            "country": "",
            "consent_basis": "consent",
            "engagement": 0.0,
            "readiness": "",
            "first_contact_at": at,
            "created_at": at,
            "updated_at": at,
        }
        tx.execute(
            insert(names["lead"]),
            [{"id": id_, "address_id": address_id, **lead} for id_, address_id in zip(ids, address_ids, strict=True)],
        )
        custody_row = {
            "kind": "intake",
            "ref": "test",
            "since": at,
            "next_action": "classify",
            "due_at": at,
            "version": 1,
        }
        tx.execute(insert(names["custody"]), [{"lead_id": id_, **custody_row} for id_ in ids])
        write_journal(
            tx, [JournalEntry(id_, at, "intake", "imported", "", custody_to="intake", ref="test") for id_ in ids]
        )
    return ids


def new_signal(
    lead_id: int, kind: SignalKind, at: datetime, value: str | None = None, step: str | None = None
) -> NewSignal:
    """Return a signal of a lead on `welcome`, as a tracked link would record it."""
    key = f"{lead_id}|{kind}|{at.isoformat()}|{value}|{step}"
    return NewSignal(lead_id, kind.value, at, at, key, "test", step=step, value=value)


def record_signal(ctx: AppContext, lead_id: int, kind: SignalKind, at: datetime, value: str | None = None) -> int:
    """Record a signal of a lead at *at*, and apply it at once."""
    return signals.record(ctx, [new_signal(lead_id, kind, at, value)], at)


def worker_context(ctx: AppContext, provider: Any = None) -> AppContext:
    """Return another worker's context on the same database, with its own connections."""
    url = ctx.database.url.render_as_string(hide_password=False)
    return AppContext(
        Database(url),
        provider or ctx.provider,
        base_url=ctx.base_url,
        batch_size=ctx.batch_size,
        definitions=PublishedDefinitions(),
        message_kinds=MESSAGE_KINDS,
    )


@dataclass
class RecordingProvider:
    """A provider that records what it is given, and answers as configured."""

    answer: Callable[[ComposedEmail, datetime], Receipt] = lambda email, _: Accepted(email.ref)
    sent: list[tuple[datetime, str, str]] = field(default_factory=list)
    name: str = "post"
    max_concurrency: int = 500

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        self.sent += [(now, email.ref, email.subject) for email in batch]
        return [self.answer(email, now) for email in batch]

    def check(self, email: ComposedEmail, now: datetime) -> None:
        pass

    def close(self) -> None:
        pass

    @property
    def refs(self) -> list[str]:
        return [ref for _, ref, _ in self.sent]
