"""Reads and writes of lead columns other than custody, and of their addresses."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, FromClause, Select, String, func, literal, or_, select, union, update

from nurture.db import lead_counts
from nurture.db.row_values import Columns
from nurture.db.tables.handoff import offer
from nurture.db.tables.leads import address, custody, identity, lead
from nurture.db.transaction import Transaction
from nurture.domain.lead import PausedBy


def reset_engagement(tx: Transaction, lead_ids: Sequence[int], now: datetime, *, clear_dates: bool = True) -> None:
    """Reset the score that led to a hand-off; with *clear_dates* also the decision and callback dates."""
    chosen = tx.ids("chosen", lead_ids)
    values = {"engagement": 0.0, "engagement_at": None, "signals_since": now, "restated_fields": None}
    values["updated_at"] = now
    if clear_dates:
        values |= {"decides_on": None, "decides_stated_at": None, "call_on": None}
    tx.execute(update(lead).where(lead.c.id == chosen.c.id).values(values))


def mark_customers(tx: Transaction, lead_ids: Sequence[int], now: datetime) -> None:
    """Mark leads as customers since *now*. What led to the sale counts no more."""
    if not lead_ids:
        return
    reset_engagement(tx, lead_ids, now)
    chosen = tx.ids("chosen", lead_ids)
    became = update(lead).where(lead.c.id == chosen.c.id, lead.c.customer_since.is_(None))
    tx.execute(became.values(customer_since=now))


def unmark_customer(tx: Transaction, lead_id: int) -> None:
    """Make a customer a lead again: its sale was not won."""
    tx.execute(update(lead).where(lead.c.id == lead_id).values(customer_since=None))


def reset_accepted_engagement(tx: Transaction, lead_ids: Sequence[int]) -> None:
    """Exclude the signals that led to accepted hand-offs from the score of leads that return after these.

    An empty points key makes the next sweep recompute the score, as after a change of the points.
    """
    chosen = tx.ids("chosen", lead_ids)
    accepted = (
        select(offer.c.lead_id, func.max(offer.c.answered_at, type_=offer.c.answered_at.type).label("at"))
        .join(chosen, chosen.c.id == offer.c.lead_id)
        .where(offer.c.state.in_(("accepted", "lapsed")), offer.c.answered_at.is_not(None))
        .group_by(offer.c.lead_id)
        .subquery()
    )
    same_lead = lead.c.id == accepted.c.lead_id
    stale = or_(lead.c.signals_since.is_(None), lead.c.signals_since < accepted.c.at)
    tx.execute(update(lead).where(same_lead, lead.c.decides_stated_at <= accepted.c.at).values(decides_on=None))
    tx.execute(update(lead).where(same_lead, stale).values(signals_since=accepted.c.at, points_key=""))


def set_timeline(tx: Transaction, lead_id: int, decides_on: date, now: datetime) -> None:
    """Set the date on which the lead decides."""
    tx.execute(
        update(lead).where(lead.c.id == lead_id).values(decides_on=decides_on, decides_stated_at=now, updated_at=now)
    )


def clear_timeline(tx: Transaction, lead_id: int, now: datetime) -> None:
    """Clear the decision date. The time of the change is kept, so that older statements do not restore it."""
    tx.execute(update(lead).where(lead.c.id == lead_id).values(decides_on=None, decides_stated_at=now, updated_at=now))


def set_callback_date(tx: Transaction, lead_id: int, call_on: date, now: datetime) -> None:
    """Set the date on which the lead asked to be called."""
    tx.execute(update(lead).where(lead.c.id == lead_id).values(call_on=call_on, updated_at=now))


def record_readiness_rules(tx: Transaction, rows: Sequence[tuple[int, str]]) -> None:
    """Write the readiness rule that classified each lead; *rows* are (lead id, rule)."""
    rules = dict(rows)
    before = lead_counts.load_counted(tx, rules)
    lead_counts.count_changes(tx, [(old, old._replace(readiness=rules[id_])) for id_, old in before.items()])
    tx.update_by_id(lead, ("readiness",), rows)


def pause(tx: Transaction, lead_ids: Sequence[int], until: datetime | None, by: PausedBy, now: datetime) -> None:
    """Pause mail to these leads until *until*, with who asked for it; None ends the pause."""
    who = {"paused_at": now, "paused_by": by} if until is not None else {"paused_at": None, "paused_by": None}
    rows = [(lead_id,) for lead_id in lead_ids]
    tx.update_by_id(lead, (), rows, paused_until=until, updated_at=now, **who)


def set_touch_interval(tx: Transaction, lead_id: int, days: int | None, now: datetime) -> None:
    """Set the lead's minimum number of days between touches; None leaves it to the track."""
    tx.execute(update(lead).where(lead.c.id == lead_id).values(touch_interval_days=days, updated_at=now))


def filter_existing(tx: Transaction, lead_ids: Collection[int]) -> set[int]:
    """Return those of these leads that exist and are not erased."""
    if not lead_ids:
        return set()
    return set(tx.execute_for(_existing_query, sorted(set(lead_ids))).scalars())


def _existing_query(chosen: FromClause) -> Select[tuple[int]]:
    return select(lead.c.id).join(chosen, chosen.c.id == lead.c.id).where(lead.c.erased_at.is_(None))


class LeadRef(NamedTuple):
    """A reference to a lead: an id, a normalized address, or an external id, of any system if *source* is None."""

    id: int | None = None
    normalized: str | None = None
    source: str | None = None
    external_id: str | None = None


_LEAD_REF: Final[Columns] = {
    "position": BigInteger(),
    "id": BigInteger(),
    "normalized": String(),
    "source": String(),
    "external_id": String(),
}


def match_leads(tx: Transaction, refs: Sequence[LeadRef]) -> dict[int, list[tuple[int, str]]]:
    """Return (lead id, source) of every lead that matches any part of a reference, by index in *refs*.

    The source is that of a matching external id, else "". Erased leads never match.
    """
    if not refs:
        return {}
    requested = tx.rows("requested", _LEAD_REF, [(position, *ref) for position, ref in enumerate(refs)])
    by_id = select(requested.c.position, lead.c.id, literal("")).join(lead, lead.c.id == requested.c.id)
    by_address = (
        select(requested.c.position, lead.c.id, literal(""))
        .join(address, address.c.normalized == requested.c.normalized)
        .join(lead, lead.c.address_id == address.c.id)
    )
    same = identity.c.external_id == requested.c.external_id
    by_identity = select(requested.c.position, identity.c.lead_id, identity.c.source)
    parts = [
        by_id.where(lead.c.erased_at.is_(None)),
        by_address,
        by_identity.join(identity, same & (identity.c.source == requested.c.source)),
    ]
    if any(ref.external_id is not None and ref.source is None for ref in refs):  # no index: reads all identities
        parts.append(by_identity.join(identity, same & requested.c.source.is_(None)))
    found: dict[int, list[tuple[int, str]]] = {}
    for position, lead_id, source in tx.execute(union(*parts)):
        found.setdefault(position, []).append((lead_id, source))
    return {position: sorted(matches) for position, matches in found.items()}


class Origin(NamedTuple):
    """Email address and country of a lead, and since when its custodian has it."""

    lead_id: int
    email: str | None
    country: str
    since: datetime


def load_origins(tx: Transaction, lead_ids: Sequence[int]) -> dict[int, Origin]:
    """Return the origins of these leads, by lead id."""
    chosen = tx.ids("chosen", lead_ids)
    statement = (
        select(lead.c.id, address.c.email, lead.c.country, custody.c.since)
        .join(chosen, chosen.c.id == lead.c.id)
        .join(custody, custody.c.lead_id == lead.c.id)
        .outerjoin(address, address.c.id == lead.c.address_id)
    )
    return {row.lead_id: row for row in map(Origin._make, tx.execute(statement))}


def load_fields(tx: Transaction, lead_id: int) -> dict[str, Any]:
    """Return the fields of a lead with its country code; empty if there is no such lead."""
    row = tx.execute(select(lead.c.fields, lead.c.country).where(lead.c.id == lead_id)).one_or_none()
    return {} if row is None else {**row.fields, **({"country": row.country} if row.country else {})}
