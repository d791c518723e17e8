"""Count what the leak report shows. Each count has a list in `lists`, and is its length."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import timedelta
from statistics import median
from typing import Final, NamedTuple

from nurture.domain.lead import Custodian, Queue
from nurture.domain.policy.policy import Policy
from nurture.reporting.leaks.facts import Ending, LeadFacts, OwnerKind, Touch
from nurture.reporting.leaks.lists import LeadLists
from nurture.reporting.leaks.replay import count_days

DAY: Final = timedelta(days=1)
AGES: Final = (
    (7, "up to 7 days"),
    (30, "8 to 30 days"),
    (90, "31 to 90 days"),
    (180, "91 to 180 days"),
    (365, "181 to 365 days"),
)
"""The last day of each age, and its name."""

OLDER: Final = "over a year"
NO_AGE: Final = "age not known"
SPEEDS: Final = (
    (timedelta(minutes=5), "within 5 minutes"),
    (timedelta(hours=1), "within an hour"),
    (DAY, "within a day"),
    (timedelta(days=7), "within 7 days"),
    (timedelta(days=30), "within 30 days"),
)
LATER: Final = "after more than 30 days"
MAX_OWNERS: Final = 12
_PERCENTILE: Final = 90


class UntouchedRow(NamedTuple):
    """The leads of one age or owner, and how many of them are untouched; *median_days* is how old half of those are."""

    name: str
    leads: int
    untouched: int
    median_days: float | None = None


class FirstTouches(NamedTuple):
    """How fast leads were touched, of those with both dates. *before* were touched before they came in.

    *by_day*: the files have only days, so that nothing is known of hours.
    """

    speeds: tuple[tuple[str, int], ...]
    leads: int
    median_hours: float | None
    p90_hours: float | None
    before: int
    by_day: bool


class OwnerFigures(NamedTuple):
    """Open leads by owner: those of files that name owners. *unlisted* are of owners who are no reps of the policy.

    *misplaced* belong to other reps by a territory of the policy. None for what cannot be computed.
    """

    leads: int
    nobody: int | None
    queue: int | None
    left: int | None
    misplaced: int | None
    unlisted: int | None

    @property
    def wrong(self) -> int | None:
        """Return how many have no owner or a wrong one, as far as it can be computed."""
        return None if self.nobody is None else sum(one or 0 for one in self[1:5])


class DuplicateFigures(NamedTuple):
    """Rows beyond the first of a lead, further addresses of a person, and companies that several owners share."""

    leads_in_several_rows: int
    extra_rows: int
    people: int
    extra_addresses: int
    companies: int
    company_leads: int


class PlaceRow(NamedTuple):
    """Where the policy puts leads: all, the untouched ones, and of those who may be mailed, and why not."""

    place: str
    leads: int
    untouched: int
    may_be_mailed: int
    no_consent: int
    refused: int
    no_address: int


class ReplayFigures(NamedTuple):
    """What the policy does with the leads. *rules* counts untouched leads by the readiness rule that decided.

    *days* is the least number of working days in which the reps can take the *ready* ones; *by_rep* who gets them.
    """

    places: tuple[PlaceRow, ...]
    rules: tuple[tuple[str, int], ...]
    untouched: int
    ready: int
    nurture: int
    discard: int
    days: int
    by_rep: tuple[tuple[str, int], ...]
    unrouted: int


def count_touches(leads: Sequence[LeadFacts]) -> dict[Touch, int]:
    """Return how many leads each class has; together they are all."""
    counts = Counter(one.touch for one in leads)
    return {touch: counts[touch] for touch in Touch}


def count_by_age(lists: LeadLists) -> tuple[UntouchedRow, ...]:
    """Return untouched leads by age in whole days."""
    leads, untouched = Counter[str](), Counter[str]()
    for one in lists.exports.leads:
        name = _age(one, lists)
        leads[name] += 1
        untouched[name] += one.is_untouched
    names = (*(name for _, name in AGES), OLDER, NO_AGE)
    return tuple(UntouchedRow(name, leads[name], untouched[name]) for name in names if leads[name])


def _age(lead: LeadFacts, lists: LeadLists) -> str:
    if lead.created_at is None:
        return NO_AGE
    days = (lists.now - lead.created_at) // DAY
    return next((name for last, name in AGES if days <= last), OLDER)


def count_by_owner(lists: LeadLists) -> tuple[UntouchedRow, ...]:
    """Return untouched leads by owner, the most first; owners beyond MAX_OWNERS are one row."""
    groups: defaultdict[str, list[LeadFacts]] = defaultdict(list)
    labels: dict[str, str] = {}
    for one in lists.exports.leads:
        label = one.owner or ("(not known)" if one.owner_kind is OwnerKind.UNKNOWN else "(no owner)")
        groups[labels.setdefault(label.casefold(), label)].append(one)
    rows = sorted((_untouched(name, group, lists) for name, group in groups.items()), key=_largest_first)
    shown, rest = rows[:MAX_OWNERS], rows[MAX_OWNERS:]
    if rest:
        others = [one for row in rest for one in groups[row.name]]
        shown.append(_untouched(f"{len(rest):,} others", others, lists))
    return tuple(shown)


def _largest_first(row: UntouchedRow | PlaceRow) -> tuple[int, int, str]:
    return -row.untouched, -row.leads, row[0]


def _untouched(name: str, leads: Sequence[LeadFacts], lists: LeadLists) -> UntouchedRow:
    untouched = [one for one in leads if one.is_untouched]
    ages = [(lists.now - one.created_at) / DAY for one in untouched if one.created_at is not None]
    return UntouchedRow(name, len(leads), len(untouched), median(ages) if ages else None)


def count_lead_days(lists: LeadLists) -> int:
    """Return how many days the leads of the business case have waited together, in whole days of each."""
    return sum(max((lists.now - one.created_at) // DAY, 0) for one in lists.leaked() if one.created_at is not None)


def measure_first_touches(leads: Sequence[LeadFacts]) -> FirstTouches:
    """Return the distribution of the times to the first touch."""
    both = [(one.created_at, one.first_touch_at) for one in leads if one.created_at and one.first_touch_at]
    by_day = any(all(at[side].time() == at[side].time().min for at in both) for side in (0, 1)) if both else False
    spans = [second.date() - first.date() if by_day else second - first for first, second in both]
    after = sorted(span for span in spans if span >= timedelta())
    limits = [(limit, name) for limit, name in SPEEDS if limit >= DAY or not by_day]
    counts = Counter(next((name for limit, name in limits if span <= limit), LATER) for span in after)
    names = (*(name for _, name in limits), LATER)
    hours = [span / timedelta(hours=1) for span in after]
    p90 = hours[-(-len(hours) * _PERCENTILE // 100) - 1] if hours else None
    speeds = tuple((name, counts[name]) for name in names)
    return FirstTouches(speeds, len(after), median(hours) if hours else None, p90, len(spans) - len(after), by_day)


def count_owners(lists: LeadLists, policy: Policy | None, *, has_owner: bool, has_territories: bool) -> OwnerFigures:
    """Return open leads by their owner. *policy* is one's own, None for the example that comes with nurture."""
    leads = [
        one for one in lists.exports.leads if one.ending is Ending.OPEN and one.owner_kind is not OwnerKind.UNKNOWN
    ]
    if not has_owner:
        return OwnerFigures(len(leads), None, None, None, None, None)
    known = policy.reps_by_label if policy is not None else {}
    people = [one.owner.casefold() for one in leads if one.owner_kind is OwnerKind.PERSON]
    return OwnerFigures(
        len(leads),
        len(lists.select("no-owner")),
        len(lists.select("queue-owner")),
        len(lists.select("owner-left")),
        len(lists.select("wrong-territory")) if has_territories else None,
        sum(owner not in known for owner in people) if policy is not None else None,
    )


def count_duplicates(lists: LeadLists) -> DuplicateFigures:
    """Return how often one lead, one person and one company stand in the files."""
    rows = lists.select("same-address")
    people = Counter(one.person for one in lists.select("same-person"))
    return DuplicateFigures(
        len(rows),
        sum(one.rows - 1 for one in rows),
        len(people),
        people.total() - len(people),
        lists.companies_with_several_owners(),
        len(lists.select("company-owners")),
    )


def count_places(lists: LeadLists, policy: Policy) -> ReplayFigures:
    """Return where *policy* puts the leads."""
    groups: defaultdict[str, list[LeadFacts]] = defaultdict(list)
    for one in lists.exports.leads:
        groups[_place(one)].append(one)
    ready = lists.select("ready")
    by_rep = Counter(one.rep for one in ready if one.rep)
    untouched = lists.select("never-touched")
    return ReplayFigures(
        tuple(sorted((_place_row(name, group) for name, group in groups.items()), key=_largest_first)),
        tuple(Counter(one.rule for one in untouched if one.rule).most_common()),
        len(untouched),
        len(ready),
        len(lists.select("nurture")),
        len(lists.select("discard")),
        count_days(by_rep, policy),
        tuple(by_rep.most_common()),
        len(ready) - by_rep.total(),
    )


def _place(lead: LeadFacts) -> str:
    kind, _, ref = lead.place.partition(" ")
    return kind if kind == Custodian.REP else f"{kind} {ref}".strip()


def _place_row(name: str, leads: Sequence[LeadFacts]) -> PlaceRow:
    untouched = [one for one in leads if one.is_untouched]
    blocked = Counter(one.blocked for one in untouched)
    queues = Queue.NO_CONSENT_BASIS, Queue.SUPPRESSED, Queue.NO_ADDRESS
    return PlaceRow(name, len(leads), len(untouched), blocked[""], *(blocked[queue] for queue in queues))
