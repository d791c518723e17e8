"""Look into a house from outside: rows, statements, crowds of leads, providers that answer as told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import event, insert, text

from nurture.db.engine import Database
from nurture.db.tables import core
from nurture.db.types import UtcDateTime
from nurture.domain.signals import SignalKind
from nurture.journey.engagement import signals
from nurture.journey.leads.signal_queries import Recorded
from nurture.mail.providers.base import Accepted, Receipt
from nurture.mail.rendering.render import ComposedEmail
from nurture.runtime.context import House
from nurture.runtime.published import Rulebooks
from tests.journey.builders import START


def rows(house: House, sql: str, **values: Any) -> list[tuple[Any, ...]]:
    """Return what *sql* reads, as plain tuples."""
    with house.database.read() as connection:
        return [tuple(row) for row in connection.execute(text(sql), values)]


def one(house: House, sql: str, **values: Any) -> Any:
    """Return the one value that *sql* reads."""
    ((value,),) = rows(house, sql, **values)
    return value


def custody(house: House, lead_id: int) -> tuple[str, str]:
    """Return (kind, ref) of a lead's custodian."""
    ((kind, ref),) = rows(house, "SELECT kind, ref FROM custody WHERE lead_id = :id", id=lead_id)
    return kind, ref


def due_at(house: House, lead_id: int) -> datetime | None:
    """Return when the lead wakes."""
    with house.database.read() as connection:
        wanted = text("SELECT due_at FROM custody WHERE lead_id = :id").columns(due_at=UtcDateTime())
        moment: datetime | None = connection.execute(wanted, {"id": lead_id}).scalar_one()
    return moment


def messages(house: House, kind: str = "touch") -> list[tuple[int, str, str, str]]:
    """Return (lead, step, state, reason) of every mail of *kind*, the oldest first."""
    wanted = "SELECT lead_id, step, state, coalesce(reason, '') FROM message WHERE kind = :kind ORDER BY id"
    return rows(house, wanted, kind=kind)  # type: ignore[return-value]


def events(house: House, lead_id: int) -> list[str]:
    """Return what the journal says of a lead, in order."""
    return [
        row[0] for row in rows(house, "SELECT event FROM journal WHERE lead_id = :id ORDER BY id", id=lead_id)
    ]


def write(house: House, sql: str, **values: Any) -> None:
    """Change the database behind nurture's back."""
    with house.database.write() as connection:
        connection.execute(text(sql), values)


def everything(house: House) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table, to compare before with after."""
    return {name: sorted(rows(house, f"SELECT * FROM {name}"), key=repr) for name in core.metadata.tables}


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """Collect the statements that *database* is sent meanwhile."""
    seen: list[str] = []

    def note(_c: object, _u: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def crowd(house: House, count: int, at: datetime = START, **facts: Any) -> list[int]:
    """Bring *count* leads to intake at once."""
    names = core.metadata.tables
    with house.database.write() as connection:
        ids = house.database.reserve_ids(connection, "lead", count)
        boxes = house.database.reserve_ids(connection, "address", count)
        mail = [f"one{box}@crowd.example" for box in boxes]
        connection.execute(
            insert(names["address"]),
            [{"id": box, "email": name, "normal": name} for box, name in zip(boxes, mail, strict=True)],
        )
        lead = {
            "source": "crowd",
            "facts": facts,
            "zone": "UTC",
            "country": "",
            "basis": "consent",
            "engagement": 0.0,
            "readiness": "",
            "first_contact_at": at,
            "created_at": at,
            "updated_at": at,
        }
        connection.execute(
            insert(names["lead"]),
            [{"id": id_, "address_id": box, **lead} for id_, box in zip(ids, boxes, strict=True)],
        )
        kept = {
            "kind": "intake",
            "ref": "crowd",
            "since": at,
            "next_action": "classify",
            "due_at": at,
            "version": 1,
        }
        connection.execute(insert(names["custody"]), [{"lead_id": id_, **kept} for id_ in ids])
        came = {
            "at": at,
            "stage": "intake",
            "event": "came_in",
            "because": "",
            "custody_to": "intake",
            "ref": "crowd",
        }
        connection.execute(insert(names["journal"]), [{"lead_id": id_, **came} for id_ in ids])
    return ids


def heard(
    lead_id: int, kind: SignalKind, at: datetime, value: str | None = None, step: str | None = None
) -> Recorded:
    """Return a signal of a lead on `welcome`, as a door of ours would record it."""
    key = f"{lead_id}|{kind}|{at.isoformat()}|{value}|{step}"
    return Recorded(lead_id, kind.value, at, at, key, "test", step=step, value=value)


def tell(house: House, lead_id: int, kind: SignalKind, at: datetime, value: str | None = None) -> int:
    """Let a lead do something at *at*, heard at once."""
    return signals.record(house, [heard(lead_id, kind, at, value)], at)


def same_house(house: House, provider: Any = None) -> House:
    """Return another worker's house on the same database, with connections of its own."""
    url = house.database.url.render_as_string(hide_password=False)
    return House(
        Database(url),
        provider or house.provider,
        base_url=house.base_url,
        batch=house.batch,
        rulebooks=Rulebooks(),
    )


@dataclass
class Post:
    """A provider that remembers what it was given, and answers as it is told."""

    answer: Callable[[ComposedEmail, datetime], Receipt] = lambda email, _: Accepted(email.ref)
    sent: list[tuple[datetime, str, str]] = field(default_factory=list)
    name: str = "post"
    at_once: int = 500

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
