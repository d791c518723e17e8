"""The pages of hand-offs: the pipeline from signal to won, the team, and the queues with their owners and clocks."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from statistics import median
from typing import Final

from nurture.db.transaction import Transaction
from nurture.domain.lead import SALES_QUEUES, name_in_list
from nurture.journey.handoff.roster import RosterEntry, load_roster
from nurture.journey.handoff.waiting.lists import WaitingList, load_waiting
from nurture.reporting.console import handoff_queries
from nurture.reporting.console.handoff_queries import OpenHandoff, RepCounts
from nurture.reporting.console.lead_list_queries import LeadFilter
from nurture.runtime.context import AppContext

DEFAULT_DAYS: Final = 30
MAX_OPEN: Final = 100
_HOUR: Final = 3_600
_OFFERED: Final = (
    *(("offered", "Offered to a rep"), ("accepted", "Accepted")),
    *(("contacted", "Contacted"), ("won", "Won")),
)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the pipeline: how many leads reached it, and the filter that lists them."""

    name: str
    title: str
    leads: int
    people: LeadFilter


@dataclass(frozen=True, slots=True)
class OpenLead:
    """An open hand-off as a list shows it. *stands* is offered or accepted; *is_late*: its deadline has passed."""

    lead_id: int
    name: str
    company: str
    rep: str
    stands: str
    since: datetime
    due_at: datetime | None
    is_late: bool
    hot: bool


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The stages in the period, and the open hand-offs by deadline; there may be more than *is_full* shows."""

    since: datetime
    stages: tuple[Stage, ...]
    open: tuple[OpenLead, ...]
    is_full: bool


@dataclass(frozen=True, slots=True)
class TeamMember:
    """A rep: load and absence now, and the offers of the period. *hours_to_answer* is the median of hours of the clock.

    *slowest* marks the one who took longest.
    """

    roster: RosterEntry
    counts: RepCounts
    hours_to_answer: float | None
    slowest: bool


def load_pipeline(
    ctx: AppContext,
    tx: Transaction,
    now: datetime,
    days: int = DEFAULT_DAYS,
    reps: Collection[str] | None = None,
) -> Pipeline:
    """Return the pipeline of the last *days* days (UTC), in a constant number of statements.

    With *reps* only their hand-offs; the stages before are those of all leads.
    """
    since = find_first_day(now, days)
    definitions = ctx.definitions.find_current(tx)
    names = {one.id: one.name for one in definitions.policy.reps} if definitions is not None else {}
    answered = handoff_queries.count_answering_people(tx, since)
    handed_off = handoff_queries.count_handed_off(tx, since.date())
    counts = handoff_queries.count_stages(tx, since, reps)
    found = handoff_queries.list_open(tx, MAX_OPEN, reps=reps)
    stages = (
        Stage("answered", "Clicked or replied", answered, LeadFilter(did="answered", since=since)),
        Stage("handed_off", "Handed off", handed_off, LeadFilter(did="handed_off", since=since)),
        *(Stage(name, title, getattr(counts, name), LeadFilter(did=name, since=since)) for name, title in _OFFERED),
    )
    return Pipeline(since, stages, describe_open(found, names, now), len(found) >= MAX_OPEN)


def describe_open(found: Sequence[OpenHandoff], names: Mapping[str, str], now: datetime) -> tuple[OpenLead, ...]:
    """Return what a list shows of open hand-offs; *names* are those of the reps by id."""
    return tuple(
        OpenLead(
            one.lead_id,
            name_in_list(one.fields),
            str(one.fields.get("company") or ""),
            names.get(one.rep, one.rep),
            "offered, not answered" if one.state == "offered" else "accepted, not contacted",
            one.offered_at,
            one.due_at,
            one.due_at is not None and one.due_at <= now,
            bool(one.hot),
        )
        for one in found
    )


def load_team(
    ctx: AppContext, now: datetime, days: int = DEFAULT_DAYS, reps: Collection[str] | None = None
) -> list[TeamMember]:
    """Return the reps with the offers of the last *days* days (UTC), in a constant number of statements.

    With *reps* only these.
    """
    since = find_first_day(now, days)
    with ctx.database.read() as tx:
        definitions = ctx.definitions.find_current(tx)
        if definitions is None:
            return []
        policy = definitions.policy
        counts = handoff_queries.count_by_rep(tx, since)
        seconds: dict[str, list[int]] = defaultdict(list)
        for rep, took in handoff_queries.list_answer_seconds(tx, since):
            seconds[rep].append(took)
    team = {one.id for one in policy.reps if reps is None or one.id in reps}
    hours = {rep: round(median(found) / _HOUR, 1) for rep, found in seconds.items() if rep in team}
    slowest = max(hours, key=lambda rep: hours[rep], default="") if len(hours) > 1 else ""
    return [
        TeamMember(one, counts.get(one.id, RepCounts(one.id, 0, 0, 0, 0, 0, 0)), hours.get(one.id), one.id == slowest)
        for one in load_roster(ctx, now)
        if one.id in team
    ]


def load_queues(
    ctx: AppContext, tx: Transaction, now: datetime, *, for_sales: bool = False, limit: int = MAX_OPEN
) -> WaitingList:
    """Return what waits in queues, or only *for_sales*: counts, owners, clocks, and who has waited longest."""
    definitions = ctx.definitions.find_current(tx)
    if definitions is None:
        return WaitingList((), ())
    found = load_waiting(tx, definitions.policy, ctx.holidays, now, person=None, limit=limit)
    if not for_sales:
        return found
    queues = [one for one in found.queues if one.name in SALES_QUEUES]
    return replace(found, queues=queues, leads=[one for one in found.leads if one.queue in SALES_QUEUES])


def find_first_day(now: datetime, days: int) -> datetime:
    """Return when the last *days* days begin, in UTC."""
    return datetime.combine(now.astimezone(UTC).date() - timedelta(days=days - 1), time.min, UTC)
