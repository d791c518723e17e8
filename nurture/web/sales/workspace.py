"""Show a rep's workspace, and perform its actions: open offers, accepted leads, former and past leads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from nurture.errors import InvalidState
from nurture.journey.handoff import manager_page, offer_page, workspace
from nurture.journey.handoff.workspace import WorkspaceView
from nurture.journey.leads.find import parse_id
from nurture.publishing import approval
from nurture.web.auth import RepVisitor, RepVisitorDep
from nurture.web.forms import FormFields
from nurture.web.sales import offers
from nurture.web.sales.offers import OfferPage
from nurture.web.site import Site, SiteDep

HOLD_PERIODS: Final[Mapping[str, tuple[str, int]]] = {
    "14": ("two weeks", 14),
    "30": ("a month", 30),
    "90": ("three months", 90),
}
"""How long a rep may pause a lead: label and days."""


class ActionResult(NamedTuple):
    """The title and text that confirm an action."""

    title: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class WorkspaceForm:
    """The form of a button that a rep pressed."""

    site: Site
    rep: str
    fields: Mapping[str, str]
    now: datetime

    def read_id(self, name: str) -> int:
        """Return the id in the field *name*. Raises InvalidState if there is none."""
        id_ = parse_id(self.fields.get(name, ""))
        if id_ is None:
            raise InvalidState(f"The form has no valid id in {name!r}.")
        return id_


def show_workspace(site: SiteDep, visitor: RepVisitorDep, show: str = "all", sort: str = "heat") -> HTMLResponse:
    """Show the rep's workspace: the leads *show* (all, hot, overdue), sorted by *sort* (heat, due, company).

    A manager sees the team instead; a rep who manages others does so with *show* "team".
    """
    with site.ctx.database.read() as tx:
        policy = site.ctx.definitions.current(tx).policy
        pending = approval.pending_versions(tx)
    manager = policy.team.manager_with_id(visitor.rep)
    if manager is not None and (show == "team" or policy.rep(visitor.rep) is None):
        team = manager_page.load_team_page(site.ctx, manager, site.clock.now())
        number = pending[0].published.version if pending else None
        return site.templates.response("manager.html", page=team, pending=number, token=visitor.token)
    view = WorkspaceView(show, sort)
    content = workspace.load_workspace(site.ctx, visitor.rep, site.clock.now(), view)
    return site.templates.response(
        "workspace.html",
        workspace=content,
        hold_periods=HOLD_PERIODS,
        token=visitor.token,
        view=view,
        shown=list(workspace.SHOWN),
        orders=list(workspace.SORTED_BY),
        is_manager=manager is not None,
    )


def submit_action(site: SiteDep, visitor: RepVisitorDep, fields: FormFields) -> HTMLResponse:
    """Perform the action of the pressed button, if the lead is still in the state that the page showed."""
    action = ACTIONS.get(fields.get("do", ""))
    if action is None:
        raise HTTPException(400)
    try:
        done = action(WorkspaceForm(site, visitor.rep, fields, site.clock.now()))
    except InvalidState:
        title, text = "Nothing was changed", "This lead has changed since your page was loaded. Reload the page."
        return site.templates.response(
            "workspace-done.html", status=409, title=title, text=text, done=False, back=visitor.token
        )
    return site.templates.response(
        "workspace-done.html", title=done.title, text=done.text, done=True, back=visitor.token
    )


def show_offer(site: SiteDep, visitor: RepVisitorDep, number: str) -> HTMLResponse:
    """Show one hand-off with all its answer forms; to the manager of its rep, with the one to give it to another."""
    return offers.form_page(_offer_page(site, visitor, number, {}))


def answer_offer(site: SiteDep, visitor: RepVisitorDep, number: str, fields: FormFields) -> HTMLResponse:
    """Answer one hand-off with the action of the pressed button."""
    return offers.answer_offer(_offer_page(site, visitor, number, fields), fields.get("do", ""))


def _offer_page(site: Site, visitor: RepVisitor, number: str, fields: Mapping[str, str]) -> OfferPage:
    """Return the hand-off with this number. Raises 404 unless it is the visitor's, or that of a rep they manage."""
    offer_id = parse_id(number)
    if offer_id is None:
        raise HTTPException(404)
    now = site.clock.now()
    details = offer_page.load_offer_details(site.ctx, offer_id, now)
    back = f"../{visitor.token}"
    if details.offer.rep == visitor.rep:
        return OfferPage(site, details, now, "", fields, back=back)
    with site.ctx.database.read() as tx:
        rep = site.ctx.definitions.current(tx).policy.rep(details.offer.rep)
    if rep is None or rep.manager != visitor.rep:
        raise HTTPException(404)
    return OfferPage(site, details, now, "", fields, back=f"{back}?show=team", seen_by=visitor.rep)


def _mark_reached(form: WorkspaceForm) -> ActionResult:
    workspace.record_contact(form.site.ctx, form.read_id("lead"), form.rep, form.now)
    return ActionResult("Recorded: you contacted them", "The follow-up deadline no longer applies.")


def _vote(form: WorkspaceForm) -> ActionResult:
    answer = form.fields.get("useful", "")
    if answer not in ("yes", "no"):
        raise InvalidState("The field useful is neither yes nor no.")
    ctx, offer_id = form.site.ctx, form.read_id("offer")
    workspace.record_vote(ctx, offer_id, form.rep, form.now, useful=answer == "yes")
    return ActionResult(
        "Thank you", "Your feedback helps choose the leads that you get. You can change it at any time."
    )


def _hold(form: WorkspaceForm) -> ActionResult:
    words, days = HOLD_PERIODS.get(form.fields.get("for", ""), ("", 0))
    if not days:
        raise InvalidState("The form has no valid period.")
    until = form.now + timedelta(days=days)
    until = workspace.pause_lead(form.site.ctx, form.read_id("lead"), form.rep, until, form.now)
    return ActionResult(
        f"Paused for {words}", f"We send this lead no email until {until:%d %B %Y}. Then its track continues."
    )


def _resume(form: WorkspaceForm) -> ActionResult:
    workspace.resume(form.site.ctx, form.read_id("lead"), form.rep, form.now)
    return ActionResult("Its track continues", "You can pause it again at any time.")


def _expedite(form: WorkspaceForm) -> ActionResult:
    if workspace.expedite(form.site.ctx, form.read_id("lead"), form.rep, form.now):
        return ActionResult(
            "Its next email is sent as soon as possible", "Send windows and frequency caps still apply."
        )
    return ActionResult("Its next email is already due", "It is sent in the next send window, or is on its way.")


def _claim_lead(form: WorkspaceForm) -> ActionResult:
    workspace.claim_lead(form.site.ctx, form.read_id("lead"), form.rep, form.now)
    return ActionResult(
        "The lead is offered to you", "Its track is paused. You get the brief; accept the lead in your workspace."
    )


ACTIONS: Final[Mapping[str, Callable[[WorkspaceForm], ActionResult]]] = {
    "reached": _mark_reached,
    "vote": _vote,
    "hold": _hold,
    "resume": _resume,
    "expedite": _expedite,
    "claim": _claim_lead,
}
"""The handler of each button."""
