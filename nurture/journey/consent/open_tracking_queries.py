"""Who agreed to hear of opens, and the day of the newest one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, insert, or_, select, update

from nurture.db.engine import Database
from nurture.db.tables import core, engagement

message: Table = core.Message.__table__  # type: ignore[attr-defined]
open_consent: Table = engagement.OpenConsent.__table__  # type: ignore[attr-defined]


class Consent(NamedTuple):
    """Whether a lead agreed, since when, and the day (UTC) of its newest open."""

    granted: bool = False
    stated_at: datetime | None = None
    last_open_on: date | None = None
    last_open_verdict: str | None = None
    last_open_because: str | None = None


class Opened(NamedTuple):
    """An open of a lead's mail: on which day (UTC), who it seems to have been, and why."""

    lead_id: int
    day: date
    verdict: str
    because: str


def granted(database: Database, connection: Connection, lead_ids: Sequence[int]) -> set[int]:
    """Return those of the leads who agreed."""
    chosen = database.ids("chosen", list(set(lead_ids)))
    wanted = select(open_consent.c.lead_id).join(chosen, chosen.c.id == open_consent.c.lead_id)
    return set(connection.execute(wanted.where(open_consent.c.granted)).scalars())


def state(connection: Connection, lead_id: int, *, granted: bool, source: str, now: datetime) -> None:
    """Write what a lead says about it now; who withdraws has the day forgotten too."""
    values = {"granted": granted, "source": source, "stated_at": now}
    none = dict.fromkeys(("last_open_on", "last_open_verdict", "last_open_because"))
    forgotten = {} if granted else none
    changed = update(open_consent).where(open_consent.c.lead_id == lead_id).values(values | forgotten)
    if not connection.execute(changed).rowcount:
        connection.execute(insert(open_consent).values(lead_id=lead_id, **values))


_LESS: Final = {
    "human": ("suspect", "bot"),
    "suspect": ("bot",),
    "bot": (),
}
"""Which verdicts each is worth more than: one reader on a day counts, whatever machines fetched."""


def _newer(one: Opened) -> ColumnElement[bool]:
    today = open_consent.c.last_open_on == one.day
    better = today & open_consent.c.last_open_verdict.in_(_LESS[one.verdict])
    newer = or_(open_consent.c.last_open_on.is_(None), open_consent.c.last_open_on < one.day, better)
    return (open_consent.c.lead_id == one.lead_id) & open_consent.c.granted & newer


def note(connection: Connection, one: Opened) -> None:
    """Keep the newest day on which a lead that agreed opened a mail, and the best verdict of that day."""
    values = {
        "last_open_on": one.day,
        "last_open_verdict": one.verdict,
        "last_open_because": one.because,
    }
    connection.execute(update(open_consent).where(_newer(one)).values(values))


def is_news(connection: Connection, one: Opened) -> bool:
    """Tell whether `note` would change anything."""
    return connection.execute(select(open_consent.c.lead_id).where(_newer(one))).first() is not None


def delivered_at(connection: Connection, message_id: int) -> datetime | None:
    """Return when a mail was there, or else taken by its provider; None if nobody knows."""
    wanted = select(message.c.state, message.c.state_at, message.c.accepted_at)
    row = connection.execute(wanted.where(message.c.id == message_id)).one_or_none()
    if row is None:
        return None
    at: datetime | None = row.state_at if row.state == "delivered" else row.accepted_at
    return at


def find(connection: Connection, lead_id: int) -> Consent:
    """Return what a lead said of it."""
    wanted = select(*(open_consent.c[name] for name in Consent._fields))
    row = connection.execute(wanted.where(open_consent.c.lead_id == lead_id)).one_or_none()
    return Consent._make(row) if row is not None else Consent()
