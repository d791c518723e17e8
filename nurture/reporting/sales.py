"""Say how well sales takes what nurturing brings: who owns it, reaches it, answers it, closes it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from math import ceil

from sqlalchemy import Connection

from nurture.domain.planning import calendar
from nurture.domain.policy.team import Rep
from nurture.errors import NotFound, Refused
from nurture.reporting import handoff_history_queries
from nurture.reporting.handoff_history import Handover, handovers
from nurture.reporting.sales_rates import CLOSURES, Rate, rates
from nurture.reporting.tracks import Wins, wins_by_age
from nurture.runtime.context import House


@dataclass(frozen=True, slots=True)
class ByRule:
    """What reps did with what one rule of the policy handed off; hand-offs still open are in *made* only."""

    rule: str
    made: int
    accepted: int
    rejected: int
    unanswered: int
    won: int

    @property
    def acceptance(self) -> float | None:
        """Return how many of those that are answered, or were to be by now, a rep accepted."""
        over = self.accepted + self.rejected + self.unanswered
        return self.accepted / over if over else None


@dataclass(frozen=True, slots=True)
class ByRep:
    """What one rep was offered and did.

    *hours_to_accept* is the median, *peak* the most offers on one day of theirs.
    """

    rep: str
    offered: int
    accepted: int
    followed_up: int
    rejected: int
    expired: int
    won: int
    amount: float
    useful: int
    not_useful: int
    hours_to_accept: float | None
    peak: int
    capacity: int | None


@dataclass(frozen=True, slots=True)
class Month:
    """The hand-offs that were decided in one month (UTC), by definitions that do not change."""

    month: str
    handed_off: int
    accepted: int
    reached: int
    closed_in_30_days: int
    won: int


@dataclass(frozen=True, slots=True)
class Waited:
    """Hours from the decision to hand off to a rep who owns the lead."""

    leads: int
    p50: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class SalesReport:
    """One look at the sales side.

    *since* and *until* bound the days (UTC) of the decisions to hand off, both included.
    """

    at: datetime
    since: date | None
    until: date | None
    source: str | None
    handed_off: int
    still_open: int
    rates: tuple[Rate, ...]
    time_to_owner: Waited
    rules: tuple[ByRule, ...]
    reasons: tuple[tuple[str, str, int], ...]
    """Why reps gave leads back: code, label of today's policy, how often."""
    reps: tuple[ByRep, ...]
    months: tuple[Month, ...]
    wins: Wins


def report_sales(
    house: House,
    now: datetime,
    since: date | None = None,
    until: date | None = None,
    source: str | None = None,
) -> SalesReport:
    """Return the sales report in a constant number of statements; Refused if *until* is before *since*.

    Hand-offs count by the day of the decision, wins by the day of winning.
    """
    begins, ends = _bounds(since, until)
    with house.database.read() as connection:
        found = [
            one
            for one in handovers(
                handoff_history_queries.made(connection, source),
                handoff_history_queries.handed_off(connection),
                handoff_history_queries.ended(connection),
            )
            if begins <= one.decided_at <= ends
        ]
        reps, labels = _named(house, connection)
    return SalesReport(
        at=now,
        since=since,
        until=until,
        source=source,
        handed_off=len(found),
        still_open=sum(one.is_open for one in found),
        rates=rates(found, now),
        time_to_owner=_waited(found),
        rules=_by_rule(found),
        reasons=_reasons(found, labels),
        reps=_by_rep(found, reps),
        months=_by_month(found),
        wins=wins_by_age(house, begins, ends, source),
    )


def _bounds(since: date | None, until: date | None) -> tuple[datetime, datetime]:
    if since is not None and until is not None and until < since:
        raise Refused(f"The report would end on {until}, before it begins on {since}. Turn the days round.")
    begins = datetime.combine(since or date.min, time.min, UTC)
    return begins, datetime.combine(until or date.max, time.max, UTC)


def _named(house: House, connection: Connection) -> tuple[dict[str, Rep], dict[str, str]]:
    try:
        policy = house.rulebooks.current(connection).policy
    except NotFound:
        return {}, {}
    labels = {code: reason.label for code, reason in policy.reject_reasons.items()}
    return {rep.id: rep for rep in policy.reps}, labels


def _waited(found: Sequence[Handover]) -> Waited:
    hours = sorted(
        (one.taken.answered_at - one.decided_at) / timedelta(hours=1)
        for one in found
        if one.taken is not None and one.taken.answered_at is not None
    )
    return Waited(len(hours), percentile(hours, 0.5), percentile(hours, 0.95))


def percentile(ordered: Sequence[float], part: float) -> float | None:
    """Return the smallest value that *part* of the ordered values do not exceed; None of no values."""
    return round(ordered[max(ceil(part * len(ordered)) - 1, 0)], 2) if ordered else None


def _by_rule(found: Iterable[Handover]) -> tuple[ByRule, ...]:
    groups: dict[str, list[Handover]] = defaultdict(list)
    for one in found:
        groups[one.first.rule].append(one)
    rows = (
        ByRule(
            rule,
            len(of),
            sum(one.taken is not None for one in of),
            sum(one.taken is None and one.offers[-1].state == "rejected" for one in of),
            sum(one.taken is None and one.offers[-1].state in ("expired", "withdrawn") for one in of),
            sum(one.has_won for one in of),
        )
        for rule, of in groups.items()
    )
    return tuple(sorted(rows, key=lambda row: (-row.made, row.rule)))


def _reasons(found: Iterable[Handover], labels: dict[str, str]) -> tuple[tuple[str, str, int], ...]:
    given = Counter(
        offer.reason for one in found for offer in one.offers if offer.state == "rejected" and offer.reason
    )
    return tuple((code, labels.get(code, code), number) for code, number in given.most_common())


def _by_rep(found: Iterable[Handover], reps: dict[str, Rep]) -> tuple[ByRep, ...]:
    offers: dict[str, list[handoff_history_queries.Made]] = defaultdict(list)
    wins: dict[str, list[float]] = defaultdict(list)
    for one in found:
        for offer in one.offers:
            offers[offer.rep].append(offer)
        if one.ended is not None and one.has_won:
            owner = one.taken or one.offers[-1]
            wins[owner.rep].append(one.ended.amount or 0.0)
    return tuple(_of_rep(name, offers[name], wins[name], reps.get(name)) for name in sorted(offers))


def _of_rep(
    name: str, offers: Sequence[handoff_history_queries.Made], wins: Sequence[float], rep: Rep | None
) -> ByRep:
    taken = [one for one in offers if one.state in ("accepted", "lapsed")]
    hours = sorted(
        (one.answered_at - one.offered_at) / timedelta(hours=1) for one in taken if one.answered_at
    )
    zone = rep.hours.zone if rep is not None else "UTC"
    days = Counter(calendar.local(one.offered_at, zone).date() for one in offers)
    votes = Counter(one.useful for one in offers)
    return ByRep(
        rep=name,
        offered=len(offers),
        accepted=len(taken),
        followed_up=sum(one.followed_up_at is not None for one in taken),
        rejected=sum(one.state == "rejected" for one in offers),
        expired=sum(one.state == "expired" for one in offers),
        won=len(wins),
        amount=sum(wins),
        useful=votes[True],
        not_useful=votes[False],
        hours_to_accept=percentile(hours, 0.5),
        peak=max(days.values(), default=0),
        capacity=rep.capacity if rep is not None else None,
    )


def _by_month(found: Iterable[Handover]) -> tuple[Month, ...]:
    groups: dict[str, list[Handover]] = defaultdict(list)
    for one in found:
        groups[f"{one.decided_at:%Y-%m}"].append(one)
    return tuple(
        Month(
            month,
            len(of),
            sum(one.taken is not None for one in of),
            sum(one.reached_by_owner for one in of),
            sum(one.closed_within(CLOSURES[0]) for one in of),
            sum(one.has_won for one in of),
        )
        for month, of in sorted(groups.items())
    )
