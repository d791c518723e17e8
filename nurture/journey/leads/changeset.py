"""The changes of one batch of decisions, written in a constant number of statements.

Custody is written first, guarded by its version. A lead whose guard fails is left out of all other writes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, String, and_, delete, or_, select, update

from nurture.db.row_values import column_types
from nurture.db.tables.delivery import message
from nurture.db.tables.handoff import offer
from nurture.db.tables.leads import lead
from nurture.db.tables.outcomes import outcome
from nurture.db.tables.routing import queue_priority
from nurture.db.tables.tracks import enrollment
from nurture.db.transaction import Transaction
from nurture.journey.leads import queries
from nurture.journey.leads.custody import CustodyUpdate, JournalEntry, write_custody, write_journal
from nurture.journey.leads.enrollment_queries import readmit
from nurture.outbox import crm_records
from nurture.outbox.messages import RECALLED, REPLANNABLE

_ID, _TEXT = BigInteger(), String()


class EnrollmentUpdate(NamedTuple):
    """The new position of an enrollment, its suspension or its end."""

    id: int
    lead_id: int
    step: str
    visit: int
    anchor_at: datetime
    reached_at: datetime
    ended_at: datetime | None = None
    end_reason: str | None = None
    suspended_at: datetime | None = None


class NewEnrollment(NamedTuple):
    """A new enrollment."""

    lead_id: int
    track: str
    track_version: int
    entered_at: datetime
    step: str
    visit: int
    anchor_at: datetime
    reached_at: datetime


class NewMessage(NamedTuple):
    """A message to send. *email* is the template, or the notifier that is the recipient."""

    send_key: str
    kind: str
    recipient: str
    lead_id: int
    email: str
    planned_at: datetime
    send_at: datetime
    expires_at: datetime
    state_at: datetime
    enrollment_id: int | None = None
    offer_id: int | None = None
    reply_id: int | None = None
    track: str | None = None
    track_version: int | None = None
    step: str = ""
    visit: int = 1
    topic: str | None = None
    past_cap: bool | None = None
    rep: str | None = None
    state: str = "planned"
    attempts: int = 0

    @classmethod
    def due_now(
        cls, send_key: str, kind: str, recipient: str, lead_id: int, email: str, now: datetime, expires_at: datetime
    ) -> "NewMessage":
        """Return a message that is sent at once."""
        return cls(send_key, kind, recipient, lead_id, email, now, now, expires_at, now)


class TouchCancellation(NamedTuple):
    """Cancels all unsent touches of a lead."""

    lead_id: int
    reason: str


class NewOutcome(NamedTuple):
    """How a lead was closed."""

    lead_id: int
    closing: str
    happened_at: datetime
    amount: float | None
    reason: str
    source: str
    recorded_at: datetime


class NewCustomer(NamedTuple):
    """A lead that was won."""

    lead_id: int


class FieldUpdate(NamedTuple):
    """The complete fields of a lead."""

    lead_id: int
    fields: Mapping[str, Any]


class OfferRow(NamedTuple):
    """A hand-off to a rep. Its id is reserved beforehand, because the send key of the brief contains it."""

    id: int
    lead_id: int
    enrollment_id: int | None
    rep: str
    rule: str
    handoff_reason: str
    routing_reason: str
    policy_version: int
    state: str
    offered_at: datetime
    expires_at: datetime
    answered_at: datetime | None = None
    reason: str | None = None
    escalation_level: int = 0
    round: int = 1
    priority: float = 0.0
    hot: bool = False
    followed_up_at: datetime | None = None
    follow_up_method: str | None = None
    touched_at: datetime | None = None
    asked_at: datetime | None = None
    ended_at: datetime | None = None
    next_step_on: date | None = None
    stage: str | None = None
    tier: str | None = None


class PriorityUpdate(NamedTuple):
    """The queue priority of a lead that was just handed off."""

    lead_id: int
    rule: str
    points: int
    hot: bool
    since: datetime
    rank: datetime


@dataclass(slots=True)
class Changes:
    """The changes of a batch, collected and then written together."""

    custody_updates: list[CustodyUpdate] = field(default_factory=list)
    enrollment_updates: list[EnrollmentUpdate] = field(default_factory=list)
    resumed_enrollments: list[EnrollmentUpdate] = field(default_factory=list)
    new_enrollments: list[NewEnrollment] = field(default_factory=list)
    new_messages: list[NewMessage] = field(default_factory=list)
    replanned_messages: list[NewMessage] = field(default_factory=list)
    """Those of *new_messages* that were recalled before."""
    journal_entries: list[JournalEntry] = field(default_factory=list)
    cancellations: list[TouchCancellation] = field(default_factory=list)
    new_outcomes: list[NewOutcome] = field(default_factory=list)
    new_customers: list[NewCustomer] = field(default_factory=list)
    field_updates: list[FieldUpdate] = field(default_factory=list)
    new_offers: list[OfferRow] = field(default_factory=list)
    priority_updates: list[PriorityUpdate] = field(default_factory=list)
    readmissions: list[tuple[int, str]] = field(default_factory=list)
    """Leads, each with a track whose audience it does not fit now, so that it may enter when it does."""
    sources: dict[int, str] = field(default_factory=dict)
    """The sources of leads with journal entries, if known; the others are looked up."""

    def write(self, tx: Transaction, now: datetime) -> set[int]:
        """Write the changes of all leads whose custody version still matches; return these leads.

        Changes of leads without a custody update in the batch are written unguarded.
        """
        written = write_custody(tx, self.custody_updates)
        conflicting = {row.lead_id for row in self.custody_updates} - written
        self._write_rest(tx, conflicting, now)
        return written

    def _write_rest(self, tx: Transaction, conflicting: set[int], now: datetime) -> None:
        for updates in (self.enrollment_updates, self.resumed_enrollments):  # one is suspended before another resumes
            moved = [(row.id, *row[2:]) for row in _without_conflicts(updates, conflicting)]
            tx.update_by_id(enrollment, EnrollmentUpdate._fields[2:], moved)
        _cancel_touches(tx, _without_conflicts(self.cancellations, conflicting), now)
        enrollments = _without_conflicts(self.new_enrollments, conflicting)
        tx.insert(enrollment, NewEnrollment._fields, enrollments)
        offers = _without_conflicts(self.new_offers, conflicting)
        tx.insert(offer, OfferRow._fields, offers)
        crm_records.plan_records(tx, [(one.id, one.lead_id) for one in offers], now)
        _replan(tx, _without_conflicts(self.replanned_messages, conflicting))
        tx.insert(
            message, NewMessage._fields, _without_conflicts(self.new_messages, conflicting), unique_columns=["send_key"]
        )
        customers = _without_conflicts(self.new_customers, conflicting)
        queries.mark_customers(tx, [row.lead_id for row in customers], now)
        tx.insert(outcome, NewOutcome._fields, _without_conflicts(self.new_outcomes, conflicting))
        tx.update_by_id(lead, ("fields",), _without_conflicts(self.field_updates, conflicting), updated_at=now)
        _write_priorities(tx, _without_conflicts(self.priority_updates, conflicting))
        readmit(tx, self.readmissions)
        entries = _without_conflicts(self.journal_entries, conflicting)
        write_journal(tx, entries, self.sources)


def _without_conflicts(rows: Sequence[Any], conflicting: set[int]) -> Sequence[Any]:
    return [row for row in rows if row.lead_id not in conflicting] if conflicting else rows


def _cancel_touches(tx: Transaction, rows: Sequence[TouchCancellation], now: datetime) -> None:
    if not rows:
        return
    cancelled = tx.rows("cancelled", {"lead_id": _ID, "reason": _TEXT}, rows)
    tx.execute(
        update(message)
        .where(
            message.c.lead_id == cancelled.c.lead_id,
            message.c.kind == "touch",
            message.c.state.in_(("planned", "claimed")),
            or_(cancelled.c.reason != RECALLED, and_(message.c.state == "planned", message.c.attempts == 0)),
        )
        .values(
            state="cancelled",
            state_at=now,
            claimed_at=None,
            reason=cancelled.c.reason,
            lease_token=None,
            lease_until=None,
        )
    )


def _replan(tx: Transaction, rows: Sequence[NewMessage]) -> None:
    """Plan recalled messages again; the others have no row with their send key yet."""
    if not rows:
        return
    names = [name for name in NewMessage._fields if name not in ("send_key", "lead_id", "enrollment_id")]
    new = tx.rows("new", column_types(message, NewMessage._fields), rows)
    same = message.c.send_key == new.c.send_key
    is_cancelled = (message.c.state == "cancelled", message.c.reason.in_(REPLANNABLE))
    values = {name: new.c[name] for name in names}
    tx.execute(update(message).where(same, *is_cancelled).values(**values, reason=None, held_by=None))


def _write_priorities(tx: Transaction, rows: Sequence[PriorityUpdate]) -> None:
    """Replace the priorities of earlier hand-offs of these leads."""
    if not rows:
        return
    chosen = tx.ids("chosen", [row.lead_id for row in rows])
    tx.execute(delete(queue_priority).where(queue_priority.c.lead_id.in_(select(chosen.c.id))))
    tx.insert(queue_priority, PriorityUpdate._fields, rows)
