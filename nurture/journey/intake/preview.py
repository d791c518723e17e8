"""Preview where a dry run's new leads would go, by the published policy and tracks."""

from collections import Counter
from dataclasses import replace
from datetime import datetime
from typing import cast

from nurture.db.engine import Database, OpenDatabase
from nurture.db.transaction import Transaction
from nurture.journey.engagement.signals import apply_if_published
from nurture.journey.intake import queries
from nurture.journey.intake.queries import ClosedLead
from nurture.journey.tracks.enroll import classify
from nurture.runtime.context import AppContext


def preview_classification(
    ctx: AppContext, tx: Transaction, after_id: int, now: datetime
) -> tuple[Counter[str], list[ClosedLead]]:
    """Return how many leads with ids above *after_id* the next run would give to each track, queue, ...

    Also return which of them the policy would close. What it writes is undone at once, and so never seen. Empty if
    nothing is published.
    """
    if ctx.definitions.find_current(tx) is None:
        return Counter(), []
    savepoint = tx.connection.begin_nested()
    try:
        dry_ctx = replace(ctx, database=cast("Database", OpenDatabase(tx)))
        apply_if_published(dry_ctx, now)
        classify(dry_ctx, now)
        closed = [one for one in queries.load_closed_by_policy(tx, now) if one.lead_id > after_id]
        return queries.count_custody_after(tx, after_id), closed
    finally:
        savepoint.rollback()
