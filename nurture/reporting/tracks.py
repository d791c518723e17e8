"""Reports on tracks: by step, as a funnel, by week, by hand-off, and wins by age of the lead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from nurture.domain.lead import Custodian
from nurture.domain.planning.program import Email, Program
from nurture.reporting import queries
from nurture.reporting.queries import HandoffRow, StepKey
from nurture.runtime.context import AppContext


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step of a track. Signals count leads; the rest counts touches, decisions or enrollments."""

    track: str
    step: str
    is_email: bool
    sent: int = 0
    cancelled: int = 0
    holds: Mapping[str, int] = field(default_factory=dict)
    """Decisions that held a lead here, by reason."""
    waiting: int = 0
    with_sales: int = 0
    """Leads held here while sales has them."""
    clicked: int = 0
    replied: int = 0
    unsubscribed: int = 0
    exits: Mapping[str, int] = field(default_factory=dict)
    """Enrollments that ended here, by reason, without accepted hand-offs."""
    handed_off: int = 0


@dataclass(frozen=True, slots=True)
class Funnel:
    """Where leads of one source, or of all, came from and went."""

    source: str | None
    leads: int
    readiness: Mapping[str, int]
    """Leads by readiness rule; "" is not classified yet."""
    enrolled: Mapping[str, int]
    """Leads that were ever on each track."""
    handed_off: int
    """Leads that were ever handed off; the four below count hand-offs."""
    offered: int
    accepted: int
    rejected: int
    expired: int
    withdrawn: int
    recycled: int
    """Leads that returned from sales to a track."""
    closed: Mapping[str, int]
    queued: Mapping[str, int]
    nurtured: int
    """Leads on a track now."""
    nurtured_on: Mapping[str, int]
    with_sales: int
    """Leads that a rep has or was offered."""
    in_intake: int


@dataclass(frozen=True, slots=True)
class Week:
    """The touches of one week (UTC)."""

    monday: date
    touches: int
    leads: int
    by_track: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Band:
    """Wins between two ages, in days since first contact, both included; None is unbounded."""

    name: str
    first_day: int | None
    last_day: int | None
    wins: int
    share: float
    amount: float


@dataclass(frozen=True, slots=True)
class Wins:
    """When leads were won."""

    wins: int
    bands: tuple[Band, ...]
    after_day_90: int
    share_after_day_90: float


BANDS: Final = (
    ("before the first contact", None, -1),
    ("0-91 days", 0, 91),
    ("92-182 days", 92, 182),
    ("183-365 days", 183, 365),
    ("more than 365 days", 366, None),
)


def report_tracks(ctx: AppContext) -> list[StepReport]:
    """Return every email step and every other step with activity, in track order."""
    with ctx.database.read() as tx:
        messages = queries.messages_by_step(tx)
        holds = queries.holds_by_step(tx)
        enrolled = queries.count_enrolled_by_step(tx)
        signals = queries.signals_by_step(tx)
        ends = queries.ended_by_step(tx)
        handed_off = queries.handed_off_by_step(tx)
        definitions = ctx.definitions.find_current(tx)
    programs = definitions.programs if definitions is not None else {}
    step_keys = {*messages, *holds, *enrolled, *signals, *ends, *handed_off, *_emails(programs)}
    emails = {*_emails(programs), *messages}
    return [
        StepReport(
            *step_key,
            is_email=step_key in emails,
            sent=messages.get(step_key, (0, 0))[0],
            cancelled=messages.get(step_key, (0, 0))[1],
            holds=holds.get(step_key, {}),
            waiting=enrolled.get(step_key, (0, 0))[0],
            with_sales=enrolled.get(step_key, (0, 0))[1],
            clicked=signals.get(step_key, {}).get("clicked", 0),
            replied=signals.get(step_key, {}).get("replied", 0),
            unsubscribed=signals.get(step_key, {}).get("unsubscribed", 0),
            exits={reason: number for reason, number in ends.get(step_key, {}).items() if reason != "accepted"},
            handed_off=handed_off.get(step_key, 0),
        )
        for step_key in _sort_by_track(step_keys, programs)
    ]


def _emails(programs: Mapping[str, Program]) -> set[StepKey]:
    return {
        (program.track, instruction.step)
        for program in programs.values()
        for instruction in program.instructions
        if isinstance(instruction, Email)
    }


def _sort_by_track(step_keys: Iterable[StepKey], programs: Mapping[str, Program]) -> list[StepKey]:
    """Sort by track, then in the order of its newest version; removed steps come last."""

    def order(step_key: StepKey) -> tuple[str, bool, int, str]:
        program = programs.get(step_key[0])
        number = program.index.get(step_key[1]) if program is not None else None
        return step_key[0], number is None, number or 0, step_key[1]

    return sorted(step_keys, key=order)


def report_funnel(ctx: AppContext, source: str | None = None) -> Funnel:
    """Return the funnel of all leads, or of one source."""
    with ctx.database.read() as tx:
        readiness = queries.leads_by_readiness(tx, source)
        enrolled = queries.leads_by_track(tx, source)
        handed_off = queries.leads_by_event(tx, ("hand_off",), source)
        states = queries.offers_by_state(tx, source)
        recycled = queries.count_recycled(tx, source)
        custody_counts = queries.leads_by_custody(tx, source)

    def of(kind: Custodian) -> dict[str, int]:
        return {ref: number for (found, ref), number in sorted(custody_counts.items()) if found == kind.value}

    nurtured_on = of(Custodian.TRACK)
    return Funnel(
        source=source,
        leads=sum(readiness.values()),
        readiness=readiness,
        enrolled=enrolled,
        handed_off=handed_off.get("hand_off", 0),
        offered=sum(states.values()),
        accepted=states.get("accepted", 0),
        rejected=states.get("rejected", 0),
        expired=states.get("expired", 0),
        withdrawn=states.get("withdrawn", 0),
        recycled=recycled,
        closed=of(Custodian.CLOSED),
        queued=of(Custodian.QUEUE),
        nurtured=sum(nurtured_on.values()),
        nurtured_on=nurtured_on,
        with_sales=sum(of(Custodian.OFFER).values()) + sum(of(Custodian.REP).values()),
        in_intake=sum(of(Custodian.INTAKE).values()),
    )


def touches_per_week(ctx: AppContext) -> list[Week]:
    """Return each week with touches, earliest first."""
    with ctx.database.read() as tx:
        rows, leads = queries.touches_by_week(tx)
    by_week: dict[str, dict[str, int]] = {}
    for row in rows:
        by_week.setdefault(row.week, {})[row.track] = row.touches
    return [
        Week(date.fromisoformat(week), sum(tracks.values()), leads[week], dict(sorted(tracks.items())))
        for week, tracks in sorted(by_week.items())
    ]


def report_handoffs(ctx: AppContext) -> list[HandoffRow]:
    """Return every hand-off, oldest first."""
    with ctx.database.read() as tx:
        return queries.list_handoffs(tx)


def wins_by_age(
    ctx: AppContext, since: datetime | None = None, last: datetime | None = None, source: str | None = None
) -> Wins:
    """Return wins from *since* to *last* (both included) by days (UTC) since first contact."""
    with ctx.database.read() as tx:
        rows = queries.wins_by_days(tx, since, last, source)
    wins: Counter[str] = Counter()
    amounts: Counter[str] = Counter()
    for row in rows:
        name = next(name for name, first, last in BANDS if _is_within(row.days, first, last))
        wins[name] += row.wins
        amounts[name] += row.amount  # type: ignore[assignment]
    total = wins.total()
    after_day_90 = sum(row.wins for row in rows if row.days > 90)
    bands = (
        Band(name, first, last, wins[name], _share(wins[name], total), float(amounts[name]))
        for name, first, last in BANDS
    )
    return Wins(total, tuple(bands), after_day_90, _share(after_day_90, total))


def _is_within(days: int, first: int | None, last: int | None) -> bool:
    return (first is None or days >= first) and (last is None or days <= last)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
