"""Plan and compose the emails that list what waits in queues to the people who decide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Self

from nurture.db.locks import Lock, acquire
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

_CLOCKS_DIFFER: Final = timedelta(minutes=10)
"""How much later another worker may have planned an email."""

LISTED: Final = 20
"""How many leads an email lists."""

ALLOWED_VARIABLES: Final = frozenset(
    {"rep.id", "rep.name", "sender.name"}
    | {f"waiting.{name}" for name in ("count", "late", "more", "page_url", "queues", "leads")}
)
"""The variables that the template may use."""


class Notice(NamedTuple):
    """Why somebody gets a list: a lead that waits, and since when that is to be said; None: a list of today will do."""

    lead_id: int
    since: datetime | None = None


def plan_emails(tx: Transaction, notices: Mapping[str, Notice], calendar: WorkCalendar, now: datetime) -> int:
    """Plan an email that lists what waits to each person in *notices*; return how many.

    Call it under `Lock.WAITING_LISTS`. The first one within business hours is the list of that day. Nobody gets
    another while one is not sent yet, as it lists all when it is sent, or if the list of the day is newer than
    the notice.
    """
    day = _business_day(calendar, now)
    keys = {person: _day_key(person, day) for person in notices} if day else {}
    of_today = waiting_queries.find_planned(tx, list(keys.values()))
    unsent = waiting_queries.find_people_with_unsent_list(tx, WAITING_KIND, now - _EXPIRE_AFTER, now + _CLOCKS_DIFFER)
    rows = []
    for person, notice in sorted(notices.items()):
        listed_at = of_today.get(keys.get(person, ""))
        if person in unsent or (listed_at is not None and (notice.since is None or notice.since <= listed_at)):
            continue
        key = keys[person] if day and listed_at is None else _day_key(person, now.isoformat(timespec="minutes"))
        expires_at = now + _EXPIRE_AFTER
        planned = NewMessage.due_now(key, WAITING_KIND, TO_REP, notice.lead_id, "waiting", now, expires_at)
        rows.append(planned._replace(rep=person))
    return tx.insert(messages, NewMessage._fields, rows, unique_columns=["send_key"])


def _business_day(calendar: WorkCalendar, now: datetime) -> str:
    """Return the date of a time within business hours, else ""."""
    is_now = is_open(calendar.window, calendar.zone, calendar.days_off, now)
    return str(to_local(now, calendar.zone).date()) if is_now else ""


def _day_key(person: str, day: str) -> str:
    return f"{WAITING_KIND}:{person}:{day}"


def plan_morning_emails(ctx: AppContext, now: datetime) -> int:
    """Plan the emails of a business day, at the first sweep in business hours; return how many."""
    with ctx.database.read() as tx:
        current = ctx.definitions.find_current(tx)
        if current is None:
            return 0
        policy = current.policy
        calendar = queue_calendar(policy, ctx.holidays, now)
        day = _business_day(calendar, now)
        if not policy.queues.people or not day:
            return 0
        queues = waiting_queries.list_queues(tx)
        if not queues:
            return 0
        cover = Cover.load(tx, policy, now)
        rules = (*policy.queues.rules.values(), *([policy.queues.default] if policy.queues.default else []))
        people = {person for rule in rules for person in cover.recipients(rule, late=True)}
        keys = {person: _day_key(person, day) for person in people}
        planned = waiting_queries.find_planned(tx, list(keys.values()))
        if planned.keys() >= set(keys.values()):
            return 0
        anchors = _anchors(tx, queues, policy, cover, calendar, now)
    new = {person: Notice(lead_id) for person, lead_id in anchors.items() if keys[person] not in planned}
    if not new:
        return 0
    with ctx.database.write() as tx:
        acquire(tx, Lock.WAITING_LISTS)
        return plan_emails(tx, new, calendar, now)


def _anchors(
    tx: Transaction, queues: Sequence[str], policy: Policy, cover: Cover, calendar: WorkCalendar, now: datetime
) -> dict[str, int]:
    """Return everybody who is to be notified of leads that wait, with one of these leads."""
    found: dict[str, int] = {}
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
                    "name": one.title,
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
