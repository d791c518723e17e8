"""Recheck leads whose missing field has been filled."""

from datetime import datetime

from nurture.domain.lead import has_value
from nurture.journey.leads.custody import lock_leads
from nurture.journey.routing import queries
from nurture.runtime.context import AppContext


def recheck_filled_fields(ctx: AppContext, now: datetime) -> int:
    """Wake the leads whose missing field was filled since, by a file or the API; return how many."""
    with ctx.database.write() as tx:
        filled = [
            (lead_id, field) for lead_id, field, fields in queries.load_newly_filled(tx) if has_value(fields.get(field))
        ]
        ids = sorted({lead_id for lead_id, _ in filled})
        lock_leads(tx, ids)
        queries.mark_filled(tx, [(*one, "source") for one in filled], now)
        queries.wake_leads(tx, ids, now)
    return len(ids)
