"""Move every lead whose time has come: claim the due, decide in memory, write back in bulk."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, assert_never

from sqlalchemy import Connection

from nurture.domain.lead import Custodian
from nurture.domain.planning.lead_view import Position
from nurture.domain.planning.planner import Action, Decision, Leave, NoteFact, OfferToSales, SendTouch, decide
from nurture.domain.planning.program import ToTrack
from nurture.journey.leads import capacity_queries, snapshot
from nurture.journey.leads.changeset import Factual, Intended, Placed
from nurture.journey.leads.snapshot import Claimed
from nurture.journey.leads.transitions import Mover
from nurture.runtime import quarantine
from nurture.runtime.context import House
from nurture.runtime.gc_pause import undisturbed
from nurture.runtime.published import Rulebook
from nurture.runtime.redact import unnamed


@dataclass
class Advanced:
    """What a sweep did."""

    leads: int = 0
    events: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Advanced) -> Advanced:
        """Add two sweeps up."""
        return Advanced(self.leads + other.leads, self.events + other.events)


def advance(house: House, now: datetime) -> Advanced:
    """Sweep batch after batch until nothing is due at *now* (UTC)."""
    total = Advanced()
    if quarantine.is_on(house, now):
        return total
    with undisturbed():
        while True:
            done = advance_batch(house, now, house.batch)
            total += done
            if done.leads < house.batch:
                return total
            gc.collect(1)


def advance_batch(house: House, now: datetime, limit: int) -> Advanced:
    """Advance at most *limit* due leads in one transaction."""
    with house.database.write() as connection:
        rows = snapshot.claim_due(house.database, connection, [Custodian.TRACK], now, limit)
        if not rows:
            return Advanced()
        book = house.rulebooks.current(connection)
        mover = Mover(book, now, "advance")
        full_until = reps_full_until(connection, book, now)
        claimed = snapshot.views(house.database, connection, rows, now, house.holidays, full_until)
        events = Counter(_advance_one(lead, mover) for lead in claimed)
        mover.changes.write(house.database, connection, now)
    return Advanced(len(rows), events)


def reps_full_until(connection: Connection, book: Rulebook, now: datetime) -> datetime | None:
    """Return until when touches that call to action wait for reps to have room, None if they need not."""
    heeded = book.policy.pace.hold_calls_to_action_at is not None
    if not heeded or not any(program.calls_to_action for program in book.programs.values()):
        return None
    return capacity_queries.full_until(connection, now)


def _advance_one(lead: Claimed, mover: Mover) -> str:
    """Decide for one lead and collect what follows; one faulty lead never stops its batch."""
    stay = lead.view.enrollment
    program = mover.book.programs.get(stay.track) if stay is not None else None
    if stay is None or program is None:
        return mover.fault(lead, f"track {lead.ref} is not published; run `nurture publish`")
    try:
        decision = decide(lead.view, program, mover.book.policy, mover.now)
    except Exception as error:  # noqa: BLE001 - recorded in the lead's journal, and tried again
        return mover.fault(lead, unnamed(error, lead.view.lead.facts))
    return _apply(lead, decision, program.version, mover)


def _apply(lead: Claimed, decision: Decision, version: int, mover: Mover) -> str:
    stay, position = lead.view.enrollment, decision.position
    assert stay is not None
    assert position is not None
    detail = stored(decision)
    event = decision.hold.value if decision.hold is not None else "moved"
    for action in decision.actions:
        match action:
            case NoteFact():
                continue
            case SendTouch():
                event = "touch"
                mover.changes.intended.append(_intended(lead, action, version, mover.now))
            case OfferToSales(rule=rule, because=because):
                _place(lead, position, mover)
                mover.hand_off(lead, rule, because, detail)
                _write_facts(lead, decision.actions, mover)
                return "hand_off"
            case Leave(to=to, because=because):
                entered = position.reached if isinstance(to, ToTrack) else None
                there = _standing(lead, position)
                mover.send_to(there, to, because, event="left", entered_at=entered, detail=detail)
                _write_facts(lead, decision.actions, mover)
                return "left"
            case _:
                assert_never(action)
    if position != stay.position:
        _place(lead, position, mover)
    _write_facts(lead, decision.actions, mover)
    assert decision.wake_at is not None
    mover.keep(lead, Custodian.TRACK, lead.ref, decision.because, decision.wake_at)
    mover.note(lead, event, decision.because, None, track_version=version, step=position.step, detail=detail)
    return event


def _standing(lead: Claimed, position: Position) -> Claimed:
    """Return the lead as it stands at *position*, so that its stay ends there and not where it began."""
    stay = lead.view.enrollment
    assert stay is not None
    return replace(lead, view=replace(lead.view, enrollment=replace(stay, position=position)))


def _place(lead: Claimed, position: Position, mover: Mover) -> None:
    stay = lead.view.enrollment
    assert stay is not None
    mover.changes.placed.append(
        Placed(stay.id, lead.view.lead.id, position.step, position.visit, position.anchor, position.reached)
    )


def _write_facts(lead: Claimed, actions: Iterable[Action], mover: Mover) -> None:
    notes = {action.name: action.value for action in actions if isinstance(action, NoteFact)}
    if notes:
        mover.changes.facts.append(Factual(lead.view.lead.id, {**lead.view.lead.facts, **notes}))


def _intended(lead: Claimed, send: SendTouch, version: int, now: datetime) -> Intended:
    stay = lead.view.enrollment
    assert stay is not None
    return Intended(
        send_key=f"touch:{stay.id}:{send.step}:{send.visit}",
        kind="touch",
        lead_id=lead.view.lead.id,
        enrollment_id=stay.id,
        offer_id=None,
        track=stay.track,
        track_version=version,
        step=send.step,
        visit=send.visit,
        email=send.email,
        rep=None,
        planned_at=send.planned_at,
        send_at=send.send_at,
        expires_at=send.expires_at,
        state="planned",
        state_at=now,
    )


def stored(decision: Decision) -> Mapping[str, Any]:
    """Return the decision as the journal keeps it: enough to replay it."""
    position = decision.position
    kept: dict[str, Any] = {"hold": decision.hold.value if decision.hold is not None else None}
    if decision.wake_at is not None:
        kept["wake_at"] = decision.wake_at
    if position is not None:
        kept["position"] = [
            position.step,
            position.visit,
            position.anchor,
            position.reached,
        ]
    if decision.actions:
        kept["actions"] = [_stored_action(action) for action in decision.actions]
    return kept


def _stored_action(action: Action) -> list[Any]:
    match action:
        case SendTouch():
            return ["send", action.step, action.visit, action.email, action.planned_at]
        case OfferToSales(rule=rule):
            return ["hand_off", rule]
        case NoteFact(name=name):
            return ["set", name]
        case Leave(to=to):
            return ["leave", type(to).__name__, str(getattr(to, "track", getattr(to, "queue", "closed")))]
        case _:
            assert_never(action)
