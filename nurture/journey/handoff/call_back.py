"""Postpone an offer to a callback date, or offer a lead on a track to a rep who asks for it."""

from datetime import date, datetime
from typing import Final

from nurture.db.locks import Lock, acquire
from nurture.domain.lead import Custodian
from nurture.domain.planning.callback import CALLBACK_RULE
from nurture.domain.policy.policy import Policy, RejectReason, Resume
from nurture.domain.policy.team import Rep
from nurture.errors import InvalidState, NotFound
from nurture.journey.handoff import queries
from nurture.journey.handoff.offer import OfferReason, offer_to_rep
from nurture.journey.handoff.recycle import recycle_leads
from nurture.journey.handoff.responses import lock_offer
from nurture.journey.handoff.why_now import CLAIMED_BY_REP
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import signal_queries, snapshot
from nurture.journey.leads.changeset import OfferRow
from nurture.journey.leads.transitions import LeadTransitions
from nurture.journey.routing.availability import is_active
from nurture.runtime.context import AppContext

CALL_LATER: Final = RejectReason(CALLBACK_RULE, "Asked to be called later", Resume())
"""What happens to a lead until its callback date: its track goes on."""


def list_colleagues(policy: Policy, rep: str, excluded: set[str], day: date) -> list[Rep]:
    """Return the reps to whom *rep* may pass a lead: active, and not in *excluded*."""
    return [one for one in policy.reps if one.id not in {rep, *excluded} and is_active(one, day)]


def call_back(ctx: AppContext, offer_id: int, on: date, now: datetime) -> OfferRow:
    """Take the lead back until *on*, the day it asked to be called; then it is offered again.

    Its track continues until then. Raises NotFound, or InvalidState if the offer was answered already.
    """
    with ctx.database.write() as tx:
        one, lead, transitions = lock_offer(ctx, tx, offer_id, now)
        queries.record_answers(tx, [(offer_id, "rejected", CALLBACK_RULE)], now)
        recycle_leads(tx, transitions, [(lead, CALL_LATER)], f"{one.rep} was asked to call on {on}")
        transitions.changes.write(tx, now)
        leads_queries.set_callback_date(tx, one.lead_id, on, now)
        signal_queries.make_due(tx, [one.lead_id], now, include_parked=True)
    return one


def claim_lead(ctx: AppContext, lead_id: int, rep_id: str, now: datetime) -> int:
    """Offer a lead that is on a track to the rep who asks for it; return the offer's id.

    Raises NotFound, or InvalidState if the lead is on no track.
    """
    with ctx.database.write() as tx:
        acquire(tx, Lock.OFFERS)
        definitions = ctx.definitions.current(tx)
        rows = snapshot.load_rows(tx, [lead_id])
        rep = definitions.policy.rep(rep_id)
        if not rows or rep is None:
            raise NotFound(f"There is no lead {lead_id} or no rep {rep_id}.")
        lead = snapshot.load_snapshots(ctx, tx, definitions, rows, now)[0]
        if lead.view.custodian is not Custodian.TRACK:
            raise InvalidState(f"Lead {lead_id} is on no track; its custodian is {lead.view.custodian.value}.")
        transitions = LeadTransitions(definitions, now, "handoff")  # capacity is not checked: the rep asked for it
        transitions.cancel_touches(lead, "handed_off")
        transitions.set_priority(lead, CLAIMED_BY_REP)  # replaces the priority and rep of earlier hand-offs
        (offer_id,) = tx.reserve_ids("offer", 1)
        reason = OfferReason(CLAIMED_BY_REP, f"{rep_id} asked for it", "it was theirs before")
        offer_to_rep(transitions, ctx.holidays, lead, rep, offer_id, reason)
        transitions.changes.write(tx, now)
    return int(offer_id)
