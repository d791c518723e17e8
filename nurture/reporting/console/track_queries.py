"""Count by step of tracks what happened in a period, and who is there now, from the daily counts and from indexes."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, and_, case, distinct, func, or_, select, text

from nurture.db.rollups import SENT, WAY
from nurture.db.tables.leads import custody
from nurture.db.tables.rollups import daily_count
from nurture.db.tables.signals import IS_ANSWER, signal
from nurture.db.tables.tracks import IS_ACTIVE, enrollment
from nurture.db.transaction import Transaction
from nurture.domain.lead import SALES_QUEUES, Custodian
from nurture.domain.planning.decision import HoldReason
from nurture.domain.planning.program import ExitKind
from nurture.reporting.queries import StepKey

DELAYS: Final = tuple(
    one.value
    for one in (
        *(HoldReason.PAUSED, HoldReason.STOPPED, HoldReason.QUEUED, HoldReason.FREQUENCY_CAP, HoldReason.REPS_FULL),
        HoldReason.ACCOUNT_HOLD,
    )
)
"""Why a lead waits longer than its track says."""

NOT_LOST: Final = (
    *("accepted", "interrupted"),
    *(one.value for one in ExitKind),
    *(f"queue {one}" for one in sorted(SALES_QUEUES)),
)
"""How stays end without losing the lead: sales has it or another track, or an exit of the track was reached."""

WENT_ON: Final = "moved to "
"""How the reason begins of stays whose lead went on to another track."""

IS_LOSS: Final = and_(
    enrollment.c.ended_at.is_not(None),
    enrollment.c.end_reason.not_in(NOT_LOST),
    enrollment.c.end_reason.not_like(f"{WENT_ON}%"),
)

_HAS_LEFT: Final = and_(enrollment.c.ended_at.is_not(None), enrollment.c.end_reason != "accepted")
_AT_GOAL: Final = enrollment.c.end_reason == ExitKind.GOAL.value

ENDS: Final[Mapping[str, ColumnElement[bool]]] = {
    "left": _HAS_LEFT,
    "lost": IS_LOSS,
    "reached_goal": and_(_HAS_LEFT, _AT_GOAL),
    "went_on": and_(_HAS_LEFT, ~_AT_GOAL, ~IS_LOSS),
}
"""How stays ended without a hand-off, by what a list of leads is asked for."""

_ELSEWHERE: Final = (Custodian.INTAKE, Custodian.QUEUE, Custodian.OFFER, Custodian.REP, Custodian.RESTING)


class DelayCount(NamedTuple):
    """How many decisions delayed leads in the last week, and in a week before that."""

    this_week: int
    usual: float


def count_measures(tx: Transaction, since: date, until: date, track: str | None) -> Mapping[StepKey, dict[str, int]]:
    """Return touches sent, leads handed off and ways taken from *since* to *until*, by step and measure.

    None is all tracks.
    """
    measure = or_(daily_count.c.measure.in_((SENT, "hand_off")), daily_count.c.measure.like(f"{WAY}%"))
    where = [daily_count.c.day.between(since, until), measure]
    key = (daily_count.c.track, daily_count.c.step, daily_count.c.measure)
    query = select(*key, func.sum(daily_count.c.n)).where(*where, *_of(daily_count.c.track, track)).group_by(*key)
    found: dict[StepKey, dict[str, int]] = defaultdict(dict)
    for name, step, measure, number in tx.execute(query):
        found[name, step][measure] = int(number)
    return found


def _of(column: ColumnElement[str], track: str | None) -> tuple[ColumnElement[bool], ...]:
    return (column == track,) if track is not None else (column != "",)


def count_delays(tx: Transaction, since: date, this_week: date, track: str | None) -> Mapping[StepKey, DelayCount]:
    """Return the delays since *this_week*, and those of a mean week from *since* until then, by step."""
    weeks = (this_week - since).days / 7
    is_new = daily_count.c.day >= this_week
    numbers = (func.sum(case((one, daily_count.c.n), else_=0)) for one in (is_new, ~is_new))
    key = (daily_count.c.track, daily_count.c.step)
    where = (daily_count.c.day >= since, daily_count.c.measure.in_(DELAYS), *_of(daily_count.c.track, track))
    rows = tx.execute(select(*key, *numbers).where(*where).group_by(*key))
    return {(name, step): DelayCount(int(new), int(old) / weeks) for name, step, new, old in rows}


def count_enrolled(tx: Transaction, track: str | None) -> Mapping[StepKey, int]:
    """Return how many leads are on each step, with those that sales or a queue has meanwhile."""
    key = (enrollment.c.track, enrollment.c.step)
    where = (IS_ACTIVE, *((enrollment.c.track == track,) if track is not None else ()))
    rows = tx.execute(select(*key, func.count()).where(*where).group_by(*key))
    return {(name, step): number for name, step, number in rows}


def count_elsewhere(tx: Transaction, track: str | None) -> Mapping[StepKey, int]:
    """Return how many leads are held on each step while sales, a queue or intake has them."""
    key = (enrollment.c.track, enrollment.c.step)
    query = (
        select(*key, func.count())
        .select_from(custody)
        .join(enrollment, enrollment.c.lead_id == custody.c.lead_id + text("0"))  # SQLite begins with the few custodies
        .where(custody.c.kind.in_([one.value for one in _ELSEWHERE]), custody.c.due_at.is_not(None), IS_ACTIVE)
        .group_by(*key)
    )
    if track is not None:
        query = query.where(enrollment.c.track == track)
    return {(name, step): number for name, step, number in tx.execute(query)}


def count_answers(tx: Transaction, since: datetime, track: str | None) -> Mapping[StepKey, dict[str, int]]:
    """Return how many people clicked and replied since *since*, by step and kind."""
    key = (signal.c.track, signal.c.step, signal.c.kind)
    where = (IS_ANSWER, signal.c.occurred_at >= since, *((signal.c.track == track,) if track is not None else ()))
    found: dict[StepKey, dict[str, int]] = defaultdict(dict)
    for name, step, kind, number in tx.execute(
        select(*key, func.count(distinct(signal.c.lead_id))).where(*where).group_by(*key)
    ):
        found[name or "", step or ""][kind] = number
    return found


def count_ended(tx: Transaction, since: datetime, track: str | None) -> Mapping[StepKey, dict[str, int]]:
    """Return how many stays ended since *since*, by step and reason."""
    key = (enrollment.c.track, enrollment.c.step, enrollment.c.end_reason)
    where = (enrollment.c.ended_at.is_not(None), enrollment.c.ended_at >= since)
    where = (*where, *((enrollment.c.track == track,) if track is not None else ()))
    found: dict[StepKey, dict[str, int]] = defaultdict(dict)
    for name, step, reason, number in tx.execute(select(*key, func.count()).where(*where).group_by(*key)):
        found[name, step][reason or ""] = number
    return found
