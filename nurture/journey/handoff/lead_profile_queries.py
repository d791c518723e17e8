"""What a rep is shown of leads, read in sets: what they did, what we sent, who had them, whose account."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, Table, func, select

from nurture.db.engine import Database
from nurture.db.tables import core, sales

lead: Table = core.Lead.__table__  # type: ignore[attr-defined]
address: Table = core.Address.__table__  # type: ignore[attr-defined]
signal: Table = core.Signal.__table__  # type: ignore[attr-defined]
message: Table = core.Message.__table__  # type: ignore[attr-defined]
offer: Table = core.Offer.__table__  # type: ignore[attr-defined]
account: Table = sales.Account.__table__  # type: ignore[attr-defined]
lead_account: Table = sales.LeadAccount.__table__  # type: ignore[attr-defined]


class Known(NamedTuple):
    """A lead as it came, with the sums of its engagement."""

    id: int
    email: str | None
    address_id: int | None
    basis: str | None
    facts: dict[str, Any]
    source: str
    zone: str
    engagement: float
    engagement_2: float | None
    engagement_3: float | None
    engagement_4: float | None
    engagement_at: datetime | None
    scored_under: str | None
    decides_on: date | None
    decides_stated_at: datetime | None
    call_on: date | None
    first_contact_at: datetime


class Deed(NamedTuple):
    """Something that a lead itself did."""

    lead_id: int
    kind: str
    occurred_at: datetime
    step: str | None
    link: str | None
    value: str | None


class Touched(NamedTuple):
    """A touch that a lead got, and of how many it is one."""

    lead_id: int
    track: str | None
    email: str
    at: datetime
    in_all: int
    first_at: datetime


class Earlier(NamedTuple):
    """An offer of the same lead that is over."""

    lead_id: int
    id: int
    rep: str
    state: str
    answered_at: datetime | None
    reason: str | None


class Owned(NamedTuple):
    """The account to which a lead belongs, and how that is known."""

    lead_id: int
    name: str
    kind: str
    owner: str
    because: str


def known(database: Database, connection: Connection, lead_ids: Collection[int]) -> dict[int, Known]:
    """Return these leads by id."""
    chosen = database.ids("chosen", sorted(set(lead_ids)))
    columns = [address.c.email if name == "email" else lead.c[name] for name in Known._fields]
    wanted = (
        select(*columns)
        .join(chosen, chosen.c.id == lead.c.id)
        .outerjoin(address, address.c.id == lead.c.address_id)
    )
    return {row[0]: Known._make(row) for row in connection.execute(wanted)}


def deeds(
    database: Database, connection: Connection, lead_ids: Collection[int], most: int
) -> Mapping[int, list[Deed]]:
    """Return the newest *most* things that each lead did as a human, the newest first."""
    chosen = database.ids("chosen", sorted(set(lead_ids)))
    place = func.row_number().over(
        partition_by=signal.c.lead_id, order_by=(signal.c.occurred_at.desc(), signal.c.id.desc())
    )
    numbered = (
        select(*[signal.c[name] for name in Deed._fields], place.label("place"))
        .join(chosen, chosen.c.id == signal.c.lead_id)
        .where(signal.c.verdict == "human")
        .subquery()
    )
    return _by_lead(connection, _first(numbered, most), Deed)


def touches(
    database: Database, connection: Connection, lead_ids: Collection[int], most: int
) -> Mapping[int, list[Touched]]:
    """Return the newest *most* touches that each lead got, the newest first."""
    chosen = database.ids("chosen", sorted(set(lead_ids)))
    whose = message.c.lead_id
    place = func.row_number().over(
        partition_by=whose, order_by=(message.c.accepted_at.desc(), message.c.id.desc())
    )
    numbered = (
        select(
            message.c.lead_id,
            message.c.track,
            message.c.email,
            message.c.accepted_at.label("at"),
            func.count().over(partition_by=whose).label("in_all"),
            func.min(message.c.accepted_at, type_=message.c.accepted_at.type)
            .over(partition_by=whose)
            .label("first_at"),
            place.label("place"),
        )
        .join(chosen, chosen.c.id == message.c.lead_id)
        .where(message.c.kind == "touch", message.c.accepted_at.is_not(None))
        .subquery()
    )
    return _by_lead(connection, _first(numbered, most), Touched)


def earlier(
    database: Database, connection: Connection, lead_ids: Collection[int], most: int
) -> Mapping[int, list[Earlier]]:
    """Return the newest *most* offers of each lead that were answered, or are over, the newest first."""
    chosen = database.ids("chosen", sorted(set(lead_ids)))
    place = func.row_number().over(partition_by=offer.c.lead_id, order_by=offer.c.id.desc())
    numbered = (
        select(*[offer.c[name] for name in Earlier._fields], place.label("place"))
        .join(chosen, chosen.c.id == offer.c.lead_id)
        .where(offer.c.state != "offered")
        .subquery()
    )
    return _by_lead(connection, _first(numbered, most), Earlier)


def accounts(database: Database, connection: Connection, lead_ids: Collection[int]) -> dict[int, Owned]:
    """Return the account of each lead that has one."""
    chosen = database.ids("chosen", sorted(set(lead_ids)))
    wanted = (
        select(
            lead_account.c.lead_id, account.c.name, account.c.kind, account.c.owner, lead_account.c.because
        )
        .join(account, account.c.id == lead_account.c.account_id)
        .join(chosen, chosen.c.id == lead_account.c.lead_id)
    )
    return {row[0]: Owned._make(row) for row in connection.execute(wanted)}


def _first(numbered: Any, most: int) -> Select[Any]:
    columns: Sequence[Any] = list(numbered.c)[:-1]
    return select(*columns).where(numbered.c.place <= most).order_by(numbered.c.place)


def _by_lead(connection: Connection, wanted: Select[Any], make: Any) -> Mapping[int, list[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(wanted):
        found[row[0]].append(make._make(row))
    return found
