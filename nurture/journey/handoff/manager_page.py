"""Load what a manager sees: the team, its open offers and leads by deadline, and the queues."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from nurture.domain.lead import name_in_list
from nurture.domain.policy.business_hours import EscalationLevel
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import Manager
from nurture.journey.handoff import workspace_queries
from nurture.journey.handoff.rep_emails import format_deadline
from nurture.journey.handoff.roster import RosterEntry, load_roster
from nurture.journey.handoff.waiting.lists import WaitingQueue, load_waiting
from nurture.journey.handoff.workspace_queries import TeamOffer
from nurture.runtime.context import AppContext

MAX_OFFERS: Final = 100


class TeamLead(NamedTuple):
    """One lead that the team was offered or has. *breach* says what its rep did not do in time, "" for nothing."""

    offer_id: int
    lead_id: int
    name: str
    company: str
    rep: str
    stands: str
    due: str
    hot: bool
    breach: str


@dataclass(frozen=True, slots=True)
class ManagerPage:
    """What a manager sees. *leads* are by deadline; there may be more than *is_full* shows."""

    name: str
    team: Sequence[RosterEntry]
    leads: Sequence[TeamLead]
    queues: Sequence[WaitingQueue]
    is_full: bool

    @property
    def breaches(self) -> Sequence[TeamLead]:
        """Return the leads that wait for longer than agreed."""
        return [one for one in self.leads if one.breach]


def load_team_page(ctx: AppContext, manager: Manager, now: datetime) -> ManagerPage:
    """Return the page of *manager* at *now*, in a constant number of statements."""
    with ctx.database.read() as tx:
        policy = ctx.definitions.current(tx).policy
        team = {rep.id: rep for rep in policy.reps if rep.manager == manager.id}
        offers = workspace_queries.load_team_offers(tx, list(team), MAX_OFFERS)
        queues = load_waiting(tx, policy, ctx.holidays, now, person=None, limit=0).queues
    leads = describe_team_leads(offers, policy, now)
    roster = [one for one in load_roster(ctx, now) if one.id in team]
    return ManagerPage(manager.name, roster, leads, queues, len(offers) >= MAX_OFFERS)


def describe_team_leads(offers: Sequence[TeamOffer], policy: Policy, now: datetime) -> list[TeamLead]:
    """Return what a manager reads about these hand-offs, in the same order."""
    return [_team_lead(one, policy, now) for one in offers]


def _team_lead(one: TeamOffer, policy: Policy, now: datetime) -> TeamLead:
    rep = policy.rep(one.rep)
    is_late = one.due_at is not None and one.due_at <= now
    if one.state == "offered":
        stands, task, escalated = "offered", "answer", EscalationLevel.ESCALATED
    elif one.followed_up_at is None:
        stands, task, escalated = "accepted", "contact", EscalationLevel.FOLLOW_UP_ESCALATED
    else:
        stands, task, escalated = one.stage or "in work", "next contact", EscalationLevel.NEXT_TOUCH_ESCALATED
    breach = f"{task} overdue" if is_late or one.asked_at is not None else ""
    if one.escalation_level == escalated:
        breach = f"{task} overdue, escalated"
    return TeamLead(
        one.offer_id,
        one.lead_id,
        name_in_list(one.fields),
        str(one.fields.get("company") or ""),
        rep.name if rep is not None else one.rep,
        stands,
        format_deadline(one.due_at, rep) if one.due_at is not None and rep is not None else "",
        one.hot,
        breach,
    )
