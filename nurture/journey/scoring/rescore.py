"""Recompute scores from signals after the points of the policy or a verdict changed."""

from collections.abc import Sequence
from datetime import datetime

from nurture.domain.lead import Engagement
from nurture.domain.scoring import scoring
from nurture.domain.scoring.scoring import Points
from nurture.domain.signals import Signal
from nurture.journey.scoring import queries
from nurture.journey.scoring.queries import EngagementUpdate
from nurture.runtime.batches import drain
from nurture.runtime.context import AppContext


def rescore(ctx: AppContext, now: datetime) -> int:
    """Recompute every score that was computed with other points; return how many.

    Each batch commits on its own. Decisions about leads that are not recomputed yet compute the score from the
    signals, so nothing has to wait.
    """
    return sum(drain(lambda: rescore_batch(ctx, now, ctx.batch_size), lambda done: done >= ctx.batch_size))


def rescore_batch(ctx: AppContext, now: datetime, limit: int) -> int:
    """Recompute at most *limit* scores in one transaction; if none is stale, this is one index probe."""
    database = ctx.database
    with database.read() as tx:
        definitions = ctx.definitions.find_current(tx)
        if definitions is None:  # nothing was ever scored
            return 0
        points = definitions.policy.points
        stale = queries.find_stale(tx, points.key, limit)
    if not stale:
        return 0
    with database.write() as tx:
        counted = queries.load_counted_signals(tx, stale)
        rows = [
            EngagementUpdate.from_engagement(lead_id, compute_engagement(points, signals, since))
            for lead_id, (since, signals) in counted.items()
        ]
        queries.write_engagement(tx, rows, now)
    return len(stale)


def compute_engagement(points: Points, signals: Sequence[Signal], since: datetime | None) -> Engagement:
    """Return the engagement of a lead whose signals count from *since*, equal to adding them one by one."""
    return scoring.add_signals(
        Engagement(), points, [one for one in signals if since is None or one.occurred_at >= since]
    )
