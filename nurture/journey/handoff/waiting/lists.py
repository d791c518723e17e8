"""List the leads that wait in queues to the people who decide about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from nurture.db.transaction import Transaction
from nurture.domain.code_names import readable_title
from nurture.domain.lead import SALES_QUEUES, Queue, name_in_list
from nurture.domain.planning.calendar import Holidays
from nurture.domain.policy.business_hours import WorkCalendar
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.queues import QueueRule
from nurture.formats.places import name_countries
from nurture.journey.handoff import queries as handoff_queries
from nurture.journey.handoff.cover import Cover
from nurture.journey.handoff.lead_profile import (
    MAX_EARLIER_OFFERS,
    describe_earlier_offer,
    earlier_offer_values,
)
from nurture.journey.handoff.lead_profile_queries import load_earlier_offers
from nurture.journey.handoff.rep_emails import format_time
from nurture.journey.handoff.waiting import queries as waiting_queries
from nurture.journey.handoff.waiting.queries import QueueCounts, WaitingLead
from nurture.journey.handoff.why_now import name_rules, rule_label
from nurture.journey.routing.capacity import working_time

QUEUE_REASONS: Final[Mapping[str, str]] = {
    Queue.HAND_OFF: "ready, and no rep has capacity",
    Queue.MANAGER_DECISION: "asked for contact or is hot, and no rep can take it; or in work, and its rep left",
    Queue.NO_REP: "ready, and no rule gives a rep",
    Queue.ACCOUNT_AMBIGUOUS: "belongs to one of several accounts",
    Queue.ACCOUNT_OWNER_UNAVAILABLE: "of a customer whose owner cannot take it",
    Queue.MISSING_FIELD: "a routing rule requires a field that is not known",
    Queue.TRACK_MISSING: "its track is not published, or lacks its step",
    Queue.AMBIGUOUS: "two known leads match",
    Queue.OWNER_UNKNOWN: "a rep works it, and its file does not say who",
    Queue.NO_CONSENT_BASIS: "nothing says that we may mail it",
    Queue.NO_ADDRESS: "it has no email address",
    Queue.SUPPRESSED: "it opted out, or its address is undeliverable; a person may call",
}
"""Why leads are in the built-in queues."""


@dataclass(frozen=True, slots=True)
class WaitingQueue:
    """A queue with its rule, None if nobody works it, and its counts."""

    name: str
    rule: QueueRule | None
    counts: QueueCounts
    late_since: datetime
    owners: str = "nobody"
    """The names of those who work it."""

    @property
    def title(self) -> str:
        """Return the name as people read it."""
        return readable_title(self.name)

    @property
    def description(self) -> str:
        """Return why leads are in it, "" for a queue of the policy."""
        return QUEUE_REASONS.get(self.name, "")


@dataclass(frozen=True, slots=True)
class WaitingList:
    """The queues of a person, or all, and the leads in them that have waited longest."""

    queues: Sequence[WaitingQueue]
    leads: Sequence[WaitingLead]
    histories: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """Who had each lead before, and how that ended, the newest first."""

    @property
    def count(self) -> int:
        """Return how many leads wait."""
        return sum(one.counts.waiting for one in self.queues)

    @property
    def late(self) -> int:
        """Return how many leads have waited too long."""
        return sum(one.counts.late for one in self.queues)

    def is_late(self, lead: WaitingLead) -> bool:
        """Return whether a lead of the list has waited too long."""
        return any(lead.queue == one.name and lead.entered_at <= one.late_since for one in self.queues)


def queue_calendar(policy: Policy, holidays: Holidays, now: datetime) -> WorkCalendar:
    """Return the working time in which the clocks of queues run."""
    return working_time(policy.business_hours, holidays, now)


def load_waiting(
    tx: Transaction, policy: Policy, holidays: Holidays, now: datetime, *, person: str | None, limit: int
) -> WaitingList:
    """Return what waits, in a constant number of statements: for *person*, as owner, deputy or stand-in; None: all."""
    calendar = queue_calendar(policy, holidays, now)
    rules = {name: policy.queues.rule_for(name) for name in waiting_queries.list_queues(tx)}
    if person is not None:
        cover = Cover.load(tx, policy, now)
        rules = {
            name: rule
            for name, rule in rules.items()
            if rule and person in (*rule.recipients(late=True), *cover.recipients(rule, late=True))
        }
    late_since = dict.fromkeys(rules, now) | policy.queues.late_since(rules, now, calendar)
    counts = waiting_queries.count_leads(tx, list(late_since.items()))
    queues = [
        WaitingQueue(name, rules[name], counts[name], late_since[name], _name_owners(policy, rules[name]))
        for name in sorted(counts)
    ]
    leads = waiting_queries.load_leads(tx, [(one.name, now) for one in queues], limit) if limit else []
    if not leads:
        return WaitingList(queues, leads)
    ids = [one.lead_id for one in leads]
    reasons = waiting_queries.load_reasons(tx, ids)
    handed_off = handoff_queries.load_handoff_reasons(tx, [one.lead_id for one in leads if one.queue in SALES_QUEUES])
    histories = {
        lead_id: [describe_earlier_offer(earlier_offer_values(one, policy)) for one in ended]
        for lead_id, ended in load_earlier_offers(tx, ids, MAX_EARLIER_OFFERS).items()
    }
    described = [one._replace(reason=_describe(one, handed_off, reasons, policy)) for one in leads]
    return WaitingList(queues, described, histories)


def _name_owners(policy: Policy, rule: QueueRule | None) -> str:
    people = [(id_, policy.team.find_person(id_)) for id_ in rule.owners] if rule is not None else []
    return ", ".join(found.name if found is not None else id_ for id_, found in people) or "nobody"


def describe_leads(found: WaitingList, zone: str) -> list[dict[str, object]]:
    """Return what a person reads about the leads of a list, with times in *zone*."""
    return [
        {
            "id": one.lead_id,
            "name": name_in_list(one.fields),
            "company": str(one.fields.get("company") or ""),
            "queue": readable_title(one.queue),
            "since": format_time(one.entered_at, zone),
            "late": found.is_late(one),
            "hot": bool(one.hot),
            "reason": one.reason,
            "history": list(found.histories.get(one.lead_id, ())),
        }
        for one in found.leads
    ]


def _describe(
    lead: WaitingLead, handed_off: Mapping[int, tuple[str, str]], reasons: Mapping[int, str], policy: Policy
) -> str:
    """Return why the lead was handed off, by the label of its rule; else why it came into its queue."""
    rule, reason = handed_off.get(lead.lead_id, ("", ""))
    label = rule_label(policy, rule)
    return label or name_countries(name_rules(reason or reasons.get(lead.lead_id) or lead.reason, policy))
