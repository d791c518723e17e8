"""Show the leads that wait in a person's queues, and take their decisions."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import Manager, Rep
from nurture.errors import InvalidState, NotFound
from nurture.journey.handoff.waiting import queries as waiting_queries
from nurture.journey.handoff.waiting.decisions import Decision, DecisionKind, decide_waiting
from nurture.journey.handoff.waiting.lists import describe_leads, load_waiting
from nurture.journey.leads.find import parse_id
from nurture.journey.routing.availability import is_active
from nurture.reporting.queues import report_queues
from nurture.web.auth import RepVisitor, RepVisitorDep, Visitor, VisitorDep
from nurture.web.forms import FormFields
from nurture.web.site import Site, SiteDep

MAX_LEADS: Final = 200
"""How many leads the page lists; the others appear when these are decided."""

LINK_LIFETIME: Final = timedelta(days=30)
MAX_REASON_LENGTH: Final = 300

_DONE: Final[Mapping[DecisionKind, tuple[str, str]]] = {
    DecisionKind.ASSIGN: ("It is offered to the rep", "The rep gets the brief now, and the time to answer runs."),
    DecisionKind.NURTURE: ("It goes back to its track", "Only what it does from now on leads to sales again."),
    DecisionKind.DISCARD: ("It is discarded", "It gets no more email."),
}


def show_queues(site: SiteDep, visitor: VisitorDep) -> HTMLResponse:
    """Show what waits for the person to whom the link was sent. A GET changes nothing."""
    return _page(site, visitor)


def submit_decision(site: SiteDep, visitor: VisitorDep, fields: FormFields) -> HTMLResponse:
    """Carry out a decision of the person to whom the link was sent."""
    return _decide(site, visitor, fields)


def show_own_queues(site: SiteDep, visitor: RepVisitorDep) -> HTMLResponse:
    """Show what waits for the person whose workspace this is. A GET changes nothing."""
    return _page(site, visitor)


def submit_own_decision(site: SiteDep, visitor: RepVisitorDep, fields: FormFields) -> HTMLResponse:
    """Carry out a decision of the person whose workspace this is."""
    return _decide(site, visitor, fields)


def _decide(site: Site, visitor: Visitor | RepVisitor, fields: Mapping[str, str]) -> HTMLResponse:
    """Carry out the decision about one lead, if it still waits in a queue of this person."""
    now = site.clock.now()
    policy, person = _find_person(site, visitor, now)
    lead_id, kind = parse_id(fields.get("lead", "")), fields.get("do", "")
    if lead_id is None or kind not in set(DecisionKind):
        raise HTTPException(400)
    rep, reason = fields.get("to", ""), " ".join(fields.get("reason", "").split())[:MAX_REASON_LENGTH]
    decision = Decision(DecisionKind(kind), person.id, rep, reason)
    if decision.kind is DecisionKind.ASSIGN and policy.rep(rep) is None:
        return _page(site, visitor, {lead_id: "Choose a rep."})
    if decision.kind is not DecisionKind.ASSIGN and not reason:
        return _page(site, visitor, {lead_id: "Write the reason: it stands in the lead's history."})
    with site.ctx.database.read() as tx:
        found = load_waiting(tx, policy, site.ctx.holidays, now, person=person.id, limit=0)
    try:
        decide_waiting(site.ctx, lead_id, decision, now, queues={one.name for one in found.queues})
    except (InvalidState, NotFound):
        title, text = "Nothing was changed", "This lead does not wait for you any more."
        return site.templates.response("queue-done.html", status=409, title=title, text=text, done=False)
    title, text = _DONE[decision.kind]
    return site.templates.response("queue-done.html", title=title, text=text, done=True)


def _page(site: Site, visitor: Visitor | RepVisitor, problems: Mapping[int, str] | None = None) -> HTMLResponse:
    now = site.clock.now()
    policy, person = _find_person(site, visitor, now)
    with site.ctx.database.read() as tx:
        found = load_waiting(tx, policy, site.ctx.holidays, now, person=person.id, limit=MAX_LEADS)
    past = {one.queue: one for one in report_queues(site.ctx, now)}
    zone = person.hours.zone if isinstance(person, Rep) else policy.business_hours.zone
    return site.templates.response(
        "queues.html",
        status=422 if problems else 200,
        person=person,
        waiting=found,
        leads=describe_leads(found, zone),
        past=past,
        reps=[rep for rep in policy.reps if is_active(rep, now.date())],
        problems=problems or {},
        back=f"../{visitor.token}?show=team" if isinstance(visitor, RepVisitor) else "",
    )


def _find_person(site: Site, visitor: Visitor | RepVisitor, now: datetime) -> tuple[Policy, Rep | Manager]:
    """Return whose workspace it is, or who got the email with the link. Raises 404 LINK_LIFETIME after that."""
    with site.ctx.database.read() as tx:
        policy = site.ctx.definitions.current(tx).policy
        if isinstance(visitor, RepVisitor):
            id_ = visitor.rep
        else:
            message_id = visitor.token_record.message_id
            sent = waiting_queries.find_recipient(tx, message_id) if message_id is not None else None
            id_ = sent.person if sent is not None and now - sent.planned_at <= LINK_LIFETIME else ""
    person = policy.team.find_person(id_)
    if person is None:
        raise HTTPException(404)
    return policy, person
