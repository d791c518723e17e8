"""A company: its people, owner, open hand-offs, and what all of them got and did."""

from typing import Final

from nurture.console import addresses, components
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.pages.handoffs import OPEN_COLUMNS, open_row
from nurture.console.pages.leads import COLUMNS, lead_row
from nurture.console.view import View
from nurture.domain.lead import name_in_list
from nurture.reporting.console.company import MAX_EVENTS, Company, load_company
from nurture.reporting.console.company_queries import CompanyEvent
from nurture.reporting.console.lead_list_queries import LeadFilter


def _load(request: PageRequest) -> Company:
    account_id = addresses.read_number(request.values, "account_id") or 0
    before = addresses.read_number(request.values, "before")
    with request.ctx.database.read() as tx:
        return load_company(request.ctx, tx, account_id, request.now, before=before, reps=request.user.reps)


def _render(_view: View, found: Company) -> None:
    account, touches = found.account, found.touches
    with components.card(classes="head"):
        owner = f"owned by {found.owner}" if found.owner else "nobody owns it"
        components.paragraph(" · ".join((account.kind, owner, *account.domains)), "soft")
    with components.block("figures"):
        count = found.people.count
        components.figure("people", f"{count:,}" if count is not None else "", href="#people")
        components.figure("emails to them", f"{touches.emails:,}", href="#happened")
        for did, number in (("clicked", touches.clicked), ("replied", touches.replied)):
            href = addresses.of_leads(LeadFilter(account=account.id, did=did)) if number else ""
            components.figure(did, f"{number:,}", href=href)
    with components.card("Open hand-offs"):
        if found.open:
            components.table(OPEN_COLUMNS, [open_row(one) for one in found.open], caption="Open hand-offs")
        else:
            components.empty("None.")
    with components.card("People") as people:
        people.props("id=people")
        if found.people.leads:
            rows = [lead_row(one) for one in found.people.leads]
            components.table(COLUMNS, rows, caption="People", right=("Score",))
        else:
            components.empty("No lead is matched to this company.")
        if found.people.next_before is not None:
            href = f"{addresses.of_company(account.id)}?before={found.people.next_before}"
            components.link("More", href, "button quiet")
    with components.card("What happened") as happened:
        happened.props("id=happened")
        if not found.timeline:
            components.empty("Nobody of them got an email yet.")
        with components.block("timeline", "ol"):
            for event in found.timeline:
                _draw_event(event)
        if len(found.timeline) >= MAX_EVENTS:
            components.paragraph(f"The newest {MAX_EVENTS}; the page of each person has the others.", "soft")


def _draw_event(event: CompanyEvent) -> None:
    with components.block(f"item {event.kind}", "li"):
        components.time(event.at, "item-time")
        with components.block("item-text"):
            components.link(name_in_list(event.fields), addresses.of_lead(event.lead_id))
            components.write("span", f" {_describe_event(event)}")
            components.write("span", f" {event.detail}", "soft")
            if event.message_id is not None:
                components.write("span", " ")
                components.link("Open", addresses.of_sent_email(event.message_id))


def _describe_event(event: CompanyEvent) -> str:
    if event.kind == "email":
        return f"got the email {event.what}"
    return event.what.replace("_", " ")


def _name(found: Company) -> str:
    return found.account.name


PAGE: Final = Page("/companies/{account_id}", "Company", ALL_BUT_REPS, _load, _render, name=_name)
