"""Consent of leads to open tracking, and the day of their newest open."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, insert, or_, select, update

from nurture.db.tables.consent import open_tracking_consent as open_consent
from nurture.db.tables.delivery import message
from nurture.db.transaction import Transaction


class OpenTrackingConsent(NamedTuple):
    """Whether a lead consented, since when, and the day (UTC) of its newest open."""

    granted: bool = False
    stated_at: datetime | None = None
    last_open_on: date | None = None
    last_open_verdict: str | None = None
    last_open_reason: str | None = None


class OpenEvent(NamedTuple):
    """An open of a message: the day (UTC), the verdict and its reason."""

    lead_id: int
    day: date
    verdict: str
    reason: str


def filter_consenting(tx: Transaction, lead_ids: Sequence[int]) -> set[int]:
    """Return the leads that consented."""
    chosen = tx.ids("chosen", list(set(lead_ids)))
    statement = select(open_consent.c.lead_id).join(chosen, chosen.c.id == open_consent.c.lead_id)
    return set(tx.execute(statement.where(open_consent.c.granted)).scalars())


def record_consent(tx: Transaction, lead_id: int, *, granted: bool, source: str, now: datetime) -> None:
    """Record or withdraw consent; withdrawing also deletes the day of the newest open."""
    values = {"granted": granted, "source": source, "stated_at": now}
    empty = dict.fromkeys(("last_open_on", "last_open_verdict", "last_open_reason"))
    cleared = {} if granted else empty
    changed = update(open_consent).where(open_consent.c.lead_id == lead_id).values(values | cleared)
    if not tx.execute(changed).rowcount:
        tx.execute(insert(open_consent).values(lead_id=lead_id, **values))


_WEAKER_VERDICTS: Final = {"human": ("suspect", "bot"), "suspect": ("bot",), "bot": ()}
"""The verdicts that each verdict replaces on the same day: one human open outweighs those of machines."""


def _newer(event: OpenEvent) -> ColumnElement[bool]:
    today = open_consent.c.last_open_on == event.day
    better = today & open_consent.c.last_open_verdict.in_(_WEAKER_VERDICTS[event.verdict])
    newer = or_(open_consent.c.last_open_on.is_(None), open_consent.c.last_open_on < event.day, better)
    return (open_consent.c.lead_id == event.lead_id) & open_consent.c.granted & newer


def record_open(tx: Transaction, event: OpenEvent) -> None:
    """Record the newest day of an open by a lead that consented, with the best verdict of that day."""
    values = {"last_open_on": event.day, "last_open_verdict": event.verdict, "last_open_reason": event.reason}
    tx.execute(update(open_consent).where(_newer(event)).values(values))


def is_new_open(tx: Transaction, event: OpenEvent) -> bool:
    """Return whether `record_open` would change anything."""
    return tx.execute(select(open_consent.c.lead_id).where(_newer(event))).first() is not None


def load_delivered_at(tx: Transaction, message_id: int) -> datetime | None:
    """Return when a message was delivered, or else accepted by its provider; None if unknown."""
    statement = select(message.c.state, message.c.state_at, message.c.accepted_at)
    row = tx.execute(statement.where(message.c.id == message_id)).one_or_none()
    if row is None:
        return None
    at: datetime | None = row.state_at if row.state == "delivered" else row.accepted_at
    return at


def load_consent(tx: Transaction, lead_id: int) -> OpenTrackingConsent:
    """Return the consent of a lead."""
    statement = select(*(open_consent.c[name] for name in OpenTrackingConsent._fields))
    row = tx.execute(statement.where(open_consent.c.lead_id == lead_id)).one_or_none()
    return OpenTrackingConsent._make(row) if row is not None else OpenTrackingConsent()
