"""A hand-off as its rep sees it on a page, and what they may answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nurture.domain.planning.callback import CALL_BACK
from nurture.domain.policy.policy import RejectReason
from nurture.domain.policy.team import Rep
from nurture.errors import NotFound
from nurture.journey.handoff import queries
from nurture.journey.handoff.brief_emails import by_when
from nurture.journey.handoff.call_back import LATER, colleagues
from nurture.journey.handoff.lead_profile import Portraits, Words, name_of
from nurture.journey.handoff.queries import OfferRow
from nurture.runtime.context import House


@dataclass(frozen=True, slots=True)
class OfferShown:
    """A hand-off as its rep sees it. *reasons* and *follow_up_within* are the policy's of today.

    *until* is the deadline on the rep's own clock, *answered* when it was answered; *portrait* is what the
    brief shows of the lead; *colleagues* are those to whom it can be passed on.
    """

    offer: OfferRow
    lead: Words
    portrait: Words
    rep: str
    until: str
    answered: str
    why: str
    reasons: Mapping[str, RejectReason]
    colleagues: Sequence[Rep]
    follow_up_within: timedelta
    zone: str


def show_offer(house: House, offer_id: int, now: datetime) -> OfferShown:
    """Return what a rep needs to answer a hand-off. Raises NotFound if there is no such hand-off."""
    with house.database.read() as connection:
        offer = queries.find(house.database, connection, [offer_id]).get(offer_id)
        if offer is None:
            raise NotFound(f"There is no hand-off {offer_id}. `nurture handoffs list` lists them.")
        shown = Portraits.of(house, connection, [offer.lead_id])
        refused = queries.refused_by(house.database, connection, [offer.lead_id]).get(offer.lead_id, set())
        made_under = house.rulebooks.policy(connection, offer.policy_version)
        policy = house.rulebooks.current(connection).policy
    rep = policy.rep(offer.rep) or made_under.rep(offer.rep) or Rep(offer.rep, offer.rep, "", 0)
    return OfferShown(
        offer,
        shown.lead(offer.lead_id),
        shown.told(offer.lead_id, policy, now),
        name_of(made_under, offer.rep),
        by_when(offer.expires_at, rep),
        by_when(offer.answered_at, rep) if offer.answered_at is not None else "",
        _why(offer, policy.reject_reasons),
        policy.reject_reasons,
        colleagues(policy, offer.rep, refused, now.date()),
        policy.follow_up_within,
        rep.hours.zone,
    )


def _why(offer: OfferRow, reasons: Mapping[str, RejectReason]) -> str:
    """Say for what reason it was answered, "" where none was given."""
    if offer.reason == CALL_BACK:
        return LATER.label
    reason = reasons.get(offer.reason or "")
    return reason.label if reason is not None else ""
