"""Close leads by a person's word: won, lost, discarded or unreachable."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from nurture.domain.lead import Closing, Custodian
from nurture.errors import NotFound, Refused
from nurture.journey.handoff import queries as handoff_queries
from nurture.journey.handoff.follow_up import CLOSED
from nurture.journey.leads import snapshot
from nurture.journey.leads.snapshot import Claimed
from nurture.journey.leads.transitions import Mover
from nurture.runtime.context import House

_FINAL: Final = (Closing.WON.value, Closing.LOST.value)


class Deal(NamedTuple):
    """How sales closed a lead. *happened_at* (UTC) may lie before it is told; None is when it is told."""

    lead_id: int
    closing: Closing
    happened_at: datetime | None = None
    amount: float | None = None
    reason: str = ""


def close(
    house: House,
    lead_id: int,
    closing: Closing,
    now: datetime,
    *,
    happened_at: datetime | None = None,
    amount: float | None = None,
    reason: str = "",
    source: str = "nurture",
) -> None:
    """Close the lead as *closing*, with what sales said of it. Closing twice alike changes nothing.

    *happened_at* (UTC) may lie before *now*: deals are told late. Refused if it is closed as something else.
    """
    close_many(house, [Deal(lead_id, closing, happened_at, amount, reason)], now, source=source)


def close_many(house: House, deals: Sequence[Deal], now: datetime, *, source: str = "nurture") -> int:
    """Close the leads of *deals*, all or none, each as `close` does; return how many were open till now.

    Of two deals of one lead, the first counts. A constant number of statements, however many deals.
    """
    database = house.database
    by_lead = {deal.lead_id: deal for deal in reversed(deals)}
    with database.write() as connection:
        rows = snapshot.these(database, connection, by_lead)
        missing = sorted(by_lead.keys() - {row.lead_id for row in rows})
        if missing:
            raise NotFound(f"There is no lead {missing[0]}. `nurture leads list` lists them.")
        mover = Mover(house.rulebooks.current(connection), now, "by hand")
        found = snapshot.views(database, connection, rows, now, house.holidays)
        closing = [lead for lead in found if _may_close(lead, by_lead[lead.view.lead.id].closing)]
        opened = handoff_queries.open_of(database, connection, [lead.view.lead.id for lead in closing])
        withdrawn = [(one.id, "withdrawn", "closed") for one in opened.values()]
        handoff_queries.answer(database, connection, withdrawn, now)
        for lead in closing:
            _close(lead, by_lead[lead.view.lead.id], mover, source)
        won = mover.changes.write(database, connection, now)
        handoff_queries.follow_up(database, connection, [(id_, CLOSED) for id_ in won], now)
    return len(closing)


def _may_close(lead: Claimed, closing: Closing) -> bool:
    """Return whether there is anything to change. Raises Refused for a lead won or lost already."""
    if lead.view.custodian is not Custodian.CLOSED or lead.ref not in (*_FINAL, closing.value):
        return True
    if lead.ref == closing.value:
        return False
    raise Refused(
        f"Lead {lead.view.lead.id} is closed as {lead.ref} already; it cannot become {closing.value}."
    )


def _close(lead: Claimed, deal: Deal, mover: Mover, source: str) -> None:
    because = f"closed as {deal.closing.value} by hand"  # why is somebody's own words: the outcome has them
    mover.close(
        lead,
        deal.closing,
        because,
        reason=deal.reason,
        happened_at=deal.happened_at,
        amount=deal.amount,
        source=source,
    )
