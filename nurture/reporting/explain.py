"""Say about one lead where it is, what holds it, and everything that happened to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection

from nurture.db import locks
from nurture.domain.lead import Custodian, Facts, Lead, Queue, is_parked
from nurture.domain.planning.planner import GUARDS, Asked, HoldReason, decide, requested
from nurture.domain.policy.business_hours import Rung, Step
from nurture.domain.scoring import bant
from nurture.errors import NotFound
from nurture.journey.handoff import queries as handoff_queries
from nurture.journey.handoff.escalation import promised, until_answered, until_followed_up
from nurture.journey.leads import history_queries, snapshot, suppression_queries
from nurture.journey.leads.history_queries import Kept
from nurture.journey.leads.snapshot import DueRow
from nurture.journey.tracks.advance import reps_full_until
from nurture.journey.tracks.touch_email import full_name
from nurture.reporting.leads import engagement_now, fit_of, points_of
from nurture.runtime.context import House

_STEPS: Final = {Step.REMIND: "remind", Step.ESCALATE: "escalate", Step.TAKE_BACK: "take back"}


@dataclass(frozen=True, slots=True)
class Stay:
    """Where the lead stands on its track."""

    id: int
    track: str
    step: str
    visit: int
    entered_at: datetime
    anchor_at: datetime
    reached_at: datetime


@dataclass(frozen=True, slots=True)
class Held:
    """What the planner would answer now. *guard* names who holds the lead; "" if nobody does.

    *passed* names who would hold a lead whose request is asked before that.
    """

    guard: str
    because: str
    until: datetime | None
    passed: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened, or is planned to."""

    at: datetime
    stage: str
    event: str
    because: str
    ref: str


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything that explains one lead at one moment."""

    at: datetime
    lead_id: int
    name: str
    company: str
    source: str
    custodian: str
    ref: str
    owner: str
    since: datetime | None
    next_action: str
    due_at: datetime | None
    readiness: str
    first_contact_at: datetime
    stay: Stay | None
    held: Held
    engagement: float
    fit: str
    """The fit letter; "" where the policy has no rules for it."""
    fit_because: str
    bant: Mapping[str, str]
    """Budget, authority and need, as far as they are known: what, from whom, since when, how surely."""
    decides_on: date | None
    decides_stated_at: datetime | None
    call_on: date | None
    """The day on which it asked to be called."""
    basis: str | None
    suppressed: tuple[str, ...]
    """What keeps its address from being mailed: scope, and who said so."""
    paused_until: datetime | None
    pace_days: int | None
    """It asked for one touch at most in so many days."""
    history: tuple[Line, ...]
    ladder: tuple[Rung, ...] = ()
    """What happens when its rep does not answer, or does not follow up."""


def why(house: House, lead_id: int, now: datetime) -> Trace:
    """Explain a lead at *now* (UTC), without writing. Raises NotFound if there is none of this id."""
    database = house.database
    with database.read() as connection:
        locks.freeze(database, connection)
        kept = history_queries.find(connection, lead_id)
        if kept is None:
            raise NotFound(f"There is no lead {lead_id}. `nurture leads list` lists them.")
        rows = snapshot.these(database, connection, [lead_id], lock=False)
        suppressed: tuple[str, ...] = ()
        if kept.address_id is not None:
            standing = suppression_queries.effective_suppressions(database, connection, [kept.address_id])
            suppressed = tuple(_said(scope, ref, source) for _, scope, ref, source in standing)
        held = _held(house, connection, rows[0], now) if rows else _LOST
        fit, fit_because = fit_of(house, connection, kept)
        return Trace(
            at=now,
            lead_id=lead_id,
            name=full_name(kept.facts),
            company=str(kept.facts.get("company") or ""),
            source=kept.source,
            custodian=kept.kind or "nobody",
            ref=kept.ref or "",
            owner=_owner(kept),
            since=kept.since,
            next_action=kept.next_action or "",
            due_at=kept.due_at,
            readiness=kept.readiness,
            first_contact_at=kept.first_contact_at,
            stay=_stay(rows[0]) if rows else None,
            held=held,
            engagement=engagement_now(kept, points_of(house, connection), now),
            fit=fit,
            fit_because=fit_because,
            bant=_bant(kept.facts),
            decides_on=kept.decides_on,
            decides_stated_at=kept.decides_stated_at,
            call_on=kept.call_on,
            basis=kept.basis,
            suppressed=suppressed,
            paused_until=kept.paused_until if kept.paused_until and kept.paused_until > now else None,
            pace_days=kept.pace_days,
            history=tuple(
                Line(*line) for line in history_queries.lines(connection, lead_id, kept.address_id)
            ),
            ladder=_ladder(house, connection, kept),
        )


def _ladder(house: House, connection: Connection, kept: Kept) -> tuple[Rung, ...]:
    """Return the steps that an open offer, or a lead that was taken over, still has before it."""
    if kept.kind not in (Custodian.OFFER, Custodian.REP):
        return ()
    policy = house.rulebooks.current(connection).policy
    if kept.kind == Custodian.OFFER:
        one = handoff_queries.open_of(house.database, connection, [kept.id]).get(kept.id)
        if one is None:
            return ()
        rungs = promised(until_answered(policy, house.holidays, one.rep, one.offered_at), one.expires_at)
    else:
        one = handoff_queries.accepted_of(house.database, connection, [kept.id]).get(kept.id)
        if one is None or one.rep != kept.ref:
            return ()
        rungs = until_followed_up(policy, house.holidays, one)
    return tuple(rung for rung in rungs if rung.level is None or rung.level > one.level)


_LOST: Final = Held(
    "no_custodian", "nobody keeps this lead; `nurture reports audit` lists all such leads", None
)


def _bant(facts: Facts) -> dict[str, str]:
    found = {field: bant.known(field, Lead(0, facts)) for field in bant.FIELDS if field != bant.TIMELINE}
    return {field: _told(one) for field, one in found.items() if one is not None}


def _told(one: bant.Known) -> str:
    if not one.source:
        return f"{one.value} (came with the lead)"
    return f"{one.value} ({one.sure.name.lower()} by {one.source} on {one.on})"


def _said(scope: str, ref: str, source: str) -> str:
    return f"{scope} {ref}: {source}" if ref else f"{scope}: {source}"


def _stay(row: DueRow) -> Stay | None:
    if row.enrollment_id is None:
        return None
    return Stay(
        row.enrollment_id, row.track, row.step, row.visit, row.entered_at, row.anchor_at, row.reached_at
    )


def _owner(kept: Kept) -> str:
    match kept.kind:
        case Custodian.TRACK:
            return f"marketing, by track {kept.ref}"
        case Custodian.QUEUE if kept.ref == Queue.HAND_OFF:
            return "marketing, until a rep has room"
        case Custodian.QUEUE:
            return f"whoever looks after the queue {kept.ref}"
        case Custodian.OFFER:
            return f"marketing, while hand-off {kept.ref} is open"
        case Custodian.REP:
            return f"rep {kept.ref}"
        case Custodian.CLOSED:
            return f"nobody: closed as {kept.ref}"
        case Custodian.INTAKE:
            return "marketing, at intake"
        case _:
            return "nobody"


def _held(house: House, connection: Connection, row: DueRow, now: datetime) -> Held:
    """Ask the planner as the next sweep would, and name the guard that answers."""
    parked = row.kind == Custodian.QUEUE and is_parked(row.ref)
    if row.enrollment_id is None and not parked:
        return Held(*_off_track(row), None)
    try:
        book = house.rulebooks.current(connection)
    except NotFound as error:
        return Held("fault", str(error), None)
    program = None if parked else book.programs.get(row.track)
    if program is None and not parked:
        return Held("fault", f"track {row.track} is not published; run `nurture publish`", None)
    full_until = reps_full_until(connection, book, now)
    view = snapshot.views(house.database, connection, [row], now, house.holidays, full_until)[0].view
    try:
        decision = decide(view, program, book.policy, now)
    except Exception as error:  # noqa: BLE001 - the sweep keeps such a lead too; here it is told
        return Held("fault", f"{type(error).__name__}: {error}", None)
    asked = Asked(view, program, book.policy, now)
    answering = (one.__name__ for one in GUARDS if one(asked) is not None)
    guard = next(answering, "")
    if decision.hold is not None and (not guard or decision.hold is HoldReason.SETTLING):
        guard = decision.hold.value
    elif guard == requested.__name__:
        return Held("", decision.because, decision.wake_at, next(answering, ""))
    return Held(guard, decision.because, decision.wake_at)


def _off_track(row: DueRow) -> tuple[str, str]:
    match row.kind:
        case Custodian.CLOSED:
            return "closed", f"closed as {row.ref}"
        case Custodian.INTAKE:
            return "intake", "no readiness rule was asked yet; the next sweep asks them"
        case Custodian.QUEUE if row.ref != Queue.HAND_OFF:
            return "queue", f"waits in the queue {row.ref} for a person"
        case _:
            return "with_sales", f"custodian is {row.kind}"


def summary(trace: Trace) -> list[tuple[str, object]]:
    """Return what stands above the history, as (name, value) in reading order; nothing that is empty."""
    stay, held = trace.stay, trace.held
    free = f"a request is asked before {held.passed}" if held.passed else "nothing holds it"
    where = f"{stay.track}, step {stay.step}" if stay is not None else ""
    if stay is not None and stay.visit > 1:
        where += f", round {stay.visit}"
    lines: list[tuple[str, object]] = [
        ("company", trace.company),
        ("source", trace.source),
        ("owner", trace.owner),
        ("since", trace.since),
        ("next", trace.next_action),
        ("due (UTC)", trace.due_at),
        (
            "ladder",
            ", ".join(f"{_STEPS[rung.step]} on {rung.at:%Y-%m-%d %H:%M} UTC" for rung in trace.ladder),
        ),
        ("on track", where),
        ("entered", stay.entered_at if stay is not None else None),
        ("held by", f"{held.guard}: {held.because}" if held.guard else ""),
        ("now", "" if held.guard else f"{free}: {held.because}"),
        ("score", trace.engagement),
        ("fit", f"{trace.fit}: {trace.fit_because}" if trace.fit else ""),
        *trace.bant.items(),
        ("decides on", trace.decides_on),
        ("stated on", trace.decides_stated_at),
        ("to be called", trace.call_on),
        ("readiness", trace.readiness),
        ("basis", trace.basis or "none on record"),
        ("suppressed", "; ".join(trace.suppressed)),
        ("paused until", trace.paused_until),
        ("wants", f"one email in {trace.pace_days} days at most" if trace.pace_days else ""),
        ("first contact", trace.first_contact_at),
    ]
    return [(name, value) for name, value in lines if value not in ("", None)]


def _rung(rung: Rung) -> str:
    return f"{_STEPS[rung.step]} on {rung.at:%Y-%m-%d %H:%M} UTC"
