"""Who agreed to hear of opens, and the day of the newest one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import Connection, Table, insert, or_, select, update

from nurture.store import listening_tables
from nurture.store.database import Database

open_consent: Table = listening_tables.OpenConsent.__table__  # type: ignore[attr-defined]


class Consent(NamedTuple):
    """Whether a lead agreed, since when, and the day (UTC) of its newest open."""

    granted: bool = False
    stated_at: datetime | None = None
    last_open_on: date | None = None


def granted(database: Database, connection: Connection, lead_ids: Sequence[int]) -> set[int]:
    """Return those of the leads who agreed."""
    chosen = database.ids("chosen", list(set(lead_ids)))
    wanted = select(open_consent.c.lead_id).join(chosen, chosen.c.id == open_consent.c.lead_id)
    return set(connection.execute(wanted.where(open_consent.c.granted)).scalars())


def state(connection: Connection, lead_id: int, *, granted: bool, source: str, now: datetime) -> None:
    """Write what a lead says about it now; who withdraws has the day forgotten too."""
    values = {"granted": granted, "source": source, "stated_at": now}
    forgotten = {} if granted else {"last_open_on": None}
    changed = update(open_consent).where(open_consent.c.lead_id == lead_id).values(values | forgotten)
    if not connection.execute(changed).rowcount:
        connection.execute(insert(open_consent).values(lead_id=lead_id, **values))


def note(connection: Connection, lead_id: int, day: date) -> None:
    """Keep the newest day on which a lead that agreed opened a mail."""
    newer = or_(open_consent.c.last_open_on.is_(None), open_consent.c.last_open_on < day)
    mine = (open_consent.c.lead_id == lead_id) & open_consent.c.granted
    connection.execute(update(open_consent).where(mine, newer).values(last_open_on=day))


def is_news(connection: Connection, lead_id: int, day: date) -> bool:
    """Tell whether `note` would change anything."""
    newer = or_(open_consent.c.last_open_on.is_(None), open_consent.c.last_open_on < day)
    wanted = select(open_consent.c.lead_id).where(
        open_consent.c.lead_id == lead_id, open_consent.c.granted, newer
    )
    return connection.execute(wanted).first() is not None


def find(connection: Connection, lead_id: int) -> Consent:
    """Return what a lead said of it."""
    wanted = select(open_consent.c.granted, open_consent.c.stated_at, open_consent.c.last_open_on).where(
        open_consent.c.lead_id == lead_id
    )
    row = connection.execute(wanted).one_or_none()
    return Consent._make(row) if row is not None else Consent()
