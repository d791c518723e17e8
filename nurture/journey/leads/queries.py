"""Leads: what use cases write about them besides custody."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Final

from sqlalchemy import BigInteger, Connection, String, Table, func, insert, or_, select, union, update

from nurture.db.engine import Database
from nurture.db.tables import core
from nurture.domain.plain_text import index_key

lead: Table = core.Lead.__table__  # type: ignore[attr-defined]
offer: Table = core.Offer.__table__  # type: ignore[attr-defined]
enrollment: Table = core.Enrollment.__table__  # type: ignore[attr-defined]
table_address: Table = core.Address.__table__  # type: ignore[attr-defined]

identity: Table = core.Identity.__table__  # type: ignore[attr-defined]

MOST_DIGITS: Final = 18
"""Longer numbers are no ids of ours."""


def spend_evidence(
    database: Database, connection: Connection, lead_ids: Sequence[int], now: datetime, *, dates: bool = True
) -> None:
    """Forget what led to a hand-off, with *dates* also the days that the lead named; later deeds count."""
    chosen = database.ids("chosen", lead_ids)
    values = {"engagement": 0.0, "engagement_at": None, "evidence_since": now, "updated_at": now}
    if dates:
        values |= {"decides_on": None, "decides_stated_at": None, "call_on": None}
    connection.execute(update(lead).where(lead.c.id == chosen.c.id).values(values))


def spend_accepted(database: Database, connection: Connection, lead_ids: Sequence[int]) -> None:
    """Forget what led to hand-offs that reps accepted, of leads that come back after these ended.

    The score is reckoned anew from what is left, as after a change of its points.
    """
    chosen = database.ids("chosen", lead_ids)
    accepted = (
        select(offer.c.lead_id, func.max(offer.c.answered_at, type_=offer.c.answered_at.type).label("at"))
        .join(chosen, chosen.c.id == offer.c.lead_id)
        .where(offer.c.state.in_(("accepted", "lapsed")), offer.c.answered_at.is_not(None))
        .group_by(offer.c.lead_id)
        .subquery()
    )
    mine = lead.c.id == accepted.c.lead_id
    stale = or_(lead.c.evidence_since.is_(None), lead.c.evidence_since < accepted.c.at)
    connection.execute(
        update(lead).where(mine, lead.c.decides_stated_at <= accepted.c.at).values(decides_on=None)
    )
    connection.execute(update(lead).where(mine, stale).values(evidence_since=accepted.c.at, scored_under=""))


def state_timeline(connection: Connection, lead_id: int, decides_on: date, now: datetime) -> None:
    """Note when the lead decides."""
    connection.execute(
        update(lead)
        .where(lead.c.id == lead_id)
        .values(decides_on=decides_on, decides_stated_at=now, updated_at=now)
    )


def withdraw_timeline(connection: Connection, lead_id: int, now: datetime) -> None:
    """Note that no date is named any more; what was said before does not come back."""
    connection.execute(
        update(lead)
        .where(lead.c.id == lead_id)
        .values(decides_on=None, decides_stated_at=now, updated_at=now)
    )


def ask_to_call(connection: Connection, lead_id: int, call_on: date, now: datetime) -> None:
    """Note on which day the lead asked to be called."""
    connection.execute(update(lead).where(lead.c.id == lead_id).values(call_on=call_on, updated_at=now))


def name_readiness(database: Database, connection: Connection, rows: Sequence[tuple[int, str]]) -> None:
    """Write the readiness rule that classified each lead."""
    if not rows:
        return
    named = database.rows("named", {"id": BigInteger(), "rule": String()}, rows)
    connection.execute(update(lead).where(lead.c.id == named.c.id).values(readiness=named.c.rule))


def last_stays(
    database: Database, connection: Connection, lead_ids: Sequence[int]
) -> dict[tuple[int, str], datetime]:
    """Return when each lead last left each track, or entered it if it is still there."""
    chosen = database.ids("chosen", lead_ids)
    last = func.max(
        func.coalesce(enrollment.c.ended_at, enrollment.c.entered_at), type_=enrollment.c.entered_at.type
    )
    wanted = (
        select(enrollment.c.lead_id, enrollment.c.track, last)
        .join(chosen, chosen.c.id == enrollment.c.lead_id)
        .group_by(enrollment.c.lead_id, enrollment.c.track)
    )
    return {(lead_id, track): moment for lead_id, track, moment in connection.execute(wanted)}


def pause(connection: Connection, lead_id: int, until: datetime | None, by: str, now: datetime) -> None:
    """Write until when the lead gets no mail, since when, and who asked for that; None ends its pause."""
    said = (
        {"paused_at": now, "paused_by": by} if until is not None else {"paused_at": None, "paused_by": None}
    )
    ended = update(lead).where(lead.c.id == lead_id).values(paused_until=until, updated_at=now, **said)
    connection.execute(ended)


def set_pace(connection: Connection, lead_id: int, days: int | None, now: datetime) -> None:
    """Write in how many days the lead wants one touch at most; None for as often as its track allows."""
    connection.execute(update(lead).where(lead.c.id == lead_id).values(pace_days=days, updated_at=now))


def address(connection: Connection, email: str, normal: str) -> tuple[int, int | None]:
    """Return the id of an address, made if it is new, and of its lead, if it has one."""
    found = connection.execute(
        select(table_address.c.id, lead.c.id)
        .outerjoin(lead, lead.c.address_id == table_address.c.id)
        .where(table_address.c.normal == normal)
    ).one_or_none()
    if found is not None:
        return found[0], found[1]
    made = insert(table_address).values(email=email.strip(), normal=normal).returning(table_address.c.id)
    return connection.execute(made).scalar_one(), None


def living(database: Database, connection: Connection, lead_ids: Collection[int]) -> set[int]:
    """Return which of these leads there are; none that was erased."""
    if not lead_ids:
        return set()
    chosen = database.ids("chosen", sorted(set(lead_ids)))
    wanted = select(lead.c.id).join(chosen, chosen.c.id == lead.c.id).where(lead.c.erased_at.is_(None))
    return set(connection.execute(wanted).scalars())


def resolve(
    database: Database, connection: Connection, texts: Mapping[str, str]
) -> dict[str, tuple[int, ...]]:
    """Return the ids of the leads that each text may mean: an id, an address or an external id.

    *texts* gives each text its normalised form as an address. Nothing means a lead that was erased.
    """
    if not texts:
        return {}
    asked = database.rows(
        "asked",
        {"text": String(), "normal": String(), "key": String(), "id": BigInteger()},
        [
            (
                text,
                normal,
                index_key(text),
                int(text) if text.isdecimal() and len(text) < MOST_DIGITS else None,
            )
            for text, normal in texts.items()
        ],
    )
    by_id = select(asked.c.text, lead.c.id).join(lead, lead.c.id == asked.c.id)
    by_id = by_id.where(lead.c.erased_at.is_(None))
    by_address = (
        select(asked.c.text, lead.c.id)
        .join(table_address, table_address.c.normal == asked.c.normal)
        .join(lead, lead.c.address_id == table_address.c.id)
    )
    by_name = select(asked.c.text, identity.c.lead_id).join(identity, identity.c.external_id == asked.c.key)
    found: dict[str, tuple[int, ...]] = {}
    for text, lead_id in connection.execute(union(by_id, by_address, by_name)):
        found[text] = (*found.get(text, ()), lead_id)
    return {text: tuple(sorted(ids)) for text, ids in found.items()}
