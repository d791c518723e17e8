"""Explain a lead's score: each signal with its remaining points, and when the score falls below thresholds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from nurture.db import locks
from nurture.domain.lead import Engagement
from nurture.domain.planning import conditions
from nurture.domain.planning.click_grace import grace_ends_at
from nurture.domain.planning.conditions import grade_fit
from nurture.domain.policy.policy import Policy
from nurture.domain.scoring import scoring
from nurture.domain.scoring.scoring import Points
from nurture.domain.signals import Signal, SignalKind, SignalVerdict
from nurture.errors import NotFound
from nurture.journey.leads import snapshot
from nurture.journey.scoring import queries
from nurture.journey.scoring.queries import SignalRecord
from nurture.runtime.context import AppContext


@dataclass(frozen=True, slots=True)
class ScoreLine:
    """One signal of the score. *remaining* is what is left of *points*; *reason* is why it counts or not."""

    at: datetime
    kind: str
    step: str
    link: str
    source: str
    verdict: str
    points: float
    half_life: str
    counts: bool
    reason: str
    remaining: float


@dataclass(frozen=True, slots=True)
class HalfLifeTotal:
    """The score of the signals with one half-life."""

    name: str
    days: float
    total: float


@dataclass(frozen=True, slots=True)
class ScoreThreshold:
    """A score that the policy requires. *falls_below_at* is None if the engagement is already below it."""

    value: float
    used_by: str
    reached: bool
    falls_below_at: datetime | None


@dataclass(frozen=True, slots=True)
class ScoreBreakdown:
    """The score of one lead at one time, signal by signal.

    *stored* is the stored score; it differs from *engagement* only while signals are not yet applied.
    """

    at: datetime
    lead_id: int
    fit: str
    fit_reason: str
    engagement: float
    stored: float
    policy_version: int
    counts_since: datetime | None
    lines: tuple[ScoreLine, ...]
    half_lives: tuple[HalfLifeTotal, ...]
    thresholds: tuple[ScoreThreshold, ...]


def score_breakdown(ctx: AppContext, lead_id: int, now: datetime) -> ScoreBreakdown:
    """Compute the score of a lead at *now* (UTC), without writing. Raises NotFound."""
    with ctx.database.read() as tx:
        locks.use_snapshot(tx)
        definitions = ctx.definitions.current(tx)
        policy = definitions.policy
        rows = snapshot.load_rows(tx, [lead_id], lock=False)
        if not rows:
            raise NotFound(f"There is no lead {lead_id}. `nurture leads list` lists them.")
        view = snapshot.load_snapshots(ctx, tx, definitions, rows, now)[0].view
        records = queries.load_signals(tx, lead_id)
    lead, points = view.lead, policy.points
    lines = tuple(_score_line(record, policy, lead.signals_since, now) for record in records)
    counted = [_signal(record) for record, line in zip(records, lines, strict=True) if line.counts]
    engagement = scoring.recompute_engagement(points, counted, lead.signals_since, now)
    stored = scoring.engagement_at(lead.engagement, points, view.signals, lead.signals_since, now)
    grade, reason = grade_fit(policy.evaluation_context(view), now)
    return ScoreBreakdown(
        at=now,
        lead_id=lead_id,
        fit=grade,
        fit_reason=reason,
        engagement=_rounded(scoring.total_engagement(engagement)),
        stored=_rounded(scoring.total_engagement(stored)),
        policy_version=policy.version,
        counts_since=lead.signals_since,
        lines=lines,
        half_lives=tuple(
            HalfLifeTotal(_half_life_name(points, slot), days, _rounded(value))
            for slot, (days, value) in enumerate(zip(points.half_lives, engagement.values, strict=True))
        ),
        thresholds=tuple(_thresholds(engagement, policy)),
    )


def score_curve(found: ScoreBreakdown, points: Points, times: Sequence[datetime]) -> list[float]:
    """Return the score at each of *times*, of the signals that count at the time of the breakdown."""
    counted = [(one, points.index_for(SignalKind(one.kind))) for one in found.lines if one.counts]
    return [
        _rounded(
            sum(one.points * points.decay(slot, (at - one.at).total_seconds()) for one, slot in counted if one.at <= at)
        )
        for at in times
    ]


def _signal(record: SignalRecord) -> Signal:
    return Signal(
        SignalKind(record.kind), record.occurred_at, SignalVerdict(record.verdict), record.click_filter_key is not None
    )


def _score_line(record: SignalRecord, policy: Policy, since: datetime | None, now: datetime) -> ScoreLine:
    signal, points = _signal(record), policy.points
    slot = points.index_for(signal.kind)
    worth = 0.0 if signal.kind in scoring.UNSCORED_KINDS else points.points_by_kind.get(signal.kind, 0.0)
    counts, reason = _counts(record, signal, worth, policy, since, now)
    age = (now - record.occurred_at).total_seconds()
    return ScoreLine(
        at=record.occurred_at,
        kind=record.kind,
        step=record.step or "",
        link=record.link or "",
        source=record.source,
        verdict=record.verdict,
        points=worth,
        half_life=_half_life_name(points, slot),
        counts=counts,
        reason=reason,
        remaining=_rounded(worth * points.decay(slot, age)) if counts else 0.0,
    )


def _counts(
    record: SignalRecord, signal: Signal, worth: float, policy: Policy, since: datetime | None, now: datetime
) -> tuple[bool, str]:
    """Return whether a signal counts at *now*, and why."""
    if signal.kind in scoring.UNSCORED_KINDS:
        return False, "opens never count: mail clients load images on their own"
    if signal.verdict is not SignalVerdict.HUMAN:
        return False, record.verdict_reason or "not a human"
    if not worth:
        return False, "the policy gives it no points"
    if since is not None and record.occurred_at < since:
        return False, "occurred before a rep answered"
    if record.occurred_at > now:
        return False, "is in the future"
    if record.applied_at is None:
        return False, "not applied yet; the next run applies it"
    grace_until = grace_ends_at(signal, policy.click_filtering.grace_period)
    if grace_until is not None and grace_until > now:
        return True, f"counts; no decision uses it before {grace_until:%H:%M:%S} UTC"
    return True, "classified as human" if signal.auto_classified else "as reported"


def _half_life_name(points: Points, slot: int) -> str:
    days = f"{points.half_lives[slot]:g} days"
    name = points.half_life_names[slot] if slot < len(points.half_life_names) else ""
    return f"{name} ({days})" if name else days


def _thresholds(engagement: Engagement, policy: Policy) -> Iterator[ScoreThreshold]:
    names_by_value: dict[float, list[str]] = {}
    conditions_by_name = [(rule.name, rule.when) for rule in policy.readiness]
    for name, when in conditions_by_name + [(criterion.name, criterion.when) for criterion in policy.criteria]:
        for leaf in conditions.leaves(when):
            if isinstance(leaf, conditions.ScoreCondition):
                names_by_value.setdefault(leaf.bound, []).append(name)
    for number, names in sorted(names_by_value.items(), reverse=True):
        reached = scoring.reaches(scoring.total_engagement(engagement), number)
        falls_below_at = scoring.falls_below_at(engagement, policy.points, number)
        yield ScoreThreshold(number, ", ".join(dict.fromkeys(names)), reached, falls_below_at)


def _rounded(value: float) -> float:
    return round(value, 4)
