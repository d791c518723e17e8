"""My leads: what a rep is offered, and whom the rep works; the link pages do the same without an account."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from nurture.console import components
from nurture.console.access.users import Role
from nurture.console.page import Page, PageRequest
from nurture.console.view import View
from nurture.journey.handoff.workspace import MAX_ACCEPTED, MAX_OFFERS, LeadCard, RepWorkspace, load_workspace


@dataclass(frozen=True, slots=True)
class MyLeads:
    """The rep's workspace, and the reasons with which a lead may be given back."""

    workspace: RepWorkspace
    reasons: tuple[str, ...]


def _load(request: PageRequest) -> MyLeads:
    with request.ctx.database.read() as tx:
        reasons = tuple(request.ctx.definitions.current(tx).policy.reject_reasons)
    return MyLeads(load_workspace(request.ctx, request.user.rep, request.now), reasons)


def _render(view: View, mine: MyLeads) -> None:
    space = mine.workspace
    with components.block("figures"):
        components.figure("wait for your answer", _count(space.offered, MAX_OFFERS), href="#offered")
        components.figure("you work", _count(space.in_hand, MAX_ACCEPTED), href="#in-hand")
    _render_cards(view, mine, "offered", space.offered)
    _render_cards(view, mine, "in-hand", space.in_hand)


def _count(cards: Sequence[LeadCard], limit: int) -> str:
    """Return how many leads there are; of more than the page shows, only that there may be more."""
    return f"{len(cards):,}" if len(cards) < limit else f"{limit:,} or more"


_SECTIONS: Final = {
    "offered": ("Waiting for your answer", "Nobody waits for your answer."),
    "in-hand": ("You work them", "You work no lead now."),
}


def _render_cards(view: View, mine: MyLeads, section: str, cards: Sequence[LeadCard]) -> None:
    title, nobody = _SECTIONS[section]
    with components.card(title) as drawn:
        drawn.props["id"] = section
        if not cards:
            components.empty(nobody)
        for one in cards:
            with components.block("row"):
                with components.block("who"):
                    components.link(one.name or f"Lead {one.lead_id}", f"/leads/{one.lead_id}")
                    due = f"due {one.due}" if one.due else ""
                    about = " · ".join(part for part in (one.company, one.summary, due) if part)
                    components.paragraph(about, "soft")
                with components.block("buttons"):
                    _render_buttons(view, mine, one)


def _render_buttons(view: View, mine: MyLeads, one: LeadCard) -> None:
    if one in mine.workspace.offered:
        view.action_button("accept_offer", str(one.offer_id))
    else:
        view.action_button("record_contact", str(one.lead_id))
    if one.offer_id is not None:
        view.action_button("reject_offer", str(one.offer_id), choices={"reason": mine.reasons})


PAGE: Final = Page("/mine", "My leads", frozenset({Role.REP}), _load, _render, "My leads", 5)
