"""Count work that a rep did in the CRM on a lead that was offered or accepted here."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian
from nurture.journey.handoff import queries
from nurture.journey.handoff.responses import follow_up_action, is_held
from nurture.journey.leads import snapshot
from nurture.journey.leads.changeset import OfferRow
from nurture.journey.leads.transitions import LeadTransitions
from nurture.runtime.context import AppContext

_BY: Final = "in the CRM"


class WorkElsewhere(NamedTuple):
    """Work of *rep*, who has now accepted the lead of hand-off *offer_id*, whoever was asked; *reason* says what."""

    offer_id: int
    rep: str
    reason: str


def accept_elsewhere(ctx: AppContext, tx: Transaction, works: Sequence[WorkElsewhere], now: datetime) -> set[int]:
    """Accept hand-offs for the reps who work on them, or reassign those of another rep; return the leads.

    A hand-off that is over is left as it is. Runs in the caller's transaction with a constant number of statements.
    """
    if not works:
        return set()
    offers = queries.load_offers(tx, [one.offer_id for one in works])
    rows = {row.lead_id: row for row in snapshot.load_rows(tx, [one.lead_id for one in offers.values()])}
    offers = {
        id_: one
        for id_, one in offers.items()
        if (row := rows.get(one.lead_id)) is not None and is_held(one, row.kind, row.ref)
    }
    by_lead = {offers[one.offer_id].lead_id: one for one in works if one.offer_id in offers}
    transitions = LeadTransitions(ctx.definitions.current(tx), now, "crm")
    moved = [one for id_, one in offers.items() if by_lead[one.lead_id].rep != one.rep]
    new_ids = dict(zip((one.id for one in moved), tx.reserve_ids("offer", len(moved)), strict=True))
    for lead in snapshot.load_snapshots(ctx, tx, transitions.definitions, [rows[id_] for id_ in by_lead], now):
        work = by_lead[lead.view.lead.id]
        offer = _accepted(offers[work.offer_id], work, new_ids.get(work.offer_id), now)
        if offer.id != work.offer_id:
            transitions.changes.new_offers.append(offer)
            reason = f"from {offers[work.offer_id].rep} to {work.rep}: {work.reason}"
            transitions.add_journal_entry(lead, "reassigned", reason, None, ref=work.rep)
        transitions.end_enrollment(lead, "accepted", "handed_off")
        action, due = follow_up_action(ctx.holidays, transitions.definitions.policy, offer, now)
        change = transitions.set_custody(lead, Custodian.REP, work.rep, action, due)
        transitions.add_journal_entry(
            lead, "accepted", f"{work.rep} accepted {_BY}: {work.reason}", change, ref=work.rep
        )
    answers = [(id_, "reassigned" if id_ in new_ids else "accepted", _BY if id_ in new_ids else None) for id_ in offers]
    queries.record_answers(tx, [row for row in answers if offers[row[0]].state == "offered"], now)
    ended = [(id_, "reassigned", _BY) for id_ in new_ids if offers[id_].state == "accepted"]
    queries.end_accepted_offers(tx, ended, now)
    return transitions.changes.write(tx, now)


def _accepted(offer: OfferRow, work: WorkElsewhere, new_id: int | None, now: datetime) -> OfferRow:
    """Return the hand-off as accepted by the rep who works on it; a new one if another rep was asked."""
    if new_id is None:
        return offer._replace(state="accepted", answered_at=now)
    return offer._replace(
        id=new_id,
        rep=work.rep,
        routing_reason=f"reassigned from {offer.rep} {_BY}: {work.reason}",
        state="accepted",
        offered_at=now,
        expires_at=now,
        answered_at=now,
        reason=None,
        escalation_level=0,
        followed_up_at=None,
        follow_up_method=None,
        touched_at=None,
        asked_at=None,
        next_step_on=None,
    )
