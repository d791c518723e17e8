"""Compose the daily digest of a manager: what the team has not done in time, in one email instead of one per lead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from nurture.db.transaction import Transaction
from nurture.domain.planning.calendar import Holidays
from nurture.domain.policy.business_hours import next_business_day_start
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import Manager
from nurture.errors import NotFound
from nurture.journey.handoff import workspace_links, workspace_queries
from nurture.journey.handoff.cover import Cover
from nurture.journey.handoff.manager_page import TeamLead, describe_team_leads
from nurture.journey.handoff.rep_emails import compose_for_rep
from nurture.journey.handoff.workspace_links import RepLink
from nurture.journey.leads.changeset import NewMessage
from nurture.journey.routing.capacity import working_time
from nurture.mail.rendering.inert_text import defang_values
from nurture.outbox.messages import TO_REP, DueMessage
from nurture.runtime.context import AppContext
from nurture.runtime.message_kinds import ComposedMessage, MessageKind

MAX_LISTED: Final = 500
"""How many hand-offs of all teams are read for the digests of a batch."""

_EXPIRES_AFTER: Final = timedelta(days=1)
_TEMPLATE_NAME: Final = "the digest"
_TEMPLATE: Final = """---
subject: "{% if late %}Late leads of your team: {{ late | length }}{% else %}Your team is on time again{% endif %}"
preheader: What was not answered, contacted or said in time
layout: brief
---
Hello {{ manager.name }},

{% if late %}
These leads of your team wait for longer than agreed, the one that has waited longest first:

{% for one in late %}
- **{{ one.name }}**{% if one.company %}, {{ one.company }}{% endif %}: {{ one.rep }}, {{ one.breach }}; next deadline
  {{ one.due }}{% if not team_url %} (lead {{ one.lead_id }}, hand-off {{ one.offer_id }}){% endif %}
{% endfor %}

{% if team_url %}
[See your team, or give one to another rep](<{{ team_url }}> "button")
{% else %}
`nurture handoffs reps link {{ manager.id }}` makes a link to the page of your team.
To give one to another rep: `nurture handoffs reassign HAND-OFF REP`.
{% endif %}
{% else %}
What was late yesterday has been done since.
{% endif %}
"""


def plan_digest(policy: Policy, holidays: Holidays, manager: Manager, lead_id: int, now: datetime) -> NewMessage:
    """Return the digest of the next business day; it is planned once, with the first lead that is to stand in it."""
    send_at = next_business_day_start(working_time(policy.business_hours, holidays, now), now)
    key = f"digest:{manager.id}:{send_at:%Y-%m-%d}"
    message = NewMessage.due_now(key, DIGEST.name, TO_REP, lead_id, DIGEST.name, now, send_at + _EXPIRES_AFTER)
    return message._replace(send_at=send_at, rep=manager.id)


@dataclass(frozen=True)
class Digests:
    """The digests of a batch: the late leads of every team, by manager."""

    ctx: AppContext
    policy: Policy
    late: Mapping[str, Sequence[TeamLead]]
    cover: Cover
    links: Mapping[str, RepLink]
    """A link to the page of each manager; none without a web address."""

    @classmethod
    def load(cls, ctx: AppContext, tx: Transaction, batch: Sequence[DueMessage], now: datetime) -> Self:
        """Read what is late now in the teams of *batch*."""
        policy = ctx.definitions.current(tx).policy
        managers = {one.rep or "" for one in batch}
        team = {rep.id: rep.manager for rep in policy.reps if rep.manager in managers}
        offers = workspace_queries.load_team_offers(tx, list(team), MAX_LISTED)
        late: dict[str, list[TeamLead]] = {one: [] for one in managers}
        for offer, one in zip(offers, describe_team_leads(offers, policy, now), strict=True):
            if one.breach:
                late[team[offer.rep] or ""].append(one)
        links = workspace_links.add_links(tx, sorted(managers), now) if ctx.base_url else {}
        return cls(ctx, policy, late, Cover.load(tx, policy, now), links)

    def compose(self, tx: Transaction, message: DueMessage) -> ComposedMessage:
        """Compose the digest of one manager. Raises NotFound if the policy names the manager no more."""
        manager = self.policy.team.manager_with_id(message.rep or "")
        if manager is None:
            raise NotFound(f"There is no manager {message.rep!r} in the policy. Name one in sales/policy.yaml.")
        template = self.ctx.definitions.internal_email(tx, self.policy.version, _TEMPLATE_NAME, _TEMPLATE)
        to = self.cover.manager(self.policy, manager)
        values = {
            "manager": {"id": manager.id, "name": to.name},
            "team_url": self.links[manager.id].url(self.ctx.base_url) if manager.id in self.links else "",
            "late": [defang_values(one._asdict()) for one in self.late[manager.id]],
        }
        email = compose_for_rep(self.ctx, self.policy, message, manager, template, values, to=to)
        return email._replace(named_leads=[one.lead_id for one in self.late[manager.id]])


DIGEST: Final = MessageKind("digest", Digests.load)
