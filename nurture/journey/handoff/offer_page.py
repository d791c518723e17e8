"""Load a hand-off for the page on which its rep answers it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from nurture.domain.planning.callback import CALLBACK_RULE
from nurture.domain.policy.crm_status import SalesStatus
from nurture.domain.policy.policy import RejectReason
from nurture.domain.policy.team import Rep
from nurture.errors import NotFound
from nurture.journey.handoff import queries
from nurture.journey.handoff.call_back import CALL_LATER, list_colleagues
from nurture.journey.handoff.lead_profile import LeadProfiles, TemplateValues, describe_routing, format_day, rep_name
from nurture.journey.handoff.rep_emails import format_deadline
from nurture.journey.handoff.responses import follow_up_action, is_held
from nurture.journey.leads.changeset import OfferRow
from nurture.runtime.context import AppContext


@dataclass(frozen=True, slots=True)
class OfferDetails:
    """A hand-off as its rep sees it. *reject_reasons* are of the current policy.

    *answer_by* is the deadline in the rep's time zone, *answered_on* the date of the answer; *profile* is what the
    brief shows of the lead, *contact* the links that reach it; *colleagues* are the reps it can be passed on to.
    *in_hand*: the rep accepted the lead and still has it; *stands* says since when it is without contact.
    """

    offer: OfferRow
    lead: TemplateValues
    profile: TemplateValues
    rep: str
    answer_by: str
    answered_on: str
    answer_reason: str
    reject_reasons: Mapping[str, RejectReason]
    colleagues: Sequence[Rep]
    follow_up_by: str
    """When the first contact is due if the rep accepts now."""
    zone: str
    why_now: str
    why_this_rep: str
    contact: Mapping[str, str]
    in_hand: bool
    stands: str


def load_offer_details(ctx: AppContext, offer_id: int, now: datetime) -> OfferDetails:
    """Return the details of a hand-off. Raises NotFound if there is none of this id."""
    with ctx.database.read() as tx:
        offer = queries.load_offers(tx, [offer_id]).get(offer_id)
        if offer is None:
            raise NotFound(f"There is no hand-off {offer_id}. `nurture handoffs list` lists them.")
        profiles = LeadProfiles.load(tx, [offer.lead_id], ctx.crm)
        excluded = queries.load_excluded_reps(tx, [offer.lead_id]).get(offer.lead_id, set())
        offer_policy = ctx.definitions.policy(tx, offer.policy_version)
        policy = ctx.definitions.current(tx).policy
    record = profiles.leads[offer.lead_id]
    rep = policy.rep(offer.rep) or offer_policy.rep(offer.rep) or Rep(offer.rep, offer.rep, "", 0)
    return OfferDetails(
        offer,
        profiles.lead_values_of(offer.lead_id),
        profiles.profile_of(offer.lead_id, policy, now),
        rep_name(offer_policy, offer.rep),
        format_deadline(offer.expires_at, rep),
        format_deadline(offer.answered_at, rep) if offer.answered_at is not None else "",
        _answer_reason(offer, policy.reject_reasons),
        policy.reject_reasons,
        list_colleagues(policy, offer.rep, excluded, now.date()),
        format_deadline(follow_up_action(ctx.holidays, policy, offer, now)[1], rep),
        rep.hours.zone,
        profiles.why_now_of(offer, offer_policy, now),
        describe_routing(offer.routing_reason, offer_policy),
        profiles.contact_of(offer.lead_id),
        offer.state == "accepted" and is_held(offer, record.kind or "", record.ref or ""),
        _describe_work(offer),
    )


def _describe_work(offer: OfferRow) -> str:
    """Return how far the rep is with an accepted lead."""
    if offer.touched_at is None:
        return "No contact is recorded yet."
    stage = ", in talks" if offer.stage == SalesStatus.IN_TALKS else ""
    agreed = f"; next step on {format_day(offer.next_step_on)}" if offer.next_step_on is not None else ""
    return f"Last contact on {format_day(offer.touched_at)}{stage}{agreed}."


def _answer_reason(offer: OfferRow, reasons: Mapping[str, RejectReason]) -> str:
    """Return the reason given with the answer, "" if none."""
    if offer.reason == CALLBACK_RULE:
        return CALL_LATER.label
    reason = reasons.get(offer.reason or "")
    return reason.label if reason is not None else ""
