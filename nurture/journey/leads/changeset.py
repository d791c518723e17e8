"""The changes of one batch of decisions, written in a constant number of statements.

Custody is written first, guarded by its version. A lead whose guard fails is left out of all other writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    FromClause,
    String,
    delete,
    select,
    update,
)

from nurture.db.row_values import column_types
from nurture.db.tables import delivery as delivery_tables
from nurture.db.tables import handoff as handoff_tables
from nurture.db.tables import leads as lead_tables
from nurture.db.tables import outcomes as outcome_tables
from nurture.db.tables import routing as routing_tables
from nurture.db.tables import tracks as track_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction
from nurture.db.types import Json
from nurture.journey.leads.custody import CustodyUpdate, write_custody
from nurture.journey.leads.journal import JournalEntry, write_journal
from nurture.outbox import crm_records

_ID, _TEXT = BigInteger(), String()
_BOOL = Boolean()

enrollment = table(track_tables.Enrollment)
message = table(delivery_tables.Message)
lead = table(lead_tables.Lead)
outcome = table(outcome_tables.Outcome)
offer = table(handoff_tables.Offer)
queue_priority = table(routing_tables.QueuePriority)


class EnrollmentUpdate(NamedTuple):
    """The new position of an open enrollment, or its end."""

    id: int
    lead_id: int
    step: str
    visit: int
    anchor_at: datetime
    reached_at: datetime
    ended_at: datetime | None = None
    end_reason: str | None = None


class NewEnrollment(NamedTuple):
    """A new enrollment."""

    lead_id: int
    track: str
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
    rep: str | None = None
    state: str = "planned"
    attempts: int = 0

    @classmethod
    def due_now(
        cls, send_key: str, kind: str, recipient: str, lead_id: int, email: str, now: datetime, expires_at: datetime
    ) -> NewMessage:
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


class FieldUpdate(NamedTuple):
    """The complete fields of a lead."""

    lead_id: int
    fields: Mapping[str, Any]


class NewOffer(NamedTuple):
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
    round: int = 1
    priority: float = 0.0
    hot: bool = False
    escalation_level: int = 0


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
    new_enrollments: list[NewEnrollment] = field(default_factory=list)
    new_messages: list[NewMessage] = field(default_factory=list)
    journal_entries: list[JournalEntry] = field(default_factory=list)
    cancellations: list[TouchCancellation] = field(default_factory=list)
    new_outcomes: list[NewOutcome] = field(default_factory=list)
    field_updates: list[FieldUpdate] = field(default_factory=list)
    new_offers: list[NewOffer] = field(default_factory=list)
    priority_updates: list[PriorityUpdate] = field(default_factory=list)

    def write(self, tx: Transaction, now: datetime) -> set[int]:
        """Write the changes of all leads whose custody version still matches; return these leads.

        Changes of leads without a custody update in the batch are written unguarded.
        """
        written = write_custody(tx, self.custody_updates)
        conflicting = {row.lead_id for row in self.custody_updates} - written
        self._write_rest(tx, conflicting, now)
        return written

    def _write_rest(self, tx: Transaction, conflicting: set[int], now: datetime) -> None:
        _write_enrollment_updates(tx, _without_conflicts(self.enrollment_updates, conflicting))
        _cancel_touches(tx, _without_conflicts(self.cancellations, conflicting), now)
        enrollments = _without_conflicts(self.new_enrollments, conflicting)
        tx.insert(enrollment, NewEnrollment._fields, enrollments)
        offers = _without_conflicts(self.new_offers, conflicting)
        tx.insert(offer, NewOffer._fields, offers)
        crm_records.plan_records(tx, [(one.id, one.lead_id) for one in offers], now)
        tx.insert(
            message, NewMessage._fields, _without_conflicts(self.new_messages, conflicting), unique_columns=["send_key"]
        )
        tx.insert(outcome, NewOutcome._fields, _without_conflicts(self.new_outcomes, conflicting))
        _write_fields(tx, _without_conflicts(self.field_updates, conflicting), now)
        _write_priorities(tx, _without_conflicts(self.priority_updates, conflicting))
        entries = _without_conflicts(self.journal_entries, conflicting)
        write_journal(tx, entries)


def _without_conflicts(rows: Sequence[Any], conflicting: set[int]) -> Sequence[Any]:
    return [row for row in rows if row.lead_id not in conflicting] if conflicting else rows


def _write_enrollment_updates(tx: Transaction, rows: Sequence[EnrollmentUpdate]) -> None:
    if not rows:
        return
    moved = tx.rows("moved", column_types(enrollment, EnrollmentUpdate._fields), rows)
    tx.execute(
        update(enrollment)
        .where(enrollment.c.id == moved.c.id)
        .values(
            step=moved.c.step,
            visit=moved.c.visit,
            anchor_at=moved.c.anchor_at,
            reached_at=moved.c.reached_at,
            ended_at=moved.c.ended_at,
            end_reason=moved.c.end_reason,
        )
    )


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


def _write_priorities(tx: Transaction, rows: Sequence[PriorityUpdate]) -> None:
    """Replace the priorities of earlier hand-offs of these leads."""
    if not rows:
        return
    chosen = tx.ids("chosen", [row.lead_id for row in rows])
    tx.execute(delete(queue_priority).where(queue_priority.c.lead_id.in_(select(chosen.c.id))))
    tx.insert(queue_priority, PriorityUpdate._fields, rows)


def _write_fields(tx: Transaction, rows: Sequence[FieldUpdate], now: datetime) -> None:
    if not rows:
        return
    new: FromClause = tx.rows("new", {"lead_id": _ID, "fields": Json}, rows)
    tx.execute(update(lead).where(lead.c.id == new.c.lead_id).values(fields=new.c.fields, updated_at=now))
