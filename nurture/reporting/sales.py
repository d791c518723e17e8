"""The sales report: hand-offs by rule, rep, month and reject reason, with rates and wins."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from math import ceil

from nurture.db.transaction import Transaction
from nurture.domain.code_names import readable
from nurture.domain.planning import calendar
from nurture.domain.planning.callback import CALLBACK_RULE
from nurture.domain.planning.program import HandOff
from nurture.domain.policy.team import Rep
from nurture.errors import InvalidState
from nurture.journey.handoff.call_back import CALL_LATER
from nurture.journey.handoff.why_now import CLAIMED_BY_REP, rule_label
from nurture.reporting import handoff_history_queries
from nurture.reporting.handoff_history import HandoffHistory, group_into_handoffs, was_accepted
from nurture.reporting.sales_rates import CLOSE_WINDOWS, SalesRate, compute_rates
from nurture.reporting.tracks import Wins, wins_by_age
from nurture.runtime.context import AppContext
from nurture.runtime.published import PublishedDefinitions


@dataclass(frozen=True, slots=True)
class RuleStats:
    """What reps did with the hand-offs of one policy rule; open ones count in *handed_off* only."""

    rule: str
    label: str
    handed_off: int
    accepted: int
    rejected: int
    unanswered: int
    won: int

    @property
    def acceptance(self) -> float | None:
        """Return the share of decided hand-offs that a rep accepted, None without any."""
        decided = self.accepted + self.rejected + self.unanswered
        return self.accepted / decided if decided else None


@dataclass(frozen=True, slots=True)
class RepStats:
    """The offers of one rep. *hours_to_accept* is the median, *peak* the most offers on one local day."""

    rep: str
    name: str
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
    """The hand-offs decided in one month (UTC)."""

    month: str
    handed_off: int
    accepted: int
    reached: int
    closed_in_30_days: int
    won: int


@dataclass(frozen=True, slots=True)
class TimeToOwner:
    """Hours from the decision to hand off until a rep accepted."""

    leads: int
    p50: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class SalesReport:
    """The sales report on hand-offs decided from *since* to *until* (UTC days, both included)."""

    at: datetime
    since: date | None
    until: date | None
    source: str | None
    handed_off: int
    still_open: int
    rates: tuple[SalesRate, ...]
    time_to_owner: TimeToOwner
    rules: tuple[RuleStats, ...]
    reasons: tuple[tuple[str, str, int], ...]
    """Reject reasons: code, label in the current policy, count."""
    reps: tuple[RepStats, ...]
    months: tuple[Month, ...]
    wins: Wins


def report_sales(
    ctx: AppContext, now: datetime, since: date | None = None, until: date | None = None, source: str | None = None
) -> SalesReport:
    """Return the sales report, in a constant number of statements.

    Hand-offs count by the day of the decision, wins by the day of the win. Raises InvalidState if *until* is
    before *since*.
    """
    begins, ends = _bounds(since, until)
    with ctx.database.read() as tx:
        found = [
            handoff
            for handoff in group_into_handoffs(
                handoff_history_queries.list_offers(tx, source),
                handoff_history_queries.list_handoff_times(tx),
                handoff_history_queries.list_outcomes(tx),
            )
            if begins <= handoff.decided_at <= ends
        ]
        reps, labels, rule_labels = _load_reps_and_labels(ctx.definitions, tx)
    return SalesReport(
        at=now,
        since=since,
        until=until,
        source=source,
        handed_off=len(found),
        still_open=sum(one.is_open for one in found),
        rates=compute_rates(found, now),
        time_to_owner=_time_to_owner(found),
        rules=_by_rule(found, rule_labels),
        reasons=_reasons(found, labels),
        reps=_by_rep(found, reps),
        months=_by_month(found),
        wins=wins_by_age(ctx, begins, ends, source),
    )


def _bounds(since: date | None, until: date | None) -> tuple[datetime, datetime]:
    if since is not None and until is not None and until < since:
        raise InvalidState(f"--until {until} is before --since {since}. Swap the two days.")
    begins = datetime.combine(since or date.min, time.min, UTC)
    return begins, datetime.combine(until or date.max, time.max, UTC)


def _load_reps_and_labels(
    definitions: PublishedDefinitions, tx: Transaction
) -> tuple[dict[str, Rep], dict[str, str], dict[str, str]]:
    """Return the reps by id, and the labels of reject reasons and of what hands off: rules, and steps of tracks."""
    current = definitions.find_current(tx)
    if current is None:
        return {}, {}, {}
    policy = current.policy
    labels = {CALLBACK_RULE: CALL_LATER.label} | {code: one.label for code, one in policy.reject_reasons.items()}
    rules = [one.name for one in policy.readiness] + [one.name for one in policy.criteria]
    names = [CALLBACK_RULE, CLAIMED_BY_REP, *rules]
    steps = (step for program in current.programs.values() for step in program.instructions)
    rule_labels = {step.step: step.reason for step in steps if isinstance(step, HandOff)}
    rule_labels |= {name: label for name in names if (label := rule_label(policy, name))}
    return {rep.id: rep for rep in policy.reps}, labels, rule_labels


def _time_to_owner(found: Sequence[HandoffHistory]) -> TimeToOwner:
    hours = sorted(
        (one.accepted_offer.answered_at - one.decided_at) / timedelta(hours=1)
        for one in found
        if one.accepted_offer is not None and one.accepted_offer.answered_at is not None
    )
    return TimeToOwner(len(hours), percentile(hours, 0.5), percentile(hours, 0.95))


def percentile(ordered: Sequence[float], fraction: float) -> float | None:
    """Return the nearest-rank percentile of sorted values, to two places; None without values."""
    return round(ordered[max(ceil(fraction * len(ordered)) - 1, 0)], 2) if ordered else None


def _by_rule(found: Iterable[HandoffHistory], labels: Mapping[str, str]) -> tuple[RuleStats, ...]:
    groups: dict[str, list[HandoffHistory]] = defaultdict(list)
    for one in found:
        groups[one.first.rule].append(one)
    rows = (
        RuleStats(
            rule,
            labels.get(rule, readable(rule)),
            len(of),
            sum(one.accepted_offer is not None for one in of),
            sum(one.accepted_offer is None and one.offers[-1].state == "rejected" for one in of),
            sum(one.accepted_offer is None and one.offers[-1].state in ("expired", "withdrawn") for one in of),
            sum(one.has_won for one in of),
        )
        for rule, of in groups.items()
    )
    return tuple(sorted(rows, key=lambda row: (-row.handed_off, row.rule)))


def _reasons(found: Iterable[HandoffHistory], labels: dict[str, str]) -> tuple[tuple[str, str, int], ...]:
    reason_counts = Counter(
        offer.reason for one in found for offer in one.offers if offer.state == "rejected" and offer.reason
    )
    return tuple((code, labels.get(code, code), number) for code, number in reason_counts.most_common())


def _by_rep(found: Iterable[HandoffHistory], reps: dict[str, Rep]) -> tuple[RepStats, ...]:
    offers: dict[str, list[handoff_history_queries.OfferRecord]] = defaultdict(list)
    wins: dict[str, list[float]] = defaultdict(list)
    for one in found:
        for offer in one.offers:
            offers[offer.rep].append(offer)
        if one.outcome is not None and one.has_won:
            owner = one.accepted_offer or one.offers[-1]
            wins[owner.rep].append(one.outcome.amount or 0.0)
    return tuple(_one_rep_stats(name, offers[name], wins[name], reps.get(name)) for name in sorted(offers))


def _one_rep_stats(
    name: str, offers: Sequence[handoff_history_queries.OfferRecord], wins: Sequence[float], rep: Rep | None
) -> RepStats:
    taken = [one for one in offers if was_accepted(one)]
    hours = sorted((one.answered_at - one.offered_at) / timedelta(hours=1) for one in taken if one.answered_at)
    zone = rep.hours.zone if rep is not None else "UTC"
    days = Counter(calendar.to_local(one.offered_at, zone).date() for one in offers)
    votes = Counter(one.useful for one in offers)
    return RepStats(
        rep=name,
        name=rep.name if rep is not None else name,
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


def _by_month(found: Iterable[HandoffHistory]) -> tuple[Month, ...]:
    groups: dict[str, list[HandoffHistory]] = defaultdict(list)
    for one in found:
        groups[f"{one.decided_at:%Y-%m}"].append(one)
    return tuple(
        Month(
            month,
            len(of),
            sum(one.accepted_offer is not None for one in of),
            sum(one.was_reached_by_owner for one in of),
            sum(one.was_closed_within(CLOSE_WINDOWS[0]) for one in of),
            sum(one.has_won for one in of),
        )
        for month, of in sorted(groups.items())
    )
