"""What is on record about single leads: who they are, by which names, and all that happened to them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Select, Table, func, select

from nurture.db.tables import core
from nurture.domain.plain_text import index_key

address: Table = core.Address.__table__  # type: ignore[attr-defined]
custody: Table = core.Custody.__table__  # type: ignore[attr-defined]
identity: Table = core.Identity.__table__  # type: ignore[attr-defined]
journal: Table = core.Journal.__table__  # type: ignore[attr-defined]
lead: Table = core.Lead.__table__  # type: ignore[attr-defined]
message: Table = core.Message.__table__  # type: ignore[attr-defined]
outcome: Table = core.Outcome.__table__  # type: ignore[attr-defined]
signal: Table = core.Signal.__table__  # type: ignore[attr-defined]
suppression: Table = core.Suppression.__table__  # type: ignore[attr-defined]

MOST_NEAR: Final = 1_000


class Kept(NamedTuple):
    """A lead and who keeps it; the custodian's columns are None where nobody does."""

    id: int
    facts: dict[str, Any]
    source: str
    readiness: str
    address_id: int | None
    basis: str | None
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
    paused_until: datetime | None
    pace_days: int | None
    first_contact_at: datetime
    kind: str | None
    ref: str | None
    since: datetime | None
    next_action: str | None
    due_at: datetime | None


class Line(NamedTuple):
    """One thing that happened."""

    at: datetime
    stage: str
    event: str
    because: str
    ref: str


def _kept() -> Select[Any]:
    kept = [lead.c[name] for name in Kept._fields[:19]] + [custody.c[name] for name in Kept._fields[19:]]
    return select(*kept).select_from(lead).outerjoin(custody, custody.c.lead_id == lead.c.id)


def find(connection: Connection, lead_id: int) -> Kept | None:
    """Return one lead, None if there is none of this id."""
    row = connection.execute(_kept().where(lead.c.id == lead_id)).one_or_none()
    return Kept._make(row) if row is not None else None


def listing(
    connection: Connection,
    *,
    custodian: str | None = None,
    track: str | None = None,
    source: str | None = None,
    queue: str | None = None,
    limit: int,
) -> list[Kept]:
    """Return leads, the ones that are due first at the top, closed ones last."""
    wanted = _kept().order_by(custody.c.due_at.asc().nulls_last(), lead.c.id).limit(limit)
    if custodian is not None:
        wanted = wanted.where(custody.c.kind == custodian)
    if track is not None:
        wanted = wanted.where(custody.c.kind == "track", custody.c.ref == track)
    if queue is not None:
        wanted = wanted.where(custody.c.kind == "queue", custody.c.ref == queue)
    if source is not None:
        wanted = wanted.where(lead.c.source == source)
    return [Kept._make(row) for row in connection.execute(wanted)]


def lines(connection: Connection, lead_id: int, address_id: int | None) -> list[Line]:
    """Return everything that happened to a lead, in order: five statements."""
    found = [
        *_journal(connection, lead_id),
        *_messages(connection, lead_id),
        *_signals(connection, lead_id),
        *_outcomes(connection, lead_id),
        *(_suppressions(connection, address_id) if address_id is not None else []),
    ]
    return sorted(found, key=lambda line: line.at)


def _journal(connection: Connection, lead_id: int) -> list[Line]:
    ref = func.coalesce(journal.c.ref, journal.c.step, "")
    wanted = select(journal.c.at, journal.c.stage, journal.c.event, journal.c.because, ref)
    return [
        Line._make(row)
        for row in connection.execute(wanted.where(journal.c.lead_id == lead_id).order_by(journal.c.id))
    ]


def _messages(connection: Connection, lead_id: int) -> list[Line]:
    found = connection.execute(
        select(message).where(message.c.lead_id == lead_id).order_by(message.c.id)
    ).all()
    told = []
    for row in found:
        what = f"{row.email} of {row.track}, version {row.track_version}" if row.track else f"{row.email}"
        to = f" to {row.rep}" if row.rep else ""
        why = f": {row.reason}" if row.reason else ""
        at = row.send_at if row.state == "planned" else row.accepted_at or row.state_at
        told.append(Line(at, row.kind, row.state, f"{what}{to}{why}", row.send_key))
    return told


def _signals(connection: Connection, lead_id: int) -> list[Line]:
    found = connection.execute(
        select(signal).where(signal.c.lead_id == lead_id).order_by(signal.c.occurred_at, signal.c.id)
    ).all()
    told = []
    for row in found:
        value = f": {row.value}" if row.value else ""
        doubt = "" if row.verdict == "human" else f" ({row.verdict}: {row.verdict_because or 'not a person'})"
        late = "" if row.applied_at is not None else ", not applied yet"
        where = ", ".join(part for part in (row.track, row.step, row.link) if part)
        because = f"{row.kind}{value}{doubt}, from {row.source}{late}"
        told.append(Line(row.occurred_at, "signal", row.kind, because, where))
    return told


def _outcomes(connection: Connection, lead_id: int) -> list[Line]:
    found = connection.execute(select(outcome).where(outcome.c.lead_id == lead_id).order_by(outcome.c.id))
    return [
        Line(
            row.happened_at,
            "outcome",
            row.closing,
            f"told by {row.source} on {row.recorded_at:%Y-%m-%d}" + (f": {row.reason}" if row.reason else ""),
            f"{row.amount:,.2f}" if row.amount is not None else "",
        )
        for row in found
    ]


def _suppressions(connection: Connection, address_id: int) -> list[Line]:
    wanted = select(suppression).where(suppression.c.address_id == address_id).order_by(suppression.c.id)
    return [
        Line(row.recorded_at, "suppression", row.act, _by(row.scope, row.source, row.evidence), row.ref)
        for row in connection.execute(wanted)
    ]


def _by(scope: str, source: str, evidence: str | None) -> str:
    return f"{scope}, by {source}" + (f": {evidence}" if evidence else "")


def by_address(connection: Connection, normal: str) -> tuple[bool, int | None]:
    """Return whether this normalised address is known, and its lead."""
    row = connection.execute(
        select(lead.c.id)
        .select_from(address)
        .outerjoin(lead, lead.c.address_id == address.c.id)
        .where(address.c.normal == normal)
    ).one_or_none()
    return row is not None, row[0] if row is not None else None


def by_external_id(connection: Connection, external_id: str, source: str | None) -> list[tuple[str, int]]:
    """Return (source, lead id) of everybody whom another system knows by this id."""
    wanted = select(identity.c.source, identity.c.lead_id).where(
        identity.c.external_id == index_key(external_id)
    )
    if source is not None:
        wanted = wanted.where(identity.c.source == index_key(source))
    return [(row[0], row[1]) for row in connection.execute(wanted.order_by(identity.c.source))]


def addresses_like(connection: Connection, begins: str) -> Sequence[str]:
    """Return normalised addresses of leads that begin alike."""
    wanted = (
        select(address.c.normal)
        .join(lead, lead.c.address_id == address.c.id)
        .where(address.c.normal.startswith(begins, autoescape=True))
    )
    return connection.execute(wanted.limit(MOST_NEAR)).scalars().all()


def external_ids_like(connection: Connection, begins: str) -> Sequence[str]:
    """Return external ids that begin alike."""
    wanted = select(identity.c.external_id).where(identity.c.external_id.startswith(begins, autoescape=True))
    return connection.execute(wanted.limit(MOST_NEAR)).scalars().all()
