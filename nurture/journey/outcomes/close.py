"""Close leads by hand: won, lost, discarded or unreachable."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from nurture.domain.lead import Closing, Custodian
from nurture.errors import InvalidState, NotFound
from nurture.journey.handoff import queries as handoff_queries
from nurture.journey.handoff.follow_up import CLOSED
from nurture.journey.leads import snapshot
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import LeadTransitions
from nurture.journey.outcomes.outcomes import FINAL_CLOSINGS
from nurture.runtime.context import AppContext


class Deal(NamedTuple):
    """How sales closed a lead. *happened_at* (UTC) may lie in the past; None is the time of recording."""

    lead_id: int
    closing: Closing
    happened_at: datetime | None = None
    amount: float | None = None
    reason: str = ""


def close(
    ctx: AppContext,
    lead_id: int,
    closing: Closing,
    now: datetime,
    *,
    happened_at: datetime | None = None,
    amount: float | None = None,
    reason: str = "",
    source: str = "nurture",
) -> None:
    """Close the lead as *closing*. Closing it the same way again changes nothing.

    *happened_at* (UTC) may lie before *now*. Raises InvalidState if the lead is closed as something else.
    """
    close_many(ctx, [Deal(lead_id, closing, happened_at, amount, reason)], now, source=source)


def close_many(ctx: AppContext, deals: Sequence[Deal], now: datetime, *, source: str = "nurture") -> int:
    """Close the leads of *deals*, all or none, each as `close` does; return how many were open.

    Of two deals of one lead, the first counts. Uses a constant number of statements.
    """
    by_lead = {deal.lead_id: deal for deal in reversed(deals)}
    with ctx.database.write() as tx:
        rows = snapshot.load_rows(tx, by_lead)
        missing = sorted(by_lead.keys() - {row.lead_id for row in rows})
        if missing:
            raise NotFound(f"There is no lead {missing[0]}. `nurture leads list` lists them.")
        transitions = LeadTransitions(ctx.definitions.current(tx), now, "manual")
        found = snapshot.load_snapshots(tx, rows, now, ctx.holidays)
        closing = [lead for lead in found if _needs_closing(lead, by_lead[lead.view.lead.id].closing)]
        open_offers = handoff_queries.load_open_offers(tx, [lead.view.lead.id for lead in closing])
        withdrawn = [(one.id, "withdrawn", "closed") for one in open_offers.values()]
        handoff_queries.record_answers(tx, withdrawn, now)
        for lead in closing:
            _close(lead, by_lead[lead.view.lead.id], transitions, source)
        won = transitions.changes.write(tx, now)
        handoff_queries.record_follow_ups(tx, [(id_, CLOSED) for id_ in won], now)
    return len(closing)


def _needs_closing(lead: LeadSnapshot, closing: Closing) -> bool:
    """Return whether the lead needs closing. Raises InvalidState if it is won or lost already."""
    if lead.view.custodian is not Custodian.CLOSED or lead.ref not in (*FINAL_CLOSINGS, closing.value):
        return True
    if lead.ref == closing.value:
        return False
    raise InvalidState(f"Lead {lead.view.lead.id} is closed as {lead.ref} already; it cannot become {closing.value}.")


def _close(lead: LeadSnapshot, deal: Deal, transitions: LeadTransitions, source: str) -> None:
    reason = f"closed as {deal.closing.value} by hand"  # the outcome stores the person's own reason
    transitions.close(
        lead,
        deal.closing,
        reason,
        outcome_reason=deal.reason,
        happened_at=deal.happened_at,
        amount=deal.amount,
        source=source,
    )
