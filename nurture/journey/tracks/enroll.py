"""Give every lead that nobody works a track: the readiness rules first, then the audiences by priority."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from nurture.domain.consent.suppression import covering
from nurture.domain.lead import Custodian, Queue
from nurture.domain.planning.click_grace import settled
from nurture.domain.planning.conditions import evaluate
from nurture.domain.planning.lead_view import View
from nurture.domain.planning.planner import HoldReason, OfferToSales, decide
from nurture.domain.planning.program import Program, ToClosed, ToQueue, ToTrack
from nurture.domain.policy.policy import Enrol, ReadinessRule, Ready
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import snapshot
from nurture.journey.leads.snapshot import Claimed
from nurture.journey.leads.transitions import Mover, barred
from nurture.journey.tracks.advance import stored
from nurture.runtime import quarantine
from nurture.runtime.context import House
from nurture.runtime.redact import unnamed

Stays = Mapping[tuple[int, str], datetime]
"""When a lead last left, or is still on, a track."""


SETTLING: Final = "settling"
"""What is said of a lead whose click may yet turn out to be a machine's, and would decide."""


def classify(house: House, now: datetime) -> Counter[str]:
    """Sweep new leads, batch after batch: to sales, to a track, or out with a reason."""
    events: Counter[str] = Counter()
    if quarantine.is_on(house, now):
        return events
    while True:
        done = classify_batch(house, now, house.batch)
        events += done
        if done.total() < house.batch:
            return events


def classify_batch(house: House, now: datetime, limit: int) -> Counter[str]:
    """Classify at most *limit* new leads in one transaction."""
    database = house.database
    with database.write() as connection:
        rows = snapshot.claim_due(database, connection, [Custodian.INTAKE], now, limit)
        if not rows:
            return Counter()
        book = house.rulebooks.current(connection)
        mover = Mover(book, now, "enrol")
        claimed = snapshot.views(database, connection, rows, now, house.holidays)
        stays = leads_queries.last_stays(database, connection, [row.lead_id for row in rows])
        named: list[tuple[int, str]] = []
        events: Counter[str] = Counter()
        for lead in claimed:
            try:
                rule = _classify_one(lead, mover, stays)
            except Exception as error:  # noqa: BLE001 - recorded in the lead's journal, and tried again
                events[mover.fault(lead, unnamed(error, lead.view.lead.facts))] += 1
                continue
            events[rule] += 1
            if rule != SETTLING:
                named.append((lead.view.lead.id, rule))
        won = mover.changes.write(database, connection, now)
        leads_queries.name_readiness(database, connection, [row for row in named if row[0] in won])
    return events


def _classify_one(lead: Claimed, mover: Mover, stays: Stays) -> str:
    sure, settles_at = settled(lead.view, mover.book.policy, mover.now)
    rule, because = _first(sure, mover)
    bar, ready = barred(lead), rule is not None and isinstance(rule.then, Ready)
    if bar is None and settles_at is not None and not ready and rule is not _first(lead.view, mover)[0]:
        because = f"a click is settling until {settles_at:%Y-%m-%d %H:%M:%S} UTC; else: {because}"
        return _settle(lead, mover, because, settles_at)
    queue, why = bar or (_queue_of(rule, lead, mover, stays), because)
    if queue and not _discards(rule):
        there = replace(lead.view, custodian=Custodian.QUEUE, queue=queue)
        decision = decide(there, None, mover.book.policy, mover.now)
        for action in decision.actions:
            if isinstance(action, OfferToSales):
                mover.hand_off(lead, action.rule, action.because, stored(decision))
                return action.rule
        if decision.hold is HoldReason.SETTLING and decision.wake_at is not None:
            return _settle(lead, mover, decision.because, decision.wake_at)
    lead = replace(lead, view=sure)
    if bar is not None:
        mover.send_to(lead, ToQueue(queue), why, event="classified")
        return queue
    if rule is None:
        place(lead, mover, because, stays=stays, event="classified")
        return "unclassified"
    _follow(rule, lead, mover, stays, because)
    return rule.name


def _settle(lead: Claimed, mover: Mover, because: str, until: datetime) -> str:
    mover.keep(lead, Custodian.INTAKE, lead.ref, because, until)
    mover.note(lead, SETTLING, because, None)
    return SETTLING


def _queue_of(rule: ReadinessRule | None, lead: Claimed, mover: Mover, stays: Stays) -> str:
    """Return the queue in which *rule* leaves the lead, "" if it goes elsewhere."""
    match rule.then if rule is not None else Enrol():
        case Enrol():
            return "" if _entrance(lead, mover, stays) is not None else Queue.NO_TRACK
        case ToTrack(track=track):
            return "" if track in mover.book.programs else Queue.NO_TRACK
        case ToQueue(queue=queue):
            return queue
        case Ready() | ToClosed():
            return ""


def is_discarded(view: View, mover: Mover) -> bool:
    """Return whether a readiness rule discards the lead, whatever it asks for."""
    return _discards(_first(view, mover)[0])


def _discards(rule: ReadinessRule | None) -> bool:
    return rule is not None and isinstance(rule.then, ToClosed)


def _first(view: View, mover: Mover) -> tuple[ReadinessRule | None, str]:
    """Return the first readiness rule that holds, and why."""
    about = mover.book.policy.question(view, since=view.lead.evidence_since)
    for rule in mover.book.policy.readiness:
        answer = evaluate(rule.when, about, mover.now)
        if answer.yes:
            return rule, f"{rule.name}: {answer.because}"
    return None, "no readiness rule holds"


def _follow(rule: ReadinessRule, lead: Claimed, mover: Mover, stays: Stays, because: str) -> None:
    match rule.then:
        case Ready():
            mover.hand_off(lead, rule.name, because)
        case Enrol():
            place(lead, mover, because, stays=stays, event="classified")
        case to:
            mover.send_to(lead, to, because, event="classified")


def place(
    lead: Claimed,
    mover: Mover,
    because: str,
    *,
    stays: Stays | None = None,
    event: str = "enrolled",
    peace_until: datetime | None = None,
) -> None:
    """Enrol the lead where the audience fits; without any such track a person looks at it."""
    program = _entrance(lead, mover, stays or {})
    if program is None:
        mover.send_to(lead, ToQueue(Queue.NO_TRACK), f"{because}; no track's audience fits", event=event)
        return
    why = f"{because}; audience of {program.track}"
    mover.send_to(lead, ToTrack(program.track), why, event=event, peace_until=peace_until)


def _entrance(lead: Claimed, mover: Mover, stays: Stays) -> Program | None:
    """Return the track of the highest priority whose audience fits, None if none does."""
    about = mover.book.policy.question(lead.view, since=lead.view.lead.evidence_since)
    for program in sorted(mover.book.programs.values(), key=lambda one: (-one.priority, one.track)):
        if not _may_enter(program, lead, stays, mover.now):
            continue
        if program.audience is None or evaluate(program.audience, about, mover.now).yes:
            return program
    return None


def _may_enter(program: Program, lead: Claimed, stays: Stays, now: datetime) -> bool:
    if covering(lead.view.standing, program.track, program.topic) is not None:
        return False
    last = stays.get((lead.view.lead.id, program.track))
    if last is None:
        return True
    days = program.re_entry.after_days
    return days is not None and last + timedelta(days=days) <= now
