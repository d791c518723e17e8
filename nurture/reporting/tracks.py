"""Reports on tracks: by step, as a funnel, by week, by hand-off, and wins by age of the lead."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, NamedTuple

from nurture.definitions.folder import BROADCASTS
from nurture.domain.lead import Custodian
from nurture.domain.planning.program import Email, Program
from nurture.domain.signals import SignalVerdict
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
    past_cap: int = 0
    """Emails that were sent although a cap would have held them: they are exempt."""
    holds: Mapping[str, int] = field(default_factory=dict)
    """Decisions that held a lead here, by reason, and pauses by people."""
    waiting: int = 0
    with_sales: int = 0
    """Leads held here while sales has them."""
    suspended: int = 0
    """Leads that another track took over here; they may return."""
    clicked: int = 0
    replied: int = 0
    unsubscribed: int = 0
    exits: Mapping[str, int] = field(default_factory=dict)
    """Enrollments that ended here, by reason, without accepted hand-offs."""
    handed_off: int = 0


@dataclass(frozen=True, slots=True)
class GoalReport:
    """The enrollments in one version of a track, by the version that the leads entered.

    *share* is how many of them reached the goal (`until`); *exited* left by `exit_when`.
    """

    track: str
    version: int
    enrolled: int
    here_now: int
    reached_goal: int
    exited: int
    share: float


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
    """Leads that were ever handed off."""
    offers: Mapping[str, int]
    """Offers of them to reps, by state; a lead may be offered to several."""
    recycled: int
    """Leads that returned from sales to a track."""
    closed: Mapping[str, int]
    resting: Mapping[str, int]
    """Leads that rest until a date, by why: customers among them."""
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
class Peaks:
    """The hour and the day (UTC) with the most touches, and the means over the hours and days with any."""

    hour: datetime
    in_hour: int
    mean_per_hour: float
    day: date
    in_day: int
    mean_per_day: float


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

_NONE: Final = (0, 0, 0)


def report_tracks(ctx: AppContext) -> list[StepReport]:
    """Return every email step and every other step with activity, in track order."""
    with ctx.database.read() as tx:
        messages = queries.messages_by_step(tx)
        holds, handed_off = queries.decisions_by_step(tx)
        enrolled = queries.count_enrolled_by_step(tx)
        signals = queries.signals_by_step(tx)
        ends = queries.ended_by_step(tx)
        definitions = ctx.definitions.find_current(tx)
    programs = definitions.programs if definitions is not None else {}
    known = {*messages, *holds, *enrolled, *signals, *ends, *handed_off, *_emails(programs)}
    step_keys = {key for key in known if not key[0].startswith(BROADCASTS)}
    emails = {*_emails(programs), *messages}
    return [
        StepReport(
            *step_key,
            is_email=step_key in emails,
            sent=messages.get(step_key, _NONE)[0],
            cancelled=messages.get(step_key, _NONE)[1],
            past_cap=messages.get(step_key, _NONE)[2],
            holds=holds.get(step_key, {}),
            waiting=enrolled.get(step_key, (0, 0, 0))[0],
            with_sales=enrolled.get(step_key, (0, 0, 0))[1],
            suspended=enrolled.get(step_key, (0, 0, 0))[2],
            clicked=signals.get(step_key, {}).get("clicked", 0),
            replied=signals.get(step_key, {}).get("replied", 0),
            unsubscribed=signals.get(step_key, {}).get("unsubscribed", 0),
            exits={reason: number for reason, number in ends.get(step_key, {}).items() if reason != "accepted"},
            handed_off=handed_off.get(step_key, 0),
        )
        for step_key in _sort_by_track(step_keys, programs)
    ]


def report_goals(ctx: AppContext) -> list[GoalReport]:
    """Return each version of the tracks with a goal or an exit condition, or by which leads left so."""
    with ctx.database.read() as tx:
        counted = queries.count_goals(tx)
        definitions = ctx.definitions.find_current(tx)
    programs = definitions.programs if definitions is not None else {}
    with_exits = {name for name, program in programs.items() if program.exits}
    with_exits |= {track for track, _, _, _, goals, exits in counted if goals + exits}
    return [
        GoalReport(track, version, enrolled, here_now, goals, exits, round(goals / enrolled, 4))
        for track, version, enrolled, here_now, goals, exits in counted
        if track in with_exits
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
        offers=dict(sorted(states.items())),
        recycled=recycled,
        closed=of(Custodian.CLOSED),
        resting=of(Custodian.RESTING),
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


def find_peaks(ctx: AppContext) -> Peaks | None:
    """Return the peak hour and the peak day of all touches, None without any; of equal ones the first."""
    with ctx.database.read() as tx:
        by_hour = queries.touches_by_hour(tx)
    if not by_hour:
        return None
    by_day = Counter[str]()
    for hour, number in sorted(by_hour.items()):
        by_day[hour[:10]] += number
    hour, day, total = (
        max(sorted(by_hour), key=by_hour.__getitem__),
        max(by_day, key=by_day.__getitem__),
        by_day.total(),
    )
    return Peaks(
        datetime.fromisoformat(f"{hour}:00+00:00"),
        by_hour[hour],
        round(total / len(by_hour), 1),
        date.fromisoformat(day),
        by_day[day],
        round(total / len(by_day), 1),
    )


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


class LinkRow(NamedTuple):
    """One link of one email. *leads* and *clicks* are human; *sent* counts the emails that contained it."""

    track: str
    step: str
    link: str
    leads: int
    clicks: int
    sent: int
    suspects: int
    bots: int


def clicks_per_link(ctx: AppContext, track: str | None = None) -> list[LinkRow]:
    """Return every link that was ever clicked, by track and step, most leads first."""
    with ctx.database.read() as tx:
        found = queries.clicks_by_link(tx)
        sent = queries.messages_by_step(tx)
    counts: dict[tuple[str, str, str], dict[str, tuple[int, int]]] = defaultdict(dict)
    for name, step, link, verdict, clicks, leads in found:
        if track is None or name == track:
            counts[name, step, link][verdict] = (clicks, leads)
    rows = []
    for (name, step, link), by_verdict in counts.items():
        clicks, leads = by_verdict.get(SignalVerdict.HUMAN.value, (0, 0))
        suspects, bots = (by_verdict.get(one.value, (0, 0))[0] for one in (SignalVerdict.SUSPECT, SignalVerdict.BOT))
        rows.append(LinkRow(name, step, link, leads, clicks, sent.get((name, step), (0, 0))[0], suspects, bots))
    return sorted(rows, key=lambda row: (row.track, row.step, -row.leads, -row.clicks, row.link))
