"""Build the profile of a lead for briefs and pages: plain text, dated, the newest first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

from nurture.db.transaction import Transaction
from nurture.domain.consent.suppression import ActiveSuppression
from nurture.domain.consent.suppression import describe_suppression as refusal
from nurture.domain.lead import Lead, Timeline
from nurture.domain.planning.callback import CALLBACK_RULE
from nurture.domain.policy.policy import Policy
from nurture.domain.scoring import bant
from nurture.journey.handoff import lead_profile_queries
from nurture.journey.handoff.lead_profile_queries import Activity, EarlierOffer, OwningAccount, SentTouch
from nurture.journey.leads import history_queries, reply_queries, suppression_queries
from nurture.journey.leads.history_queries import LeadRecord
from nurture.journey.leads.reply_queries import ReplyText
from nurture.journey.tracks.touch_email import lead_values
from nurture.mail.rendering.inert_text import defang_links, defang_values

MAX_ACTIVITIES: Final = 5
MAX_REPLIES: Final = 2
MAX_TOUCHES: Final = 3
MAX_EARLIER_OFFERS: Final = 3
MAX_REPLY_LENGTH: Final = 1_500
"""Characters of a reply that is shown alone."""

MAX_REPLY_LENGTH_IN_LIST: Final = 350
"""Characters of each reply in a one-page list."""

_BANT: Final = {bant.BUDGET: "Budget", bant.AUTHORITY: "Authority", bant.NEED: "Need", bant.TIMELINE: "Decides"}

TemplateValues = dict[str, object]
"""Plain values for a template."""


@dataclass(frozen=True)
class LeadProfiles:
    """The data shown about a batch of leads, read in a constant number of statements."""

    leads: Mapping[int, LeadRecord] = field(default_factory=dict)
    activities: Mapping[int, Sequence[Activity]] = field(default_factory=dict)
    replies: Mapping[int, Sequence[ReplyText]] = field(default_factory=dict)
    touches: Mapping[int, Sequence[SentTouch]] = field(default_factory=dict)
    earlier_offers: Mapping[int, Sequence[EarlierOffer]] = field(default_factory=dict)
    accounts: Mapping[int, OwningAccount] = field(default_factory=dict)
    suppressions: Mapping[int, Sequence[ActiveSuppression]] = field(default_factory=dict)
    """Active suppressions by address id."""

    @classmethod
    def load(cls, tx: Transaction, lead_ids: Collection[int]) -> Self:
        """Read the data shown about these leads."""
        if not lead_ids:
            return cls()
        leads = history_queries.load_lead_records(tx, lead_ids)
        address_ids = [one.address_id for one in leads.values() if one.address_id is not None]
        return cls(
            leads,
            lead_profile_queries.load_activities(tx, lead_ids, MAX_ACTIVITIES),
            reply_queries.load_latest_replies(tx, lead_ids, ("reply",), MAX_REPLIES),
            lead_profile_queries.load_touches(tx, lead_ids, MAX_TOUCHES),
            lead_profile_queries.load_earlier_offers(tx, lead_ids, MAX_EARLIER_OFFERS),
            lead_profile_queries.load_accounts(tx, lead_ids),
            suppression_queries.load_suppressions(tx, address_ids),
        )

    def lead_values_of(self, lead_id: int) -> TemplateValues:
        """Return the lead's own fields."""
        one = self.leads[lead_id]
        return lead_values(one.fields) | {"id": lead_id, "email": one.email or ""}

    def profile_of(self, lead_id: int, policy: Policy, now: datetime) -> TemplateValues:
        """Return everything else that a rep sees about the lead."""
        one = self.leads[lead_id]
        fit, fit_reason = policy.grade(one.fields)
        activities = self.activities.get(lead_id, ())
        return {
            "fit": fit,
            "fit_reason": defang_links(fit_reason),
            "score": one.score_at(policy.points, now),
            "no_email_reason": _no_email_reason(one, self.suppressions.get(one.address_id or 0, ())),
            "activities": [_activity_values(each) for each in activities],
            "replies": [reply_values(each, MAX_REPLY_LENGTH_IN_LIST) for each in self.replies.get(lead_id, ())],
            "bant": _bant_values(one),
            "call_on": format_day(one.call_on) if one.call_on is not None else "",
            "account": _account_values(self.accounts.get(lead_id), policy),
            "touches": _touch_values(self.touches.get(lead_id, ())),
            "previous_offers": [_earlier_offer_values(each, policy) for each in self.earlier_offers.get(lead_id, ())],
        }


def rep_name(policy: Policy, rep: str) -> str:
    """Return a rep's name, or the id if the policy no longer names the rep."""
    found = policy.rep(rep)
    return found.name if found is not None else rep


def format_day(at: datetime | object) -> str:
    """Return a date as briefs show it."""
    return f"{at:%d %b %Y}"


def _one_line(value: object) -> str:
    """Return untrusted text on one line, so that it cannot start a heading or list."""
    return defang_links(" ".join(str(value).split()))


def _no_email_reason(record: LeadRecord, suppressions: Sequence[ActiveSuppression]) -> str:
    """Return why the lead may not be mailed, so that its rep calls; "" if it may."""
    if record.email is None:
        return "no email address is known"
    if suppressions:
        return f"suppressed: {', '.join(refusal(each) for each in suppressions)}"
    return "" if record.consent_basis else "no consent or other legal basis is recorded"


_ACTIVITY_LABELS: Final = {
    "changed": "changed in the CRM",
    "deciding": "stated a decision date",
    "replied": "replied",
    "requested_demo": "asked for a demo",
    "submitted": "filled in a form",
    "used": "used the product",
    "visited": "visited our site",
}
"""Labels of activities whose kind alone says too little to a rep."""


def _activity_values(activity: Activity) -> TemplateValues:
    label = _ACTIVITY_LABELS.get(activity.kind, activity.kind.replace("_", " "))
    if activity.step:
        label += f" ({activity.step}{', ' + _one_line(activity.link) if activity.link else ''})"
    description = f"{label}: {_one_line(activity.value)}" if activity.value else label
    return {
        "on": format_day(activity.occurred_at),
        "description": description,
        "kind": activity.kind,
        "step": activity.step or "",
    }


def reply_values(reply: ReplyText, max_length: int = MAX_REPLY_LENGTH) -> TemplateValues:
    """Return a reply as plain lines without live links."""
    text = reply.text[:max_length] + ("..." if len(reply.text) > max_length else "")
    lines = [defang_links(line) for line in text.splitlines() if line.strip()]
    if reply.attachments:
        lines.append(f"({reply.attachments} attachment{'s' if reply.attachments > 1 else ''}, not kept)")
    author = f"another person ({defang_links(reply.sender)})" if reply.sender else "the lead"
    return {"on": format_day(reply.received_at), "author": author, "lines": lines or ["(no text)"]}


def _bant_values(record: LeadRecord) -> list[TemplateValues]:
    """Return what is known of budget, authority, need and timeline, each with source and date."""
    timeline = None
    if record.decides_on is not None and record.decides_stated_at is not None:
        timeline = Timeline(record.decides_on, record.decides_stated_at)
    lead = Lead(record.id, record.fields, timeline=timeline)
    found = {label: (name, bant.find_bant_value(name, lead)) for name, label in _BANT.items()}
    return [
        _bant_value(record, label, known, is_stated=name == bant.TIMELINE and timeline is not None)
        for label, (name, known) in found.items()
        if known is not None
    ]


def _bant_value(record: LeadRecord, label: str, bant_field: bant.BantValue, *, is_stated: bool) -> TemplateValues:
    value = f"by {format_day(record.decides_on)}" if is_stated else _one_line(bant_field.value)
    if bant_field.confidence is not bant.Confidence.STATED:
        value += f", {bant_field.confidence.name.lower()}"
    source = "stated" if is_stated else _one_line(bant_field.source) or record.source
    return {
        "name": label,
        "value": value,
        "source": source,
        "on": format_day(bant_field.stated_on or record.first_contact_at),
    }


def _account_values(account: OwningAccount | None, policy: Policy) -> TemplateValues:
    if account is None:
        return {}
    owner = rep_name(policy, account.owner) if account.owner else ""
    shown: TemplateValues = defang_values({"name": account.name, "match_reason": account.reason})
    return {**shown, "kind": account.kind, "owner": owner}


def _touch_values(touches: Sequence[SentTouch]) -> TemplateValues:
    if not touches:
        return {"count": 0, "since": "", "newest": []}
    newest = [{"on": format_day(one.at), "track": one.track or "", "email": one.email} for one in touches]
    return {"count": touches[0].total, "since": format_day(touches[0].first_at), "newest": newest}


def _earlier_offer_values(offer: EarlierOffer, policy: Policy) -> TemplateValues:
    reason = policy.reject_reasons.get(offer.reason or "")
    reason_text = reason.label if reason is not None else (offer.reason or "").replace("-", " ")
    labels = {
        "accepted": "accepted it",
        "rejected": "gave it back",
        "expired": "did not answer",
        "withdrawn": "was offered it",
        "reassigned": "passed it on",
        "lapsed": "accepted it and did not follow up",
    }
    when = format_day(offer.answered_at) if offer.answered_at is not None else ""
    summary = "was asked to call later" if offer.reason == CALLBACK_RULE else labels.get(offer.state, offer.state)
    return {
        "on": when,
        "rep": rep_name(policy, offer.rep),
        "outcome": summary,
        "reason": "" if offer.reason == CALLBACK_RULE or offer.state == "reassigned" else reason_text,
    }
