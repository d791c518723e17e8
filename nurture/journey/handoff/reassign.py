"""Reassign a hand-off to another rep by hand."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

from nurture.db.locks import Lock, acquire
from nurture.db.transaction import Transaction
from nurture.domain.policy.team import Rep
from nurture.domain.routing.round_robin import RepAvailability, has_capacity
from nurture.errors import InvalidState, NotFound
from nurture.journey.handoff import queries
from nurture.journey.handoff.offer import OfferReason, offer_to_rep
from nurture.journey.handoff.queries import OfferRow
from nurture.journey.handoff.roster import require_rep
from nurture.journey.leads import snapshot
from nurture.journey.leads.transitions import LeadTransitions
from nurture.journey.routing import capacity as rep_capacity
from nurture.runtime.context import AppContext

OPEN_STATES: Final = ("offered", "accepted")


def reassign(
    ctx: AppContext,
    offer_id: int,
    to: str,
    now: datetime,
    *,
    by: str = "manually",
    force: bool = False,
    states: Collection[str] = OPEN_STATES,
) -> OfferRow:
    """Offer the lead of a hand-off to the rep *to* instead; return the previous hand-off.

    An accepted lead is taken from its rep, and belongs to the other one once they accept. Raises NotFound, or
    InvalidState if the hand-off is over, the rep is the same or lacks capacity; *force* skips the capacity check.
    *states* are those in which it may be reassigned.
    """
    with ctx.database.write() as tx:
        acquire(tx, Lock.OFFERS)
        one, rows = _lock_offer(tx, offer_id, states)
        transitions = LeadTransitions(ctx.definitions.current(tx), now, "handoff")
        policy = transitions.definitions.policy
        rep = require_rep(policy, to)
        if to == one.rep:
            raise InvalidState(f"Hand-off {offer_id} is already with {to}.")
        if not force:
            _require_capacity(rep, rep_capacity.load_capacity(ctx, tx, policy, now).team[to])
        if one.state == "offered":
            queries.record_answers(tx, [(offer_id, "reassigned", by)], now)
        else:
            queries.end_accepted_offers(tx, [(offer_id, "reassigned", by)])
        lead = snapshot.load_snapshots(tx, rows, now, ctx.holidays)[0]
        (new_offer_id,) = tx.reserve_ids("offer", 1)
        routing_reason = f"reassigned from {one.rep} {by}"
        reason = OfferReason(one.rule, one.handoff_reason, routing_reason, one.round, one.priority, one.hot)
        transitions.add_journal_entry(lead, "reassigned", f"from {one.rep} to {to} {by}", None, ref=to)
        offer_to_rep(transitions, ctx.holidays, lead, rep, new_offer_id, reason)
        transitions.changes.write(tx, now)
    return one


def _lock_offer(tx: Transaction, offer_id: int, states: Collection[str]) -> tuple[OfferRow, list[snapshot.SnapshotRow]]:
    """Lock the lead of an active hand-off; return both."""
    one = queries.load_offers(tx, [offer_id]).get(offer_id)
    if one is None:
        raise NotFound(f"There is no hand-off {offer_id}. `nurture handoffs list` lists them.")
    rows = snapshot.load_rows(tx, [one.lead_id])
    one = queries.load_offers(tx, [offer_id])[offer_id]
    is_held = bool(rows) and (one.state, rows[0].kind, rows[0].ref) in (
        ("offered", "offer", str(offer_id)),
        ("accepted", "rep", one.rep),
    )
    if one.state not in states or not is_held:
        raise InvalidState(f"Hand-off {offer_id} is over ({one.state}); nothing was changed.")
    return one, rows


def _require_capacity(rep: Rep, availability: RepAvailability) -> None:
    if not (availability.available and has_capacity(rep, availability)):
        counts = f"{availability.offers_today} of {rep.capacity} today, {availability.open_leads} in hand"
        shortage = f"is {availability.away_reason}" if availability.away_reason else f"has {counts}"
        raise InvalidState(f"{rep.id} {shortage}. Use --force to reassign anyway.")
