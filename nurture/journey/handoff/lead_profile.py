"""Build the profile of a lead for briefs and pages: plain text, dated, the newest first."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self
from urllib.parse import quote

from nurture.crm.base import Crm
from nurture.db.transaction import Transaction
from nurture.domain.code_names import readable
from nurture.domain.consent.suppression import ActiveSuppression, SuppressionSource
from nurture.domain.lead import FieldValues, Lead, Timeline, full_name
from nurture.domain.planning.callback import CALLBACK_RULE
from nurture.domain.policy.policy import Policy
from nurture.domain.replies import MACHINE_CLASSES, ReplyClass
from nurture.domain.scoring import bant
from nurture.domain.signals import SignalKind
from nurture.formats.places import country_name, name_countries
from nurture.journey.accounts.company_talks import CompanyTalk, find_colleagues
from nurture.journey.handoff import lead_profile_queries
from nurture.journey.handoff.lead_profile_queries import Activity, EarlierOffer, OwningAccount, SentTouch
from nurture.journey.handoff.why_now import describe_why_now, read_decision_date
from nurture.journey.leads import consent_queries, history_queries
from nurture.journey.leads.changeset import OfferRow
from nurture.journey.leads.history_queries import LeadRecord
from nurture.journey.leads.reply_queries import ReplyRecord
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

_NOT_DIALED: Final = re.compile(r"[\s()/.\-]")
_DIALED: Final = re.compile(r"\+?[0-9]{5,15}")

TemplateValues = dict[str, object]
"""Plain values for a template."""


@dataclass(frozen=True)
class LeadProfiles:
    """The data shown about a batch of leads, read in a constant number of statements."""

    leads: Mapping[int, LeadRecord] = field(default_factory=dict)
    activities: Mapping[int, Sequence[Activity]] = field(default_factory=dict)
    replies: Mapping[int, Sequence[ReplyRecord]] = field(default_factory=dict)
    touches: Mapping[int, Sequence[SentTouch]] = field(default_factory=dict)
    earlier_offers: Mapping[int, Sequence[EarlierOffer]] = field(default_factory=dict)
    accounts: Mapping[int, OwningAccount] = field(default_factory=dict)
    suppressions: Mapping[int, Sequence[ActiveSuppression]] = field(default_factory=dict)
    """Active suppressions by address id."""
    crm_urls: Mapping[int, str] = field(default_factory=dict)
    """The pages of leads in the CRM."""
    colleagues: Mapping[int, CompanyTalk] = field(default_factory=dict)
    """Another lead of the same company that sales has."""
    colleague_records: Mapping[int, LeadRecord] = field(default_factory=dict)

    @classmethod
    def load(cls, tx: Transaction, lead_ids: Collection[int], crm: Crm | None = None) -> Self:
        """Read the data shown about these leads; *crm* is the one that has their pages."""
        if not lead_ids:
            return cls()
        leads = history_queries.load_lead_records(tx, lead_ids)
        address_ids = [one.address_id for one in leads.values() if one.address_id is not None]
        colleagues = find_colleagues(tx, {id_: one.fields for id_, one in leads.items()})
        named = {one.lead_id for one in colleagues.values()}
        return cls(
            leads,
            lead_profile_queries.load_activities(tx, lead_ids, MAX_ACTIVITIES),
            lead_profile_queries.load_replies(tx, lead_ids, set(ReplyClass) - MACHINE_CLASSES, MAX_REPLIES),
            lead_profile_queries.load_touches(tx, lead_ids, MAX_TOUCHES),
            lead_profile_queries.load_earlier_offers(tx, lead_ids, MAX_EARLIER_OFFERS),
            lead_profile_queries.load_accounts(tx, lead_ids),
            consent_queries.load_refusals(tx, address_ids),
            _crm_urls(tx, lead_ids, crm),
            colleagues,
            history_queries.load_lead_records(tx, named) if named else {},
        )

    def why_now_of(self, offer: OfferRow, policy: Policy, now: datetime) -> str:
        """Return why the lead of *offer* is handed off now, see `describe_why_now`."""
        return describe_why_now(offer, policy, self.activities.get(offer.lead_id, ()), now)

    def contact_of(self, lead_id: int) -> dict[str, str]:
        """Return the links by which a rep reaches the lead: `tel:`, `mailto:`, its page in the CRM; "" if not known."""
        email = self.leads[lead_id].email
        return {
            "mail_url": f"mailto:{quote(email, safe='@')}" if email else "",
            "call_url": _call_url(str(self.leads[lead_id].fields.get("phone") or "")),
            "crm_url": self.crm_urls.get(lead_id, ""),
        }

    def _colleague_values(self, lead_id: int, policy: Policy) -> TemplateValues:
        talk = self.colleagues.get(lead_id)
        if talk is None or policy.one_rep_per_company is None:
            return {}
        name = full_name(self.colleague_records[talk.lead_id].fields) or "a lead without a name"
        return {"name": _one_line(name), "lead_id": talk.lead_id, "rep": rep_name(policy, talk.rep)}

    def lead_values_of(self, lead_id: int) -> TemplateValues:
        """Return the lead's own fields."""
        one = self.leads[lead_id]
        return lead_values_for_sales(lead_id, one.fields, one.email)

    def profile_of(self, lead_id: int, policy: Policy, now: datetime) -> TemplateValues:
        """Return everything else that a rep sees about the lead."""
        one = self.leads[lead_id]
        fit, fit_reason = policy.grade(one.fields)
        activities = self.activities.get(lead_id, ())
        return {
            "fit": fit,
            "fit_reason": defang_links(name_countries(fit_reason)),
            "score": one.score_at(policy.points, now),
            "no_email_reason": _no_email_reason(one, self.suppressions.get(one.address_id or 0, ())),
            "activities": [_activity_values(each) for each in activities],
            "replies": [reply_values(each, MAX_REPLY_LENGTH_IN_LIST) for each in self.replies.get(lead_id, ())],
            "bant": _bant_values(one),
            "call_on": format_day(one.call_on) if one.call_on is not None else "",
            "colleague": self._colleague_values(lead_id, policy),
            "account": _account_values(self.accounts.get(lead_id), policy),
            "touches": _touch_values(self.touches.get(lead_id, ())),
            "previous_offers": [earlier_offer_values(each, policy) for each in self.earlier_offers.get(lead_id, ())],
        }


def lead_values_for_sales(lead_id: int, fields: FieldValues, email: str | None) -> TemplateValues:
    """Return the fields of a lead as its rep reads them: the country by its name."""
    country = country_name(str(fields.get("country") or ""))
    return lead_values(fields) | {"id": lead_id, "email": email or "", "country": country}


def _crm_urls(tx: Transaction, lead_ids: Collection[int], crm: Crm | None) -> dict[int, str]:
    if crm is None or not crm.record_url("0"):
        return {}
    found = lead_profile_queries.load_crm_ids(tx, crm.name, lead_ids)
    return {lead_id: crm.record_url(crm_id) for lead_id, crm_id in found.items()}


def _call_url(phone: str) -> str:
    digits = _NOT_DIALED.sub("", phone.partition("(0)")[0] + phone.partition("(0)")[2])
    return f"tel:{digits}" if _DIALED.fullmatch(digits) else ""


def rep_name(policy: Policy, rep: str) -> str:
    """Return a rep's name, or the id if the policy no longer names the rep."""
    found = policy.rep(rep)
    return found.name if found is not None else rep


def describe_routing(routing_reason: str, policy: Policy) -> str:
    """Return why a rep got a lead, without the rules that did not apply, and with the names of people and countries."""
    rules = "|".join(re.escape(one.name) for one in policy.routing_plan.rules)
    last = name_countries(re.split(rf"(?:^|; )(?:{rules}): ", routing_reason)[-1])
    names = {one.id: one.name for one in policy.team.managers} | {one.id: one.name for one in policy.reps}
    ids = "|".join(map(re.escape, names))
    return re.sub(rf"(?<![\w-])(?:{ids})(?![\w-])", lambda found: names[found[0]], last)


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
        return ", ".join(dict.fromkeys(_describe_refusal(each) for each in suppressions))
    return "" if record.consent_basis else "no consent or other legal basis is recorded"


def _describe_refusal(one: ActiveSuppression) -> str:
    mail = {"global": "email", "topic": f"email about {one.ref}"}.get(one.scope, f"email of the track {one.ref}")
    return _REFUSAL_LABELS.get(one.source, "they want no {}").format(mail)


_REFUSAL_LABELS: Final = {
    SuppressionSource.BOUNCE: "their mailbox does not take {}",
    SuppressionSource.COMPLAINT: "they reported {} as spam",
    SuppressionSource.IMPORT: "a list says that they want no {}",
    SuppressionSource.PROVIDER: "the email provider delivers no {} to them",
}
"""Why a lead gets no mail, for its rep, by who caused it."""

_ACTIVITY_LABELS: Final = {
    "changed": "changed in the CRM",
    "deciding": "said when they decide",
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
        label += f" ({readable(activity.step)}{', ' + _one_line(activity.link) if activity.link else ''})"
    decides = read_decision_date(activity.value) if activity.kind == SignalKind.DECIDING else None
    value = f"by {format_day(decides)}" if decides is not None else activity.value
    description = f"{label}: {_one_line(value)}" if value else label
    return {
        "on": format_day(activity.occurred_at),
        "description": description,
        "kind": activity.kind,
        "step": activity.step or "",
    }


def reply_values(reply: ReplyRecord, max_length: int = MAX_REPLY_LENGTH) -> TemplateValues:
    """Return a reply as plain lines without live links."""
    text = reply.text[:max_length] + ("..." if len(reply.text) > max_length else "")
    lines = [defang_links(line) for line in text.splitlines() if line.strip()]
    if reply.attachments:
        named = ", ".join(map(_one_line, reply.attachments))
        lines.append(f"(attached, and not kept: {named})")
    author = f"another person ({defang_links(reply.sender)})" if reply.sender else "the lead"
    return {
        "on": format_day(reply.received_at),
        "author": author,
        "lines": lines or ["(no text)"],
        "meaning": _one_line(describe_reply(reply)),
    }


def describe_reply(reply: ReplyRecord) -> str:
    """Return what a reply means, with the evidence and what it names: a day, a time (UTC), a person."""
    named = (
        f"on {reply.meets_at:%a %d %B %Y, %H:%M} UTC" if reply.meets_at is not None else "",
        f"until {format_day(reply.returns_on)}" if reply.returns_on is not None else "",
        f"names {reply.contact}" if reply.contact else "",
        reply.evidence,
    )
    return "; ".join(part for part in (ReplyClass(reply.kind).label, *named) if part)


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
    if label == _BANT[bant.TIMELINE] and value.isdecimal():
        value = f"within {value} days"
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
    newest = [{"on": format_day(one.at), "track": one.track or "", "email": readable(one.email)} for one in touches]
    return {"count": touches[0].total, "since": format_day(touches[0].first_at), "newest": newest}


def describe_earlier_offer(values: TemplateValues) -> str:
    """Return one earlier offer as a sentence: who had the lead, how it ended, and what the rep wrote."""
    said = "".join(f": {values[part]}" for part in ("reason", "note") if values[part])
    return f"{values['rep']} {values['outcome']}{said}" + (f" ({values['on']})" if values["on"] else "")


def describe_lapse(reason: str | None) -> str:
    """Return what the rep of an accepted lead did not do in time."""
    if " is gone since " in (reason or ""):
        return "left"
    return "did not say how it stands" if "say how it stands" in (reason or "") else "did not follow up"


def is_passed_on(rep: str, reason: str | None) -> bool:
    """Return whether the rep of a reassigned hand-off gave it to a colleague; else somebody else did."""
    return reason == f"by {rep}"


def earlier_offer_values(offer: EarlierOffer, policy: Policy) -> TemplateValues:
    """Return what a person reads about an offer that ended."""
    reason = policy.reject_reasons.get(offer.reason or "")
    reason_text = reason.label if reason is not None else (offer.reason or "").replace("-", " ")
    labels = {
        "accepted": "accepted it",
        "rejected": "gave it back",
        "expired": "did not answer",
        "withdrawn": "was offered it",
        "reassigned": "passed it on" if is_passed_on(offer.rep, offer.reason) else "had it before another rep got it",
        "lapsed": f"accepted it and {describe_lapse(offer.reason)}",
    }
    has_reason = offer.reason != CALLBACK_RULE and offer.state not in ("reassigned", "lapsed")
    when = format_day(offer.answered_at) if offer.answered_at is not None else ""
    summary = "was asked to call later" if offer.reason == CALLBACK_RULE else labels.get(offer.state, offer.state)
    return {
        "on": when,
        "rep": rep_name(policy, offer.rep),
        "outcome": summary,
        "reason": reason_text if has_reason else "",
        "note": _one_line(offer.note or ""),
    }
