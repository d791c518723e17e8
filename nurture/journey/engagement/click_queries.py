"""Read and write click evidence and verdicts."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import BindParameter, Select, String, and_, bindparam, case, or_, select, update

from nurture.db.row_values import column_types, row_columns
from nurture.db.tables.delivery import message
from nurture.db.tables.inbound import tracking_request
from nurture.db.tables.installation import clock
from nurture.db.tables.leads import address as addresses
from nurture.db.tables.leads import lead
from nurture.db.tables.signals import signal
from nurture.db.transaction import Transaction
from nurture.domain.scoring.click_filtering import AgentType, TrackedEvent
from nurture.domain.signals import SignalKind


class ClickedMessage(NamedTuple):
    """What a click needs to know about its message. *salt* is the secret of this installation."""

    message_id: int
    lead_id: int
    enrollment_id: int | None
    track: str | None
    step: str
    address: str
    salt: str


class ClickEvidence(NamedTuple):
    """The evidence stored with a click: how the signal of *natural_key* came in."""

    natural_key: str
    message_id: int
    at: datetime
    method: str
    agent_type: str
    ip_hash: str
    agent_hash: str
    company_hash: str
    honeypot: bool
    is_machine: bool


class ClassifiedClick(NamedTuple):
    """A click, its current verdict, and whether its signal has been applied."""

    event: TrackedEvent
    verdict: str
    reason: str
    click_filter_key: str
    applied: bool


class VerdictRow(NamedTuple):
    """A verdict to store."""

    signal_id: int
    verdict: str
    verdict_reason: str
    click_filter_key: str


def load_messages(tx: Transaction, message_ids: Collection[int]) -> dict[int, ClickedMessage]:
    """Return the existing messages by id, without those of erased leads."""
    if not message_ids:
        return {}
    chosen = tx.ids("chosen", sorted(set(message_ids)))
    salt = select(clock.c.salt).scalar_subquery()
    query = (
        select(
            *row_columns(ClickedMessage, message, message_id=message.c.id, address=addresses.c.normalized, salt=salt)
        )
        .join(chosen, chosen.c.id == message.c.id)
        .join(lead, lead.c.id == message.c.lead_id)
        .outerjoin(addresses, addresses.c.id == lead.c.address_id)
        .where(lead.c.erased_at.is_(None))
    )
    rows = tx.execute(query).all()
    return {row[0]: ClickedMessage._make((*row[:5], row[5] or "", row[6] or "")) for row in rows}


def record_evidence(tx: Transaction, rows: Sequence[ClickEvidence]) -> None:
    """Store the evidence of recorded signals, once each."""
    if not rows:
        return
    requested = tx.rows("requested", {"natural_key": String()}, [(row.natural_key,) for row in rows])
    query = select(signal.c.natural_key, signal.c.id).join(requested, requested.c.natural_key == signal.c.natural_key)
    ids: dict[str, int] = {row[0]: row[1] for row in tx.execute(query)}
    requests = [(ids[row.natural_key], *row[1:]) for row in rows if row.natural_key in ids]
    tx.insert(tracking_request, ("signal_id", *ClickEvidence._fields[1:]), requests, ignore_conflicts=True)


def load_recent_keys(
    tx: Transaction, message_ids: Collection[int], start: datetime
) -> list[tuple[int, str | None, datetime, str]]:
    """Return (message id, link, time, natural key) of the clicks of these messages since *start*."""
    chosen = tx.ids("chosen", sorted(message_ids))
    query = (
        select(tracking_request.c.message_id, signal.c.link, tracking_request.c.at, signal.c.natural_key)
        .join(chosen, chosen.c.id == tracking_request.c.message_id)
        .join(signal, signal.c.id == tracking_request.c.signal_id)
        .where(tracking_request.c.at >= start)
    )
    return [(row[0], row[1], row[2], row[3]) for row in tx.execute(query)]


def load_unclassified(tx: Transaction, key: str, limit: int) -> list[tuple[int, int]]:
    """Return (signal id, message id) of clicks not yet classified by the rules of *key*."""
    return [(row[0], row[1]) for row in tx.execute(_UNCLASSIFIED, {"rules": key, "limit": limit})]


_RULES: Final[BindParameter[str]] = bindparam("rules")
_UNCLASSIFIED: Final = (
    select(signal.c.id, tracking_request.c.message_id)
    .join(tracking_request, tracking_request.c.signal_id == signal.c.id)
    .where(signal.c.click_filter_key.is_not(None))
    .where(or_(signal.c.click_filter_key < _RULES, signal.c.click_filter_key > _RULES))
    .limit(bindparam("limit"))
)


def load_for_messages(tx: Transaction, message_ids: Collection[int]) -> list[ClassifiedClick]:
    """Return all clicks of these messages."""
    chosen = tx.ids("chosen", sorted(set(message_ids)))
    query = _select_clicks().join(chosen, chosen.c.id == tracking_request.c.message_id)
    return [_to_classified_click(row) for row in tx.execute(query).all()]


def load_neighbors(tx: Transaction, events: Collection[TrackedEvent], within: timedelta) -> list[TrackedEvent]:
    """Return the clicks of the same companies within *within* of any of *events*, including these."""
    windows = sorted({(one.company_hash, one.at) for one in events if one.company_hash})
    if not windows:
        return []
    columns = column_types(tracking_request, ("company_hash", "starts_at", "ends_at"), starts_at="at", ends_at="at")
    windows_ = tx.rows("windows", columns, [(name, at - within, at + within) for name, at in windows])
    near = and_(
        tracking_request.c.company_hash == windows_.c.company_hash,
        tracking_request.c.at >= windows_.c.starts_at,
        tracking_request.c.at <= windows_.c.ends_at,
    )
    there = select(tracking_request.c.signal_id).join(windows_, near).where(tracking_request.c.company_hash != "")
    query = _select_clicks().where(signal.c.id.in_(there))
    return [_to_classified_click(row).event for row in tx.execute(query).all()]


def write_verdicts(tx: Transaction, rows: Sequence[VerdictRow]) -> None:
    """Store verdicts, and the key of the rules behind them."""
    tx.update_by_id(signal, VerdictRow._fields[1:], rows)


def mark_for_reclassification(tx: Transaction, message_ids: Collection[int]) -> None:
    """Mark the clicks of these messages for reclassification: news of their delivery came in."""
    if not message_ids:
        return
    chosen = tx.ids("chosen", sorted(set(message_ids)))
    theirs = select(tracking_request.c.signal_id).join(chosen, chosen.c.id == tracking_request.c.message_id)
    tx.execute(update(signal).where(signal.c.id.in_(theirs)).values(click_filter_key=""))


def _select_clicks() -> Select[Any]:
    """Select the fields of `TrackedEvent` in their order, then those of `ClassifiedClick`."""
    delivered = case((message.c.state == "delivered", message.c.state_at), else_=message.c.accepted_at)
    return (
        select(
            *(signal.c.id, signal.c.kind, tracking_request.c.at, tracking_request.c.message_id),
            *(signal.c.lead_id, signal.c.link),
            *(tracking_request.c[name] for name in ClickEvidence._fields[3:]),
            *(delivered, signal.c.verdict, signal.c.verdict_reason, signal.c.click_filter_key, signal.c.applied_at),
        )
        .select_from(tracking_request)
        .join(signal, signal.c.id == tracking_request.c.signal_id)
        .join(message, message.c.id == tracking_request.c.message_id)
    )


def _to_classified_click(row: Any) -> ClassifiedClick:
    id_, kind, at, message_id, lead_id, link, method, agent, *others = row
    *hashes_and_flags, verdict, reason, key, applied_at = others
    event = TrackedEvent(
        id_, SignalKind(kind), at, message_id, lead_id, link, method, AgentType(agent), *hashes_and_flags
    )
    return ClassifiedClick(event, verdict, reason, key or "", applied_at is not None)
