"""Hand-offs of a restored database: offer them again, or queue their leads for a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian
from nurture.domain.planning.program import ToQueue
from nurture.domain.policy.business_hours import EscalationAction
from nurture.journey.handoff import queries as handoff_queries
from nurture.journey.handoff.escalation import answer_escalation, describe_step
from nurture.journey.leads import snapshot
from nurture.journey.leads.transitions import LeadTransitions
from nurture.operations import restore_gap_queries
from nurture.runtime.context import AppContext

HandoffChoice = Literal["reoffer", "leave"]
"""A manager's choice: send the briefs again, or not, because the reps have them."""

QUEUE: Final = "after-restore"
"""The queue of leads whose briefs are not sent again: a person looks up what their reps did."""

_REOFFERED_REASON: Final = "offered again after a restore, as a manager chose"
_LEFT_REASON: Final = "the database was restored: look up what its rep did since"


def reoffer_handoffs(
    ctx: AppContext, tx: Transaction, choice: HandoffChoice, leads: Sequence[int], now: datetime
) -> None:
    """Offer *leads* again from *now* on, or move them to QUEUE."""
    if choice == "leave":
        restore_gap_queries.mark_sales_mail_unknown(tx)
    if not leads:
        return
    definitions = ctx.definitions.current(tx)
    transitions = LeadTransitions(definitions, now, "restore")
    rows = snapshot.load_rows(tx, leads)
    opened = handoff_queries.load_open_offers(tx, leads)
    new_expiries = []
    for lead in snapshot.load_snapshots(tx, rows, now, ctx.holidays):
        offer = opened.get(lead.view.lead.id)
        if choice == "leave":
            transitions.move_to(lead, ToQueue(QUEUE), _LEFT_REASON)
        elif offer is None:
            moved = transitions.set_custody(lead, Custodian.QUEUE, lead.ref, "offer to a rep", now)
            transitions.add_journal_entry(lead, "offered_again", _REOFFERED_REASON, moved, ref=lead.ref)
        else:
            escalation_steps = answer_escalation(definitions.policy, ctx.holidays, offer.rep, now)
            expires_at = next(step.due_at for step in escalation_steps if step.action is EscalationAction.TAKE_BACK)
            new_expiries.append((offer.id, expires_at))
            first = escalation_steps[0]
            action = f"{offer.rep} answers; else {describe_step(definitions.policy, offer.rep, first)}"
            moved = transitions.set_custody(lead, Custodian.OFFER, lead.ref, action, first.due_at)
            transitions.add_journal_entry(lead, "offered_again", _REOFFERED_REASON, moved, ref=lead.ref)
    if choice == "leave":
        handoff_queries.record_answers(tx, [(one.id, "withdrawn", None) for one in opened.values()], now)
    restore_gap_queries.renew_offers(tx, new_expiries, now)
    transitions.changes.write(tx, now)
