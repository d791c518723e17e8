"""Leads as a rep is shown them, in the mail and on the pages: plain words, dated, the newest first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

from sqlalchemy import Connection

from nurture.domain.consent.suppression import Standing
from nurture.domain.consent.suppression import told as refusal
from nurture.domain.lead import Lead, Timeline
from nurture.domain.planning.callback import CALL_BACK
from nurture.domain.policy.policy import Policy
from nurture.domain.scoring import bant, scoring
from nurture.journey.handoff import lead_profile_queries
from nurture.journey.handoff.lead_profile_queries import Deed, Earlier, Known, Owned, Touched
from nurture.journey.leads import reply_queries, snapshot, suppression_queries
from nurture.journey.leads.reply_queries import Said
from nurture.journey.tracks.touch_email import lead_values
from nurture.mail.rendering.inert_text import unlinked, unlinked_values
from nurture.runtime.context import House

MOST_DEEDS: Final = 5
MOST_REPLIES: Final = 2
MOST_TOUCHES: Final = 3
MOST_EARLIER: Final = 3
MOST_WORDS: Final = 1_500
"""Characters of a reply that are shown where it stands alone."""

MOST_OF_EACH: Final = 350
"""Characters of each reply where everything is to fit on one page."""

_BANT: Final = {
    bant.BUDGET: "Budget",
    bant.AUTHORITY: "Has a say",
    bant.NEED: "Need",
    bant.TIMELINE: "Decides",
}

Words = dict[str, object]
"""Plain values for a template."""


@dataclass(frozen=True)
class Portraits:
    """What a batch of leads is shown with, read in a constant number of statements."""

    known: Mapping[int, Known] = field(default_factory=dict)
    deeds: Mapping[int, Sequence[Deed]] = field(default_factory=dict)
    said: Mapping[int, Sequence[Said]] = field(default_factory=dict)
    touches: Mapping[int, Sequence[Touched]] = field(default_factory=dict)
    earlier: Mapping[int, Sequence[Earlier]] = field(default_factory=dict)
    accounts: Mapping[int, Owned] = field(default_factory=dict)
    standing: Mapping[int, Sequence[Standing]] = field(default_factory=dict)
    """By the id of the address: what its owner opted out of."""

    @classmethod
    def of(cls, house: House, connection: Connection, lead_ids: Collection[int]) -> Self:
        """Read what these leads are shown with."""
        if not lead_ids:
            return cls()
        database = house.database
        known = lead_profile_queries.known(database, connection, lead_ids)
        boxes = [one.address_id for one in known.values() if one.address_id is not None]
        return cls(
            known,
            lead_profile_queries.deeds(database, connection, lead_ids, MOST_DEEDS),
            reply_queries.said(database, connection, lead_ids, ("reply",), MOST_REPLIES),
            lead_profile_queries.touches(database, connection, lead_ids, MOST_TOUCHES),
            lead_profile_queries.earlier(database, connection, lead_ids, MOST_EARLIER),
            lead_profile_queries.accounts(database, connection, lead_ids),
            suppression_queries.standing(database, connection, boxes),
        )

    def lead(self, lead_id: int) -> Words:
        """Return who the lead is."""
        one = self.known[lead_id]
        return lead_values(one.facts) | {"id": lead_id, "email": one.email or ""}

    def told(self, lead_id: int, policy: Policy, now: datetime) -> Words:
        """Return everything else that a rep is shown of the lead."""
        one = self.known[lead_id]
        fit, fit_because = policy.grade(one.facts)
        deeds = self.deeds.get(lead_id, ())
        return {
            "fit": fit,
            "fit_because": unlinked(fit_because),
            "score": _score(one, policy, now),
            "no_mail": _no_mail(one, self.standing.get(one.address_id or 0, ())),
            "deeds": [_deed(each) for each in deeds],
            "replies": [told_by(each, MOST_OF_EACH) for each in self.said.get(lead_id, ())],
            "bant": _bant(one),
            "call_on": day(one.call_on) if one.call_on is not None else "",
            "account": _account(self.accounts.get(lead_id), policy),
            "touches": _touches(self.touches.get(lead_id, ())),
            "earlier": [_earlier(each, policy) for each in self.earlier.get(lead_id, ())],
        }


def name_of(policy: Policy, rep: str) -> str:
    """Return a rep's name, or the id of one whom the policy names no more."""
    found = policy.rep(rep)
    return found.name if found is not None else rep


def day(moment: datetime | object) -> str:
    """Write a day as briefs do."""
    return f"{moment:%d %b %Y}"


def _one_line(value: object) -> str:
    """Return what a stranger wrote on one line, which opens no heading or list of its own."""
    return unlinked(" ".join(str(value).split()))


def _no_mail(one: Known, standing: Sequence[Standing]) -> str:
    """Return why the lead may not be mailed, so that its rep calls; "" if it may."""
    if one.email is None:
        return "no email address is known"
    if standing:
        return f"suppressed: {', '.join(refusal(each) for each in standing)}"
    return "" if one.basis else "no consent or other legal basis is recorded"


def _score(one: Known, policy: Policy, now: datetime) -> float:
    sums = one.engagement, one.engagement_2, one.engagement_3, one.engagement_4
    engagement = snapshot.kept(sums, one.engagement_at, one.scored_under)
    return round(scoring.value_at(engagement, policy.points, max(now, one.engagement_at or now)), 1)


_DEEDS: Final = {
    "changed": "changed in the CRM",
    "deciding": "said when they decide",
    "replied": "wrote back",
    "requested_demo": "asked for a demo",
    "submitted": "filled in a form",
    "used": "used the product",
    "visited": "came to our site",
}
"""What a deed is called where its name alone says too little to a rep."""


def _deed(one: Deed) -> Words:
    told = _DEEDS.get(one.kind, one.kind.replace("_", " "))
    if one.step:
        told += f" ({one.step}{', ' + _one_line(one.link) if one.link else ''})"
    what = f"{told}: {_one_line(one.value)}" if one.value else told
    return {"on": day(one.occurred_at), "what": what, "kind": one.kind, "step": one.step or ""}


def told_by(one: Said, most: int = MOST_WORDS) -> Words:
    """Return what one answer says, as plain lines without live links."""
    text = one.text[:most] + ("..." if len(one.text) > most else "")
    lines = [unlinked(line) for line in text.splitlines() if line.strip()]
    if one.attachments:
        lines.append(f"({one.attachments} attachment{'s' if one.attachments > 1 else ''}, not kept)")
    who = f"somebody else ({unlinked(one.sender)})" if one.sender else "the lead"
    return {"on": day(one.received_at), "who": who, "lines": lines or ["(no words)"]}


def _bant(one: Known) -> list[Words]:
    """Return what is known of budget, authority, need and timeline, each with its source and date."""
    timeline = None
    if one.decides_on is not None and one.decides_stated_at is not None:
        timeline = Timeline(one.decides_on, one.decides_stated_at)
    lead = Lead(one.id, one.facts, timeline=timeline)
    found = {label: (field, bant.known(field, lead)) for field, label in _BANT.items()}
    return [
        _known(one, label, known, by=field == bant.TIMELINE and timeline is not None)
        for label, (field, known) in found.items()
        if known is not None
    ]


def _known(one: Known, label: str, known: bant.Known, *, by: bool) -> Words:
    value = f"by {day(one.decides_on)}" if by else _one_line(known.value)
    if known.sure is not bant.Sure.TOLD:
        value += f", {known.sure.name.lower()}"
    source = "said so" if by else _one_line(known.source) or one.source
    return {"name": label, "value": value, "source": source, "on": day(known.on or one.first_contact_at)}


def _account(one: Owned | None, policy: Policy) -> Words:
    if one is None:
        return {}
    owner = name_of(policy, one.owner) if one.owner else ""
    shown: Words = unlinked_values({"name": one.name, "because": one.because})
    return {**shown, "kind": one.kind, "owner": owner}


def _touches(found: Sequence[Touched]) -> Words:
    if not found:
        return {"count": 0, "since": "", "newest": []}
    newest = [{"on": day(one.at), "track": one.track or "", "email": one.email} for one in found]
    return {"count": found[0].in_all, "since": day(found[0].first_at), "newest": newest}


def _earlier(one: Earlier, policy: Policy) -> Words:
    reason = policy.reject_reasons.get(one.reason or "")
    why = reason.label if reason is not None else (one.reason or "").replace("-", " ")
    what = {
        "accepted": "took it",
        "rejected": "gave it back",
        "expired": "did not answer",
        "withdrawn": "had it on offer",
        "reassigned": "passed it on",
        "lapsed": "took it and did not follow up",
    }
    when = day(one.answered_at) if one.answered_at is not None else ""
    told = "was asked to call later" if one.reason == CALL_BACK else what.get(one.state, one.state)
    return {
        "on": when,
        "rep": name_of(policy, one.rep),
        "what": told,
        "why": "" if one.reason == CALL_BACK or one.state == "reassigned" else why,
    }
