"""Give every lead that nobody works a track: the readiness rules first, then the audiences by priority."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from nurture.domain.conditions import evaluate
from nurture.domain.lead import Custodian, Queue
from nurture.domain.policy import Enrol, ReadinessRule, Ready
from nurture.domain.settling import settled
from nurture.domain.suppression import covering
from nurture.domain.track import Program, ToQueue, ToTrack
from nurture.domain.view import View
from nurture.store import leads, views
from nurture.store.views import Claimed

from . import quarantine
from .house import House
from .moves import Mover
from .unnamed import unnamed

Stays = Mapping[tuple[int, str], datetime]
"""When a lead last left, or is still on, a track."""


SETTLING: Final = "settling"
"""What is said of a lead whose click may yet turn out to be a machine's, and would decide."""


def classify(house: House, now: datetime) -> Counter[str]:
    """Sweep new leads, batch after batch: to sales, to a track, or out with a reason."""
    events: Counter[str] = Counter()
    if quarantine.is_on(house):
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
        rows = views.claim_due(database, connection, [Custodian.INTAKE], now, limit)
        if not rows:
            return Counter()
        book = house.rulebooks.current(connection)
        mover = Mover(book, now, "enrol")
        claimed = views.views(database, connection, rows, now, house.holidays)
        stays = leads.last_stays(database, connection, [row.lead_id for row in rows])
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
        leads.name_readiness(database, connection, [row for row in named if row[0] in won])
    return events


def _classify_one(lead: Claimed, mover: Mover, stays: Stays) -> str:
    barred = _barred(lead)
    if barred is not None:
        queue, because = barred
        mover.send_to(lead, ToQueue(queue), because, event="classified")
        return queue
    sure, settles_at = settled(lead.view, mover.book.policy, mover.now)
    rule, because = _first(sure, mover)
    ready = rule is not None and isinstance(rule.then, Ready)
    if settles_at is not None and not ready and rule is not _first(lead.view, mover)[0]:
        because = f"a click is settling until {settles_at:%Y-%m-%d %H:%M:%S} UTC; else: {because}"
        mover.keep(lead, Custodian.INTAKE, lead.ref, because, settles_at)
        mover.note(lead, SETTLING, because, None)
        return SETTLING
    lead = replace(lead, view=sure)
    if rule is None:
        place(lead, mover, because, stays=stays, event="classified")
        return "unclassified"
    _follow(rule, lead, mover, stays, because)
    return rule.name


def _first(view: View, mover: Mover) -> tuple[ReadinessRule | None, str]:
    """Return the first readiness rule that holds, and why."""
    about = mover.book.policy.question(view, since=view.lead.evidence_since)
    for rule in mover.book.policy.readiness:
        answer = evaluate(rule.when, about, mover.now)
        if answer.yes:
            return rule, f"{rule.name}: {answer.because}"
    return None, "no readiness rule holds"


def _barred(lead: Claimed) -> tuple[str, str] | None:
    """Return the queue of a lead that may not be mailed, and why; None for the others."""
    if lead.view.suppressed:
        return Queue.SUPPRESSED, f"suppressed: {lead.view.suppressed}"
    if lead.address_id is None:
        return Queue.NO_ADDRESS, "no email address is known"
    if not lead.view.lead.basis:
        return Queue.NO_BASIS, "no consent or other legal basis is recorded"
    return None


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
    about = mover.book.policy.question(lead.view, since=lead.view.lead.evidence_since)
    for program in sorted(mover.book.programs.values(), key=lambda one: (-one.priority, one.track)):
        if not _may_enter(program, lead, stays or {}, mover.now):
            continue
        if program.audience is None or evaluate(program.audience, about, mover.now).yes:
            why = f"{because}; audience of {program.track}"
            mover.send_to(lead, ToTrack(program.track), why, event=event, peace_until=peace_until)
            return
    mover.send_to(lead, ToQueue(Queue.NO_TRACK), f"{because}; no track's audience fits", event=event)


def _may_enter(program: Program, lead: Claimed, stays: Stays, now: datetime) -> bool:
    if covering(lead.view.standing, program.track, program.topic) is not None:
        return False
    last = stays.get((lead.view.lead.id, program.track))
    if last is None:
        return True
    days = program.re_entry.after_days
    return days is not None and last + timedelta(days=days) <= now
