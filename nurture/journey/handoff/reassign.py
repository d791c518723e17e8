"""Reassign a hand-off to another rep by hand."""

from collections.abc import Collection
from datetime import datetime

from nurture.db.locks import Lock, acquire
from nurture.domain.policy.team import Rep
from nurture.domain.routing.round_robin import RepAvailability, has_capacity
from nurture.errors import InvalidState
from nurture.journey.handoff import queries
from nurture.journey.handoff.offer import OfferReason, offer_to_rep
from nurture.journey.handoff.responses import HELD_STATES, lock_offer
from nurture.journey.handoff.roster import require_rep
from nurture.journey.leads.changeset import OfferRow
from nurture.journey.routing import capacity as rep_capacity
from nurture.runtime.context import AppContext


def reassign(
    ctx: AppContext,
    offer_id: int,
    to: str,
    now: datetime,
    *,
    by: str = "manually",
    force: bool = False,
    states: Collection[str] = HELD_STATES,
) -> OfferRow:
    """Offer the lead of a hand-off to the rep *to* instead; return the previous hand-off.

    An accepted lead is taken from its rep, and belongs to the other one once they accept. Raises NotFound, or
    InvalidState if the hand-off is over, the rep is the same or lacks capacity; *force* skips the capacity check.
    *states* are those in which it may be reassigned.
    """
    with ctx.database.write() as tx:
        acquire(tx, Lock.OFFERS)
        one, lead, transitions = lock_offer(ctx, tx, offer_id, now, states)
        policy = transitions.definitions.policy
        rep = require_rep(policy, to)
        if to == one.rep:
            raise InvalidState(f"Hand-off {offer_id} is already with {to}.")
        if not force:
            _require_capacity(rep, rep_capacity.load_capacity(ctx, tx, policy, now).team[to])
        if one.state == "offered":
            queries.record_answers(tx, [(offer_id, "reassigned", by)], now)
        else:
            queries.end_accepted_offers(tx, [(offer_id, "reassigned", by)], now)
        (new_offer_id,) = tx.reserve_ids("offer", 1)
        routing_reason = f"reassigned from {one.rep} {by}"
        reason = OfferReason(one.rule, one.handoff_reason, routing_reason, one.round, one.priority, one.hot)
        transitions.add_journal_entry(lead, "reassigned", f"from {one.rep} to {to} {by}", None, ref=to)
        offer_to_rep(transitions, ctx.holidays, lead, rep, new_offer_id, reason)
        transitions.changes.write(tx, now)
    return one


def _require_capacity(rep: Rep, availability: RepAvailability) -> None:
    if not (availability.available and has_capacity(rep, availability)):
        counts = f"{availability.offers_today} of {rep.capacity} today, {availability.open_leads} in hand"
        shortage = f"is {availability.away_reason}" if availability.away_reason else f"has {counts}"
        raise InvalidState(f"{rep.id} {shortage}. Use --force to reassign anyway.")
