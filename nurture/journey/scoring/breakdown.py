"""Show a lead's score as arithmetic: every deed, what it is worth today and why, and when the sum falls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from nurture.db import locks
from nurture.domain.lead import Engagement
from nurture.domain.planning import conditions
from nurture.domain.planning.click_grace import settles_at
from nurture.domain.planning.conditions import Condition, graded
from nurture.domain.policy.policy import Policy
from nurture.domain.scoring import scoring
from nurture.domain.scoring.scoring import Points
from nurture.domain.signals import Signal, SignalKind, SignalVerdict
from nurture.errors import NotFound
from nurture.journey.leads import snapshot
from nurture.journey.scoring import queries
from nurture.journey.scoring.queries import Deed
from nurture.runtime.context import House


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the sum. *now* is what is left of *points*; *because* says why it counts, or does not."""

    at: datetime
    kind: str
    step: str
    link: str
    source: str
    verdict: str
    points: float
    half_life: str
    counts: bool
    because: str
    now: float


@dataclass(frozen=True, slots=True)
class HalfLife:
    """What the deeds of one half-life come to."""

    name: str
    days: float
    now: float


@dataclass(frozen=True, slots=True)
class Falls:
    """A number that the policy asks for. *at* is when the engagement falls below it, None if it is below."""

    asked: float
    by: str
    reached: bool
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Reckoning:
    """The score of one lead at one moment, line by line.

    *kept* is the sum as it is stored; it differs from *engagement* only until signals that wait are heard.
    """

    at: datetime
    lead_id: int
    fit: str
    fit_because: str
    engagement: float
    kept: float
    policy_version: int
    counts_since: datetime | None
    entries: tuple[Entry, ...]
    half_lives: tuple[HalfLife, ...]
    falls: tuple[Falls, ...]


def reckon(house: House, lead_id: int, now: datetime) -> Reckoning:
    """Reckon the score of a lead at *now* (UTC), without writing. Raises NotFound."""
    database = house.database
    with database.read() as connection:
        locks.freeze(database, connection)
        policy = house.rulebooks.current(connection).policy
        rows = snapshot.these(database, connection, [lead_id], lock=False)
        if not rows:
            raise NotFound(f"There is no lead {lead_id}. `nurture leads list` lists them.")
        seen = snapshot.views(database, connection, rows, now, house.holidays)[0].view
        deeds = queries.deeds(connection, lead_id)
    lead, points = seen.lead, policy.points
    entries = tuple(_entry(deed, policy, lead.evidence_since, now) for deed in deeds)
    counted = [_signal(deed) for deed, entry in zip(deeds, entries, strict=True) if entry.counts]
    engagement = scoring.reckoned(points, counted, lead.evidence_since, now)
    kept = scoring.known_at(lead.engagement, points, seen.signals, lead.evidence_since, now)
    letter, because = graded(policy.question(seen), now)
    return Reckoning(
        at=now,
        lead_id=lead_id,
        fit=letter,
        fit_because=because,
        engagement=_rounded(scoring.total(engagement)),
        kept=_rounded(scoring.total(kept)),
        policy_version=policy.version,
        counts_since=lead.evidence_since,
        entries=entries,
        half_lives=tuple(
            HalfLife(_name(points, slot), days, _rounded(value))
            for slot, (days, value) in enumerate(zip(points.half_lives, engagement.values, strict=True))
        ),
        falls=tuple(_falls(engagement, policy)),
    )


def _signal(deed: Deed) -> Signal:
    return Signal(
        SignalKind(deed.kind), deed.occurred_at, SignalVerdict(deed.verdict), deed.judged_under is not None
    )


def _entry(deed: Deed, policy: Policy, since: datetime | None, now: datetime) -> Entry:
    signal, points = _signal(deed), policy.points
    slot = points.slot(signal.kind)
    worth = 0.0 if signal.kind in scoring.NEVER_WORTH else points.worth.get(signal.kind, 0.0)
    counts, because = _counts(deed, signal, worth, policy, since, now)
    age = (now - deed.occurred_at).total_seconds()
    return Entry(
        at=deed.occurred_at,
        kind=deed.kind,
        step=deed.step or "",
        link=deed.link or "",
        source=deed.source,
        verdict=deed.verdict,
        points=worth,
        half_life=_name(points, slot),
        counts=counts,
        because=because,
        now=_rounded(worth * points.decay(slot, age)) if counts else 0.0,
    )


def _counts(
    deed: Deed, signal: Signal, worth: float, policy: Policy, since: datetime | None, now: datetime
) -> tuple[bool, str]:
    """Say whether a deed counts today, and why."""
    if signal.kind in scoring.NEVER_WORTH:
        return False, "opens never count: mail programs open mail by themselves"
    if signal.verdict is not SignalVerdict.HUMAN:
        return False, deed.verdict_because or "not a human's"
    if not worth:
        return False, "the policy gives it no points"
    if since is not None and deed.occurred_at < since:
        return False, "from before a rep answered"
    if deed.occurred_at > now:
        return False, "has not happened yet"
    if deed.applied_at is None:
        return False, "not heard yet; the next round hears it"
    until = settles_at(signal, policy.evidence.settle)
    if until is not None and until > now:
        return True, f"counts; nothing acts on it before {until:%H:%M:%S} UTC"
    return True, "a human's, as far as we can tell" if signal.judged else "as we were told"


def _name(points: Points, slot: int) -> str:
    days = f"{points.half_lives[slot]:g} days"
    name = points.names[slot] if slot < len(points.names) else ""
    return f"{name} ({days})" if name else days


def _falls(engagement: Engagement, policy: Policy) -> Iterator[Falls]:
    asked: dict[float, list[str]] = {}
    named = [(rule.name, rule.when) for rule in policy.readiness]
    for name, when in named + [(criterion.name, criterion.when) for criterion in policy.criteria]:
        for number in _numbers(when):
            asked.setdefault(number, []).append(name)
    for number, names in sorted(asked.items(), reverse=True):
        reached = scoring.reaches(scoring.total(engagement), number)
        falls = scoring.falls_below_at(engagement, policy.points, number)
        yield Falls(number, ", ".join(dict.fromkeys(names)), reached, falls)


def _numbers(when: Condition) -> Iterable[float]:
    match when:
        case conditions.Score(at_least=least, below=below):
            yield from (number for number in (least, below) if number is not None)
        case conditions.Every(parts=parts) | conditions.Any(parts=parts):
            for part in parts:
                yield from _numbers(part)
        case conditions.Not(part=part):
            yield from _numbers(part)
        case _:
            return


def _rounded(value: float) -> float:
    return round(value, 4)
