"""The queues: who works each, in which time, what waits, and who has waited longest."""

from typing import Final

from nurture.console import addresses, components
from nurture.console.components import Link, Time
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.pages.handoffs import draw_tabs
from nurture.console.view import View
from nurture.domain.lead import name_in_list
from nurture.journey.handoff.waiting.lists import WaitingList
from nurture.reporting.console.handoffs import MAX_OPEN, load_queues
from nurture.reporting.console.lead_list_queries import LeadFilter


def _load(request: PageRequest) -> WaitingList:
    with request.ctx.database.read() as tx:
        return load_queues(request.ctx, tx, request.now, for_sales=request.user.reps is not None)


def _render(_view: View, found: WaitingList) -> None:
    draw_tabs("/handoffs/queues")
    if not found.queues:
        components.empty("Nobody waits in a queue.")
        return
    with components.card("Queues"):
        rows = [
            (
                Link(one.name, addresses.of_leads(LeadFilter(queue=one.name))),
                one.description,
                one.owners,
                str(one.rule.within) if one.rule is not None else "",
                Link(f"{one.counts.waiting:,}", addresses.of_leads(LeadFilter(queue=one.name))),
                Link(f"{one.counts.late:,}", addresses.of_leads(LeadFilter(queue=one.name))) if one.counts.late else 0,
                Time(one.counts.oldest),
            )
            for one in sorted(found.queues, key=lambda one: (-one.counts.late, one.counts.oldest))
        ]
        columns = ("Queue", "Why", "Owner", "Within", "Waiting", "Too long", "Oldest since")
        components.table(columns, rows, caption="Queues with leads", right=("Waiting", "Too long"))
    with components.card("Waiting longest"):
        people = [
            (
                Link(name_in_list(one.fields), addresses.of_lead(one.lead_id)),
                str(one.fields.get("company") or ""),
                one.queue + (", too long" if found.is_late(one) else ""),
                one.reason,
                Time(one.entered_at),
            )
            for one in found.leads
        ]
        components.table(("Lead", "Company", "Queue", "Why", "Since"), people, caption="Leads in queues")
        if len(people) >= MAX_OPEN:
            components.paragraph(f"The {MAX_OPEN} that have waited longest.", "soft")


PAGE: Final = Page("/handoffs/queues", "Queues", ALL_BUT_REPS, _load, _render)
