"""Statements that find leads in an inconsistent or overdue state, one for each kind of finding."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Select, String, and_, case, cast, exists, func, literal, or_, select

from nurture.db.tables.consent import consent_statement, suppression
from nurture.db.tables.delivery import message
from nurture.db.tables.handoff import offer
from nurture.db.tables.intake import created_leads
from nurture.db.tables.leads import IN_QUEUE, address, custody, journal, lead
from nurture.db.tables.signals import signal
from nurture.db.tables.tracks import IS_ACTIVE, enrollment
from nurture.db.transaction import Transaction
from nurture.db.types import UtcDateTime
from nurture.domain.lead import MAX_TOUCH_INTERVAL_DAYS, Custodian, Queue
from nurture.journey.handoff.waiting.queries import ENTERED, JOIN_PRIORITY
from nurture.journey.intake.match import ADDRESS_EVENT
from nurture.outbox.messages import MARKETING, TOUCH

MOST_IDS: Final = 20
STUCK_AFTER: Final = timedelta(days=1)
OVERDUE_AFTER: Final = timedelta(hours=1)

_HAND_OFF: Final = Queue.HAND_OFF.value
_QUEUES_OF_ENROLLED: Final = (_HAND_OFF, Queue.MISSING_FIELD.value, Queue.ACCOUNT_AMBIGUOUS.value)
"""Queues on the way to a rep, who may send the lead back to its track."""


class FindingCount(NamedTuple):
    """The number of rows of a finding, and its first leads."""

    lead_count: int
    lead_ids: tuple[int, ...]


def count_and_list(tx: Transaction, violations: Select[Any]) -> FindingCount:
    """Count the lead ids that *violations* selects, and return the first MOST_IDS."""
    rows = violations.subquery()
    query = select(rows.c[0], func.count().over()).order_by(rows.c[0]).limit(MOST_IDS)
    found = tx.execute(query).all()
    return FindingCount(found[0][1] if found else 0, tuple(row[0] for row in found))


def finding_queries(now: datetime, max_silence: timedelta | None) -> dict[str, Select[Any]]:
    """Return the statement of each finding, by name; `no-recent-touch` only with *max_silence*."""
    late = now - STUCK_AFTER
    found = {
        "no-custodian": _no_custodian(),
        "address-vanished": _vanished_addresses(),
        "custody-differs-from-journal": _differs_from_journal(),
        "track-without-enrollment": _track_without_enrollment(),
        "enrollment-without-track": _enrollment_without_track(),
        "two-enrollments": _two_enrollments(),
        "custody-without-offer": _custody_without_offer(),
        "offer-without-custody": _offer_without_custody(),
        "offer-overdue": select(offer.c.lead_id).where(
            offer.c.state == "offered", offer.c.expires_at < now - OVERDUE_AFTER
        ),
        "touch-off-track": _touch_off_track(),
        "sweep-stuck": _sweep_stuck(late),
        "mail-stuck": _mail_stuck(late),
        "signal-stuck": select(signal.c.lead_id).where(signal.c.applied_at.is_(None), signal.c.recorded_at < late),
        "manual-action-overdue": _manual_action_overdue(late),
        "delivery-unknown": select(message.c.lead_id).where(message.c.state == "unknown"),
    }
    if max_silence is not None:
        found["no-recent-touch"] = _leads_without_recent_touch(now, now - max_silence)
    return found


def late_in_queues(tx: Transaction, late_since: Sequence[tuple[str, datetime]]) -> Select[Any]:
    """Select the leads of each queue of (queue, since when its leads are too late) that entered it before."""
    clocks = tx.rows("clocks", {"queue": String(), "late_since": UtcDateTime()}, late_since)
    entered = JOIN_PRIORITY.join(clocks, clocks.c.queue == custody.c.ref)
    return select(custody.c.lead_id).select_from(entered).where(IN_QUEUE, clocks.c.late_since >= ENTERED)


def _no_custodian() -> Select[Any]:
    return select(lead.c.id).outerjoin(custody, custody.c.lead_id == lead.c.id).where(custody.c.lead_id.is_(None))


def count_created_leads(tx: Transaction) -> dict[str, int]:
    """Return how many leads were ever created, by source."""
    rows = tx.execute(select(created_leads.c.source, created_leads.c.count))
    return {row.source: row[1] for row in rows}


def _vanished_addresses() -> Select[Any]:
    """Select ids of addresses without lead, of which nothing else is known: no suppression, and no lead that had it.

    An address is stored for a lead, or for a refusal, which may be that of a rejected row. Erased addresses are hashes.
    """
    refusal = consent_statement.c.basis.is_(None)
    former = select(cast(journal.c.ref, BigInteger)).where(journal.c.event == ADDRESS_EVENT)
    return (
        select(address.c.id)
        .outerjoin(lead, lead.c.address_id == address.c.id)
        .where(
            lead.c.id.is_(None),
            address.c.normalized.contains("@"),
            ~exists().where(suppression.c.address_id == address.c.id),
            ~exists().where(consent_statement.c.address_id == address.c.id, refusal),
            address.c.id.not_in(former),
        )
    )


def _differs_from_journal() -> Select[Any]:
    newest = (
        select(journal.c.custody_to)
        .where(journal.c.lead_id == custody.c.lead_id, journal.c.custody_to.is_not(None))
        .order_by(journal.c.id.desc())
        .limit(1)
        .correlate(custody)
        .scalar_subquery()
    )
    return select(custody.c.lead_id).where(func.coalesce(newest, "") != custody.c.kind)


def _track_without_enrollment() -> Select[Any]:
    active_one = and_(enrollment.c.lead_id == custody.c.lead_id, IS_ACTIVE)
    return (
        select(custody.c.lead_id)
        .outerjoin(enrollment, active_one)
        .where(
            custody.c.kind == Custodian.TRACK.value, or_(enrollment.c.id.is_(None), enrollment.c.track != custody.c.ref)
        )
    )


def _enrollment_without_track() -> Select[Any]:
    """Select leads with an open enrollment and no track, or with a suspended enrollment that nothing interrupts."""
    active = select(enrollment.c.lead_id).where(IS_ACTIVE)
    may_be_enrolled = or_(
        custody.c.kind.in_((Custodian.TRACK.value, Custodian.OFFER.value)),
        and_(custody.c.kind == Custodian.QUEUE.value, custody.c.ref.in_(_QUEUES_OF_ENROLLED)),
    )
    return (
        select(enrollment.c.lead_id)
        .join(custody, custody.c.lead_id == enrollment.c.lead_id)
        .where(enrollment.c.ended_at.is_(None), or_(~may_be_enrolled, enrollment.c.lead_id.not_in(active)))
    )


def _two_enrollments() -> Select[Any]:
    return select(enrollment.c.lead_id).where(IS_ACTIVE).group_by(enrollment.c.lead_id).having(func.count() > 1)


def _custody_without_offer() -> Select[Any]:
    open_one = and_(offer.c.lead_id == custody.c.lead_id, offer.c.state == "offered")
    return (
        select(custody.c.lead_id)
        .outerjoin(offer, open_one)
        .where(
            custody.c.kind == Custodian.OFFER.value,
            or_(offer.c.id.is_(None), cast(offer.c.id, String) != custody.c.ref),
        )
    )


def _offer_without_custody() -> Select[Any]:
    return (
        select(offer.c.lead_id)
        .outerjoin(custody, custody.c.lead_id == offer.c.lead_id)
        .where(offer.c.state == "offered", or_(custody.c.lead_id.is_(None), custody.c.kind != Custodian.OFFER.value))
    )


def _touch_off_track() -> Select[Any]:
    """Select leads with a planned touch of a track that they are not on."""
    return (
        select(message.c.lead_id)
        .outerjoin(custody, custody.c.lead_id == message.c.lead_id)
        .where(
            message.c.kind == TOUCH,
            message.c.state.in_(("planned", "claimed")),
            or_(custody.c.lead_id.is_(None), custody.c.kind != Custodian.TRACK.value, custody.c.ref != message.c.track),
        )
    )


def _sweep_stuck(late: datetime) -> Select[Any]:
    swept = (Custodian.INTAKE, Custodian.TRACK, Custodian.OFFER, Custodian.QUEUE, Custodian.RESTING)
    return select(custody.c.lead_id).where(
        custody.c.kind.in_([kind.value for kind in swept]),
        custody.c.due_at < late,
        or_(custody.c.kind != Custodian.QUEUE.value, custody.c.ref == _HAND_OFF),
    )


def _manual_action_overdue(late: datetime) -> Select[Any]:
    return select(custody.c.lead_id).where(
        custody.c.kind.in_((Custodian.QUEUE.value, Custodian.REP.value)),
        custody.c.due_at < late,
        or_(custody.c.kind == Custodian.REP.value, custody.c.ref != _HAND_OFF),
    )


def _mail_stuck(late: datetime) -> Select[Any]:
    return select(message.c.lead_id).where(
        or_(
            and_(message.c.state == "planned", message.c.send_at < late),
            and_(message.c.state.in_(("claimed", "sending")), message.c.lease_until < late),
        )
    )


def _leads_without_recent_touch(now: datetime, since: datetime) -> Select[Any]:
    """Select leads on a track without a touch since *since* that did not join a track and had no cool-off since.

    Leads that asked for fewer emails get MAX_TOUCH_INTERVAL_DAYS more.
    """
    open_one = and_(enrollment.c.lead_id == custody.c.lead_id, IS_ACTIVE)
    entered_after_cool_off = and_(enrollment.c.entered_at > custody.c.since, enrollment.c.entered_at >= since)
    in_cool_off = or_(entered_after_cool_off, enrollment.c.reached_at > now)
    usual, slower = (literal(at, UtcDateTime()) for at in (since, since - timedelta(days=MAX_TOUCH_INTERVAL_DAYS)))
    touched_since = case((lead.c.touch_interval_days.is_not(None), slower), else_=usual)
    was_touched = exists().where(
        message.c.lead_id == custody.c.lead_id,
        message.c.kind.in_(MARKETING),
        or_(
            message.c.accepted_at >= touched_since,
            and_(message.c.state == "unknown", message.c.state_at >= touched_since),
        ),
    )
    joined_track = exists().where(
        journal.c.lead_id == custody.c.lead_id,
        journal.c.at >= since,
        journal.c.custody_to == Custodian.TRACK.value,
        or_(journal.c.custody_from.is_(None), journal.c.custody_from != Custodian.TRACK.value),
    )
    return (
        select(custody.c.lead_id)
        .join(lead, lead.c.id == custody.c.lead_id)
        .outerjoin(enrollment, open_one)
        .where(
            custody.c.kind == Custodian.TRACK.value,
            lead.c.created_at < since,
            or_(lead.c.paused_until.is_(None), lead.c.paused_until < since),
            or_(enrollment.c.id.is_(None), ~in_cool_off),
            ~was_touched,
            ~joined_track,
        )
    )
