"""Advance leads on tracks: claim the due leads, decide in memory, write in bulk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, assert_never

from nurture.db import locks
from nurture.db.locks import Lock
from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian
from nurture.domain.planning.alike import Decider
from nurture.domain.planning.lead_view import Position
from nurture.domain.planning.planner import (
    Action,
    Decision,
    EndEnrollment,
    OfferToSales,
    RecallTouch,
    SendTouch,
    SkipTouch,
    TakeOver,
    UpdateField,
    decide,
)
from nurture.domain.planning.program import Previous, Program, ToTrack
from nurture.journey.accounts.company_talks import mark_colleagues
from nurture.journey.leads import snapshot
from nurture.journey.leads.changeset import EnrollmentUpdate, FieldUpdate, NewMessage, TouchCancellation
from nurture.journey.leads.received_queries import with_received
from nurture.journey.leads.snapshot import LeadSnapshot, SnapshotRow
from nurture.journey.leads.transitions import TAKEN_OVER, LeadTransitions
from nurture.outbox.messages import RECALLED, TO_LEAD
from nurture.runtime import quarantine
from nurture.runtime.batches import drain, gc_paused
from nurture.runtime.context import AppContext
from nurture.runtime.published import Definitions
from nurture.runtime.redact import redact


@dataclass
class AdvanceResult:
    """The counts of a sweep; *moved* those of the emails that it moved to another day, by day and cause."""

    leads: int = 0
    events: Counter[str] = field(default_factory=Counter)
    moved: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: AdvanceResult) -> AdvanceResult:
        """Return the sum of two sweeps."""
        return AdvanceResult(self.leads + other.leads, self.events + other.events, self.moved + other.moved)


def advance(ctx: AppContext, now: datetime) -> AdvanceResult:
    """Advance batch by batch until no lead is due at *now* (UTC)."""
    if quarantine.is_on(ctx, now):
        return AdvanceResult()
    with gc_paused():
        batches = drain(lambda: advance_batch(ctx, now, ctx.batch_size), lambda done: done.leads >= ctx.batch_size)
        return sum(batches, AdvanceResult())


def advance_batch(ctx: AppContext, now: datetime, limit: int) -> AdvanceResult:
    """Advance at most *limit* due leads in one transaction."""
    with ctx.database.write() as tx:
        locks.acquire_shared(tx, Lock.STOPS)  # a start wakes leads: none may be put to sleep by a stop that has ended
        rows = snapshot.claim_due(tx, [Custodian.TRACK], now, limit)
        if not rows:
            return AdvanceResult()
        definitions = ctx.definitions.current(tx)
        transitions = LeadTransitions(definitions, now, "advance")
        snapshots = load_for_planner(ctx, tx, definitions, rows, now)
        moved = Counter[str]()
        decider = Decider(definitions.inputs, definitions.entries, definitions.policy, now, decision_to_dict)
        events = Counter(advance_lead(lead, transitions, moved, decider) for lead in snapshots)
        transitions.changes.write(tx, now)
    return AdvanceResult(len(rows), events, moved)


def load_for_planner(
    ctx: AppContext,
    tx: Transaction,
    definitions: Definitions,
    rows: list[SnapshotRow],
    now: datetime,
    *,
    may_enter: Mapping[str, Program] | None = None,
) -> list[LeadSnapshot]:
    """Return the leads of *rows*, in order, with all that the planner looks at, in a constant number of statements.

    *may_enter* are the tracks that the leads may come to, None if only their next decision is asked for.
    """
    policy, programs = definitions.policy, may_enter or definitions.programs
    full_until = snapshot.load_full_until(tx, policy, definitions.programs.values(), now)
    asking = definitions if may_enter is None else replace(definitions, programs=may_enter)
    leads = snapshot.load_snapshots(ctx, tx, asking, rows, now, full_until)
    leads = mark_colleagues(tx, policy, programs, leads, on_any_track=may_enter is not None)
    return with_received(tx, leads, programs, on_any_track=may_enter is not None)


def advance_lead(
    lead: LeadSnapshot,
    transitions: LeadTransitions,
    moved: Counter[str],
    decider: Decider[dict[str, Any]] | None = None,
) -> str:
    """Decide for one lead and collect the changes; return the event. An error of one lead never stops its batch.

    The *decider* of the batch decides once about leads that are alike.
    """
    enrollment = lead.view.enrollment
    program = transitions.definitions.programs.get(enrollment.track) if enrollment is not None else None
    if enrollment is None or program is None:
        return transitions.retry_later(lead, f"track {lead.ref} is not published; run `nurture publish`")
    try:
        definitions = transitions.definitions
        if decider is None:
            decision = decide(lead.view, program, definitions.entries, definitions.policy, transitions.now)
            detail = decision_to_dict(decision)
        else:
            decision, detail = decider.decide(lead.view, program)
    except Exception as error:  # noqa: BLE001 - recorded in the lead's journal and retried
        return transitions.retry_later(lead, redact(error, lead.view.lead.fields))
    if decision.move:
        moved[decision.move] += 1
    transitions.readmit(lead)
    return _apply(lead, decision, detail, program, transitions)


def _apply(
    lead: LeadSnapshot,
    decision: Decision,
    detail: Mapping[str, Any],
    program: Program,
    transitions: LeadTransitions,
) -> str:
    version, enrollment, position = program.version, lead.view.enrollment, decision.position
    assert enrollment is not None
    assert position is not None
    if decision.ways:
        detail = {**detail, "ways": [[program.track, *way] for way in decision.ways]}
    event = decision.hold.value if decision.hold is not None else "moved"
    for action in decision.actions:
        match action:
            case UpdateField():
                continue
            case RecallTouch():
                recall = TouchCancellation(lead.view.lead.id, RECALLED)
                transitions.changes.cancellations.append(recall)
                _add_step_entry(lead, "recalled", action, version, transitions)
            case SkipTouch():
                _add_step_entry(lead, "skipped", action, version, transitions)
            case SendTouch():
                event = "touch"
                planned = _new_message(lead, action, program, transitions.now)
                transitions.changes.new_messages.append(planned)
                if (action.step, action.visit) in lead.view.recalled_touches:
                    transitions.changes.replanned_messages.append(planned)
            case OfferToSales(rule=rule, reason=reason):
                _update_position(lead, position, transitions)
                transitions.hand_off(lead, rule, reason, detail)
                _update_fields(lead, decision.actions, transitions)
                return "hand_off"
            case EndEnrollment(destination=to, reason=reason, exit=left_by):
                entered = position.reached_at if isinstance(to, ToTrack | Previous) else None
                at_position = _at_position(lead, position)
                if left_by is not None:
                    more = {"track_version": version, "step": position.step}
                    at_position = transitions.record_exit(at_position, left_by, reason, **more)
                transitions.move_to(at_position, to, reason, event="left", entered_at=entered, detail=detail)
                _update_fields(lead, decision.actions, transitions)
                return left_by.value if left_by is not None else "left"
            case TakeOver(track=track, reason=reason):
                transitions.take_over(_at_position(lead, position), track, reason, detail)
                _update_fields(lead, decision.actions, transitions)
                return TAKEN_OVER
            case _:
                assert_never(action)
    if position != enrollment.position:
        _update_position(lead, position, transitions)
    _update_fields(lead, decision.actions, transitions)
    assert decision.wake_at is not None
    transitions.set_custody(lead, Custodian.TRACK, lead.ref, decision.reason, decision.wake_at)
    transitions.add_journal_entry(
        lead, event, decision.reason, None, track_version=version, step=position.step, detail=detail
    )
    return event


def _add_step_entry(
    lead: LeadSnapshot, event: str, action: RecallTouch | SkipTouch, version: int, transitions: LeadTransitions
) -> None:
    transitions.add_journal_entry(lead, event, action.reason, None, track_version=version, step=action.step)


def _at_position(lead: LeadSnapshot, position: Position) -> LeadSnapshot:
    """Return the lead at *position*, so that its enrollment ends there and not at the position before."""
    enrollment = lead.view.enrollment
    assert enrollment is not None
    return replace(lead, view=replace(lead.view, enrollment=replace(enrollment, position=position)))


def _update_position(lead: LeadSnapshot, position: Position, transitions: LeadTransitions) -> None:
    enrollment = lead.view.enrollment
    assert enrollment is not None
    transitions.changes.enrollment_updates.append(
        EnrollmentUpdate(
            enrollment.id, lead.view.lead.id, position.step, position.visit, position.anchor, position.reached_at
        )
    )


def _update_fields(lead: LeadSnapshot, actions: Iterable[Action], transitions: LeadTransitions) -> None:
    updates = {action.name: action.value for action in actions if isinstance(action, UpdateField)}
    if updates:
        transitions.changes.field_updates.append(FieldUpdate(lead.view.lead.id, {**lead.view.lead.fields, **updates}))


def _new_message(lead: LeadSnapshot, send: SendTouch, program: Program, now: datetime) -> NewMessage:
    enrollment = lead.view.enrollment
    assert enrollment is not None
    return NewMessage(
        send_key=f"touch:{enrollment.id}:{send.step}:{send.visit}",
        kind="touch",
        recipient=TO_LEAD,
        lead_id=lead.view.lead.id,
        enrollment_id=enrollment.id,
        track=enrollment.track,
        track_version=program.version,
        step=send.step,
        visit=send.visit,
        email=send.email,
        topic=program.topic_key,
        past_cap=send.past_cap,
        planned_at=send.planned_at,
        send_at=send.send_at,
        expires_at=send.expires_at,
        state_at=now,
    )


def decision_to_dict(decision: Decision) -> dict[str, Any]:
    """Return the decision as the journal stores it, complete enough to replay it.

    The position is its step, visit and anchor, and when it was reached if that is another time. An email that is sent
    is that of this step and visit, and has the name of the step if no other is given. Why a lead is held is the event
    of the entry, and when an email was planned for is in its message.
    """
    position = decision.position
    values: dict[str, Any] = {}
    if decision.wake_at is not None:
        values["wake_at"] = decision.wake_at
    if position is not None:
        reached = () if position.reached_at == position.anchor else (position.reached_at,)
        values["position"] = [position.step, position.visit, position.anchor, *reached]
    if decision.actions:
        values["actions"] = [_action_to_list(action) for action in decision.actions]
    return values


def _action_to_list(action: Action) -> list[Any]:
    match action:
        case SendTouch():
            return ["send"] if action.email == action.step else ["send", action.email]
        case OfferToSales(rule=rule):
            return ["hand_off", rule]
        case RecallTouch(step=step, visit=visit):
            return ["recall", step, visit]
        case SkipTouch(step=step, visit=visit):
            return ["skip", step, visit]
        case UpdateField(name=name):
            return ["set_field", name]
        case EndEnrollment(destination=to):
            return ["leave", type(to).__name__, str(getattr(to, "track", getattr(to, "queue", "closed")))]
        case TakeOver(track=track):
            return ["take_over", track]
        case _:
            assert_never(action)
