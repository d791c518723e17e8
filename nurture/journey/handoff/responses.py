"""Record a rep's response to an offer: accept or reject."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

from nurture.db.transaction import Transaction
from nurture.domain.consent.suppression import SuppressionSource
from nurture.domain.lead import Custodian, Timeline
from nurture.domain.planning.calendar import Holidays
from nurture.domain.policy.policy import Policy, RejectReason
from nurture.errors import InvalidState, NotFound
from nurture.journey.consent import suppression
from nurture.journey.consent.suppression import OptOut
from nurture.journey.handoff import queries
from nurture.journey.handoff.escalation import describe_step, follow_up_escalation
from nurture.journey.handoff.queries import OfferRow
from nurture.journey.handoff.recycle import recycle_leads
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import snapshot
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import LeadTransitions
from nurture.runtime.context import AppContext


def accept(ctx: AppContext, offer_id: int, now: datetime) -> OfferRow:
    """Give the lead to the rep and end its track. Raises NotFound, or InvalidState if already answered."""
    with ctx.database.write() as tx:
        one, lead, transitions = lock_open_offer(ctx, tx, offer_id, now)
        queries.record_answers(tx, [(offer_id, "accepted", None)], now)
        transitions.end_enrollment(lead, "accepted", "handed_off")
        action, due = _follow_up_action(ctx.holidays, transitions.definitions.policy, one, now)
        moved = transitions.set_custody(lead, Custodian.REP, one.rep, action, due)
        transitions.add_journal_entry(lead, "accepted", f"{one.rep} accepted: {one.handoff_reason}", moved, ref=one.rep)
        transitions.changes.write(tx, now)
    return one


def _follow_up_action(holidays: Holidays, policy: Policy, offer: OfferRow, now: datetime) -> tuple[str, datetime]:
    """Return the rep's next action, and when to check that it was done."""
    escalation = follow_up_escalation(policy, holidays, offer._replace(answered_at=now))
    if not escalation:
        return f"{offer.rep} follows up", now + policy.follow_up_within
    return f"{offer.rep} follows up; else {describe_step(policy, offer.rep, escalation[0])}", escalation[0].due_at


def reject(ctx: AppContext, offer_id: int, reason: str, now: datetime, decides_on: date | None = None) -> OfferRow:
    """Take the lead back and recycle it as the policy says for *reason*.

    *decides_on* is a decision date that the rep learned; the lead is due then. Raises NotFound, or InvalidState if
    the reason is unknown or the offer was answered already.
    """
    with ctx.database.write() as tx:
        one, lead, transitions = lock_open_offer(ctx, tx, offer_id, now)
        reject_reason = _require_reject_reason(transitions.definitions.policy, reason)
        queries.record_answers(tx, [(offer_id, "rejected", reason)], now)
        if decides_on is not None:
            lead = _with_timeline(lead, decides_on, now)
        recycle_leads(tx, transitions, [(lead, reject_reason)], f"{one.rep} rejected: {reject_reason.code}")
        if reject_reason.suppress and lead.address_id is not None:
            suppression.opt_out(tx, [OptOut(lead.address_id, SuppressionSource.ADMIN)], now)
        transitions.changes.write(tx, now)
        if decides_on is not None:
            leads_queries.set_timeline(tx, one.lead_id, decides_on, now)
    return one


def _with_timeline(lead: LeadSnapshot, decides_on: date, now: datetime) -> LeadSnapshot:
    updated = replace(lead.view.lead, timeline=Timeline(decides_on, now))
    return replace(lead, view=replace(lead.view, lead=updated))


def _require_reject_reason(policy: Policy, reason: str) -> RejectReason:
    reject_reason = policy.reject_reasons.get(reason)
    if reject_reason is None:
        known = ", ".join(sorted(policy.reject_reasons))
        raise InvalidState(f"Unknown reject reason {reason!r}. Choose one of: {known}.")
    return reject_reason


def lock_open_offer(
    ctx: AppContext, tx: Transaction, offer_id: int, now: datetime
) -> tuple[OfferRow, LeadSnapshot, LeadTransitions]:
    """Lock the lead of an open offer. Raises NotFound, or InvalidState if answered already."""
    one = queries.load_offers(tx, [offer_id]).get(offer_id)
    if one is None:
        raise NotFound(f"There is no hand-off {offer_id}. `nurture handoffs list` lists them.")
    definitions = ctx.definitions.current(tx)
    rows = snapshot.load_rows(tx, [one.lead_id])
    one = queries.load_offers(tx, [offer_id])[offer_id]
    if one.state != "offered":
        when = f" on {one.answered_at:%Y-%m-%d}" if one.answered_at else ""
        verb = "had" if one.state in ("expired", "lapsed") else "was"
        raise InvalidState(f"Hand-off {offer_id} {verb} already {one.state}{when}; nothing was changed.")
    claimed = snapshot.load_snapshots(tx, rows, now, ctx.holidays)
    return one, claimed[0], LeadTransitions(definitions, now, "handoff")
