"""Plan and compose the emails that list what waits in queues to the people who decide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from nurture.db.tables.delivery import message as messages
from nurture.db.transaction import Transaction
from nurture.definitions.policy.queues import WAITING
from nurture.domain.lead import Queue
from nurture.domain.planning.calendar import is_open, to_local
from nurture.domain.policy.business_hours import WorkCalendar
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import Manager, Rep
from nurture.errors import NotFound
from nurture.journey.handoff.cover import Cover
from nurture.journey.handoff.rep_emails import compose_for_rep
from nurture.journey.handoff.waiting import queries as waiting_queries
from nurture.journey.handoff.waiting.lists import WaitingList, describe_leads, load_waiting, queue_calendar
from nurture.journey.leads.changeset import NewMessage
from nurture.mail.rendering.inert_text import defang_values
from nurture.outbox.messages import TO_REP, DueMessage
from nurture.runtime import public_links
from nurture.runtime.context import AppContext
from nurture.runtime.message_kinds import ComposedMessage, MessageKind
from nurture.runtime.public_links import LinkSpec
from nurture.settings import shipped_template

WAITING_KIND: Final = "waiting"
"""The kind of these emails; their `rep` is the person."""

_EXPIRE_AFTER: Final = timedelta(days=1)

LISTED: Final = 20
"""How many leads an email lists."""

ALLOWED_VARIABLES: Final = frozenset(
    {"rep.id", "rep.name", "sender.name"}
    | {f"waiting.{name}" for name in ("count", "late", "more", "page_url", "queues", "leads")}
)
"""The variables that the template may use."""


def plan_emails(tx: Transaction, anchors: Mapping[str, int], key: str, now: datetime) -> None:
    """Plan an email that lists what waits to each of these people; *anchors* names a lead of each list.

    People who have one of the same *key*, or one that is not sent yet, get no other: it lists all when it is sent.
    """
    if not anchors:
        return
    notified = waiting_queries.find_people_with_unsent_list(tx, WAITING_KIND, now - _EXPIRE_AFTER, now)
    rows = [
        NewMessage.due_now(
            f"{WAITING_KIND}:{person}:{key}", WAITING_KIND, TO_REP, lead, "waiting", now, now + _EXPIRE_AFTER
        )._replace(rep=person)
        for person, lead in sorted(anchors.items())
        if person not in notified
    ]
    tx.insert(messages, NewMessage._fields, rows, unique_columns=["send_key"])


def plan_morning_emails(ctx: AppContext, now: datetime) -> int:
    """Plan the emails of a business day, at the first sweep in business hours; return how many."""
    with ctx.database.read() as tx:
        current = ctx.definitions.find_current(tx)
        if current is None:
            return 0
        policy = current.policy
        calendar = queue_calendar(policy, ctx.holidays, now)
        if not policy.queues.people or not is_open(calendar.window, calendar.zone, calendar.days_off, now):
            return 0
        day = str(to_local(now, calendar.zone).date())
        cover = Cover.load(tx, policy, now)
        rules = (*policy.queues.rules.values(), *([policy.queues.default] if policy.queues.default else []))
        people = {person for rule in rules for person in cover.recipients(rule, late=True)}
        keys = {person: f"{WAITING_KIND}:{person}:{day}" for person in people}
        planned = waiting_queries.find_planned(tx, list(keys.values()))
        if planned >= set(keys.values()):
            return 0
        anchors = _anchors(tx, policy, cover, calendar, now)
    new = {person: lead_id for person, lead_id in anchors.items() if keys[person] not in planned}
    if new:
        with ctx.database.write() as tx:
            plan_emails(tx, new, day, now)
    return len(new)


def _anchors(tx: Transaction, policy: Policy, cover: Cover, calendar: WorkCalendar, now: datetime) -> dict[str, int]:
    """Return everybody who is to be notified of leads that wait, with one of these leads."""
    found: dict[str, int] = {}
    queues = waiting_queries.list_queues(tx)
    late_since = policy.queues.late_since(queues, now, calendar)
    for queue, lead_id, entered_at in waiting_queries.load_oldest(tx, queues):
        rule = policy.queues.rule_for(queue)
        if rule is not None:
            is_late = entered_at <= late_since[queue]
            if is_late or queue != Queue.HAND_OFF:  # the others may be offered in this very sweep
                found |= dict.fromkeys(set(cover.recipients(rule, late=is_late)) - found.keys(), lead_id)
    return found


@dataclass(frozen=True)
class WaitingEmails:
    """The lists of a batch, as of when they are composed."""

    ctx: AppContext
    policy: Policy
    now: datetime

    @classmethod
    def load(cls, ctx: AppContext, tx: Transaction, _batch: Sequence[DueMessage], now: datetime) -> Self:
        """Return the composer."""
        return cls(ctx, ctx.definitions.current(tx).policy, now)

    def compose(self, tx: Transaction, message: DueMessage) -> ComposedMessage:
        """Compose the list of one person, with a link to the page on which they decide."""
        person = self.policy.team.find_person(message.rep or "")
        if person is None:
            raise NotFound(f"{message.rep} is not in the policy any more. Name an owner under `queues:`.")
        found = load_waiting(tx, self.policy, self.ctx.holidays, self.now, person=person.id, limit=LISTED)
        links = [public_links.make_link(LinkSpec(public_links.QUEUES, message.lead_id, message.id))]
        values = _list_values(found, self.policy, person, links[0].url(self.ctx.base_url) if self.ctx.base_url else "")
        template = self.ctx.definitions.sales_email(tx, self.policy.version, WAITING, default=shipped_template(WAITING))
        shown = {"waiting": values}
        email = compose_for_rep(
            self.ctx, self.policy, message, person, template, shown, links=links if self.ctx.base_url else ()
        )
        return email._replace(named_leads=[one.lead_id for one in found.leads])


def _list_values(found: WaitingList, policy: Policy, person: Rep | Manager, page_url: str) -> Mapping[str, object]:
    hours = person.hours if isinstance(person, Rep) else policy.business_hours
    values: dict[str, object] = defang_values(
        {
            "count": found.count,
            "late": found.late,
            "more": max(found.count - len(found.leads), 0),
            "queues": [
                {
                    "name": one.name,
                    "description": one.description,
                    "count": one.counts.waiting,
                    "late": one.counts.late,
                    "within": str(one.rule.within) if one.rule else "",
                }
                for one in found.queues
            ],
            "leads": describe_leads(found, hours.zone),
        }
    )
    return {**values, "page_url": page_url}


WAITING_EMAIL: Final = MessageKind(WAITING_KIND, WaitingEmails.load)
