"""Record a rep's response to a hand-off: accept it, or give the lead back at any time."""

from collections.abc import Collection
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Final

from nurture.db.transaction import Transaction
from nurture.domain.consent.suppression import SuppressionSource
from nurture.domain.lead import Custodian, Timeline
from nurture.domain.planning.calendar import Holidays, start_of_day
from nurture.domain.planning.program import ToClosed
from nurture.domain.policy.policy import Policy, RejectReason
from nurture.errors import InvalidState, NotFound
from nurture.journey.consent import suppression
from nurture.journey.consent.suppression import OptOut
from nurture.journey.handoff import queries
from nurture.journey.handoff.escalation import describe_step, follow_up_escalation
from nurture.journey.handoff.recycle import recycle_leads
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import snapshot
from nurture.journey.leads.changeset import OfferRow
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import LeadTransitions
from nurture.journey.routing.availability import is_active
from nurture.runtime.context import AppContext

_SOONEST_RETURN: Final = timedelta(days=1)
MAX_NOTE_LENGTH: Final = 300

HELD_STATES: Final = ("offered", "accepted")
"""States of a hand-off whose rep has the lead, or was offered it."""


def accept(ctx: AppContext, offer_id: int, now: datetime) -> OfferRow:
    """Give the lead to the rep and end its track. Raises NotFound, or InvalidState if answered, or the rep left."""
    with ctx.database.write() as tx:
        one, lead, transitions = lock_offer(ctx, tx, offer_id, now)
        rep = transitions.definitions.policy.rep(one.rep)
        if rep is None or not is_active(rep, now.date()):
            next_move = f"the next run offers lead {one.lead_id} to another rep"
            raise InvalidState(f"{one.rep} has left, or is no longer in the policy; {next_move}.")
        queries.record_answers(tx, [(offer_id, "accepted", None)], now)
        transitions.end_enrollment(lead, "accepted", "handed_off")
        action, due = follow_up_action(ctx.holidays, transitions.definitions.policy, one, now)
        moved = transitions.set_custody(lead, Custodian.REP, one.rep, action, due)
        transitions.add_journal_entry(lead, "accepted", f"{one.rep} accepted: {one.handoff_reason}", moved, ref=one.rep)
        transitions.changes.write(tx, now)
    return one


def follow_up_action(holidays: Holidays, policy: Policy, offer: OfferRow, now: datetime) -> tuple[str, datetime]:
    """Return the rep's next action, and when to check that it was done."""
    escalation = follow_up_escalation(policy, holidays, offer._replace(answered_at=now))
    if not escalation:
        return f"{offer.rep} follows up", now + policy.follow_up_within
    return f"{offer.rep} follows up; else {describe_step(policy, offer.rep, escalation[0])}", escalation[0].due_at


def reject(
    ctx: AppContext, offer_id: int, reason: str, now: datetime, decides_on: date | None = None, note: str = ""
) -> OfferRow:
    """Take the lead of an open or accepted offer back, and recycle it as the policy says for *reason*.

    *decides_on* is a date that the rep learned; the lead is due by then. *note* is what else the rep learned, such as
    who decides. Raises NotFound, or InvalidState if the reason is unknown or the hand-off is over.
    """
    with ctx.database.write() as tx:
        one, lead, transitions = lock_offer(ctx, tx, offer_id, now, HELD_STATES)
        reject_reason = _require_reject_reason(transitions.definitions.policy, reason)
        if one.state == "offered":
            queries.record_answers(tx, [(offer_id, "rejected", reason)], now)
        else:
            queries.end_accepted_offers(tx, [(offer_id, "rejected", reason)], now)
        if note:
            queries.save_note(tx, offer_id, " ".join(note.split())[:MAX_NOTE_LENGTH])
        if decides_on is not None:
            lead = _with_timeline(lead, decides_on, now)
            reject_reason = _with_return(reject_reason, decides_on, now)
        did = "rejected" if one.state == "offered" else "gave it back"
        recycle_leads(tx, transitions, [(lead, reject_reason)], f"{one.rep} {did}: {reject_reason.code}")
        if reject_reason.suppress and lead.address_id is not None:
            suppression.opt_out(tx, [OptOut(lead.address_id, SuppressionSource.ADMIN)], now)
        transitions.changes.write(tx, now)
        if decides_on is not None:
            leads_queries.set_timeline(tx, one.lead_id, decides_on, now)
    return one


def _with_return(reason: RejectReason, on: date, now: datetime) -> RejectReason:
    """Return *reason*; a lead that it closes for a time rests until that time before *on*."""
    if not reason.return_before or not isinstance(reason.then, ToClosed):
        return reason
    again_at = start_of_day(on, "UTC") - reason.return_before
    then = replace(reason.then, again_after=None)
    return replace(reason, then=then, cool_off=max(again_at - now, _SOONEST_RETURN))


def _with_timeline(lead: LeadSnapshot, decides_on: date, now: datetime) -> LeadSnapshot:
    updated = replace(lead.view.lead, timeline=Timeline(decides_on, now))
    return replace(lead, view=replace(lead.view, lead=updated))


def _require_reject_reason(policy: Policy, reason: str) -> RejectReason:
    reject_reason = policy.reject_reasons.get(reason)
    if reject_reason is None:
        known = ", ".join(sorted(policy.reject_reasons))
        raise InvalidState(f"Unknown reject reason {reason!r}. Choose one of: {known}.")
    return reject_reason


def stop_mail(ctx: AppContext, offer_id: int, now: datetime) -> bool:
    """Record that the lead told its rep that it wants no mail; return whether that is new. It stays with the rep.

    Raises NotFound, or InvalidState if the hand-off is over or the lead has no address.
    """
    with ctx.database.write() as tx:
        one, lead, transitions = lock_offer(ctx, tx, offer_id, now, HELD_STATES)
        if lead.address_id is None:
            raise InvalidState(f"Lead {one.lead_id} has no email address: it gets no mail.")
        opt_out = OptOut(lead.address_id, SuppressionSource.ADMIN, evidence=f"stated to {one.rep}")
        (is_new,) = suppression.opt_out(tx, [opt_out], now)
        if is_new:
            transitions.add_journal_entry(
                lead, "opted_out", f"wants no mail, as it said to {one.rep}", None, ref=one.rep
            )
            transitions.changes.write(tx, now)
    return is_new


def is_held(offer: OfferRow, custodian: str, ref: str) -> bool:
    """Return whether the lead with this custodian is with the rep of *offer*, or offered by it."""
    return (offer.state, custodian, ref) in (
        ("offered", Custodian.OFFER.value, str(offer.id)),
        ("accepted", Custodian.REP.value, offer.rep),
    )


def lock_offer(
    ctx: AppContext, tx: Transaction, offer_id: int, now: datetime, states: Collection[str] = ("offered",)
) -> tuple[OfferRow, LeadSnapshot, LeadTransitions]:
    """Lock the lead of a hand-off that is in one of *states*. Raises NotFound, or InvalidState if it is not."""
    one = queries.load_offers(tx, [offer_id]).get(offer_id)
    if one is None:
        raise NotFound(f"There is no hand-off {offer_id}. `nurture handoffs list` lists them.")
    definitions = ctx.definitions.current(tx)
    rows = snapshot.load_rows(tx, [one.lead_id])
    one = queries.load_offers(tx, [offer_id])[offer_id]
    if one.state not in states or not rows or not is_held(one, rows[0].kind, rows[0].ref):
        at = one.ended_at or one.answered_at
        when = f" on {at:%Y-%m-%d}" if at else ""
        verb = "had" if one.state in ("expired", "lapsed") else "was"
        over = ", and the lead has left the rep since" if one.state == "accepted" in states else ""
        raise InvalidState(f"Hand-off {offer_id} {verb} already {one.state}{when}{over}; nothing was changed.")
    claimed = snapshot.load_snapshots(ctx, tx, definitions, rows, now)
    return one, claimed[0], LeadTransitions(definitions, now, "handoff")
