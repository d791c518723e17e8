"""The report on queues: what waits, what left, the median time, and what waited for too long."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Final, NamedTuple

from nurture.domain.lead import ROUTED_QUEUES, Custodian, Queue
from nurture.domain.policy.business_hours import WorkCalendar
from nurture.domain.policy.policy import Policy
from nurture.journey.handoff.waiting.lists import load_waiting, queue_calendar
from nurture.reporting import queries
from nurture.runtime.context import AppContext

DEFAULT_SPAN: Final = timedelta(days=30)
TO_HAND_OFF: Final = frozenset({"hand_off", "taken_back", "question_answered"})
"""Journal events whose `ref` is a rule, a rep or a field: the lead goes to the hand-off queue."""

_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One queue: who works it and in which time, what waits now, and the stays that ended in the span.

    *late* of the stays that ended took longer than *within*; *median_hours* are hours of the clock.
    """

    queue: str
    owner: str
    deputy: str
    within: str
    waiting: int
    waiting_late: int
    oldest: datetime | None
    left: int
    late: int
    median_hours: float | None


class _Stay(NamedTuple):
    queue: str
    entered_at: datetime
    left_at: datetime


def report_queues(ctx: AppContext, now: datetime, span: timedelta = DEFAULT_SPAN) -> list[QueueRow]:
    """Return the queues with leads now, or left in *span* by leads that entered in it, in five statements."""
    with ctx.database.read() as tx:
        policy = ctx.definitions.current(tx).policy
        found = load_waiting(tx, policy, ctx.holidays, now, person=None, limit=0)
        moves = queries.list_custody_moves(tx, now - span)
    stays: dict[str, list[_Stay]] = defaultdict(list)
    for stay in _stays(moves):
        stays[stay.queue].append(stay)
    counts = {one.name: one.counts for one in found.queues}
    calendar = queue_calendar(policy, ctx.holidays, now)
    rows = []
    for name in sorted({*counts, *stays}):
        rule, waiting = policy.queues.rule_for(name), counts.get(name)
        hours = [(one.left_at - one.entered_at) / _HOUR for one in stays[name]]
        rows.append(
            QueueRow(
                name,
                ", ".join(rule.owners) if rule else "",
                rule.deputy or "" if rule else "",
                str(rule.within) if rule else "",
                waiting.waiting if waiting else 0,
                waiting.late if waiting else 0,
                waiting.oldest if waiting else None,
                len(hours),
                sum(_was_late(one, policy, calendar) for one in stays[name]),
                round(median(hours), 1) if hours else None,
            )
        )
    return rows


def _was_late(stay: _Stay, policy: Policy, calendar: WorkCalendar) -> bool:
    rule = policy.queues.rule_for(stay.queue)
    return rule is not None and rule.within.after(stay.entered_at, calendar) < stay.left_at


def _stays(moves: list[queries.CustodyMove]) -> Iterator[_Stay]:
    """Yield the stays that ended; *moves* are in order, by lead. A lead that is routed again has not left."""
    lead_id, queue, since, routed_since = 0, "", _NEVER, _NEVER
    for move in moves:
        if move.lead_id != lead_id:
            lead_id, queue = move.lead_id, ""
        named = Queue.HAND_OFF if move.event in TO_HAND_OFF else move.ref or ""
        to = named if move.to == Custodian.QUEUE else ""
        if queue and to != queue and not (to in ROUTED_QUEUES and queue in ROUTED_QUEUES):
            yield _Stay(queue, routed_since if queue in ROUTED_QUEUES else since, move.at)
        if to in ROUTED_QUEUES and queue not in ROUTED_QUEUES:
            routed_since = move.at
        if to != queue:
            queue, since = to, move.at
