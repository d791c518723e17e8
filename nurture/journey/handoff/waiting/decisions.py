"""Decide by hand about a lead in a queue: give it to a rep, send it back to its tracks, or discard it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never

from nurture.db.locks import Lock, acquire
from nurture.db.transaction import Transaction
from nurture.domain.lead import Closing, Custodian, Queue
from nurture.domain.planning.program import ToClosed
from nurture.domain.policy.policy import RejectReason, Resume
from nurture.errors import InvalidState, NotFound
from nurture.journey.handoff import queries
from nurture.journey.handoff.offer import OfferReason, offer_to_rep
from nurture.journey.handoff.recycle import recycle_leads
from nurture.journey.handoff.roster import require_rep
from nurture.journey.leads import snapshot
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import LeadTransitions
from nurture.runtime.context import AppContext

DECIDED: Final = "decided"
"""The rule of an offer that a person made of a lead which no rule handed off."""


class DecisionKind(StrEnum):
    """What a person decides about a lead that waits."""

    ASSIGN = "assign"
    NURTURE = "nurture"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision of the person *by*: the rep who gets the lead, or the reason why none does."""

    kind: DecisionKind
    by: str
    rep: str = ""
    reason: str = ""


def decide_waiting(
    ctx: AppContext, lead_id: int, decision: Decision, now: datetime, *, queues: Collection[str] | None = None
) -> str:
    """Carry out *decision* about a lead in a queue (in *queues*, if given); return the queue.

    A rep is not asked for capacity. A reason is required to send a lead back or to discard it, and spends what it
    did and stated so far. Raises NotFound, or InvalidState if the lead is in none of these queues.
    """
    if decision.kind is not DecisionKind.ASSIGN and not decision.reason.strip():
        raise InvalidState("A decision without a rep needs a reason. Write why no rep gets this lead.")
    with ctx.database.write() as tx:
        acquire(tx, Lock.OFFERS)
        rows = snapshot.load_rows(tx, [lead_id])
        if not rows:
            raise NotFound(f"There is no lead {lead_id}. `nurture leads list` lists them.")
        (lead,) = snapshot.load_snapshots(tx, rows, now, ctx.holidays)
        if lead.view.custodian is not Custodian.QUEUE or (queues is not None and lead.ref not in queues):
            raise InvalidState(f"Lead {lead_id} waits in no queue that you decide about; nothing was changed.")
        transitions = LeadTransitions(ctx.definitions.current(tx), now, "handoff")
        _carry_out(ctx, tx, transitions, lead, decision)
        transitions.changes.write(tx, now)
    return lead.ref


def _carry_out(
    ctx: AppContext, tx: Transaction, transitions: LeadTransitions, lead: LeadSnapshot, decision: Decision
) -> None:
    match decision.kind:
        case DecisionKind.ASSIGN:
            _assign(ctx, tx, transitions, lead, decision)
        case DecisionKind.NURTURE:
            label = RejectReason(DECIDED, decision.reason, Resume())
            recycle_leads(tx, transitions, [(lead, label)], f"{decision.by} decided")
        case DecisionKind.DISCARD:
            to = ToClosed(Closing.DISCARDED, decision.reason)
            recycle_leads(
                tx, transitions, [(lead, RejectReason(DECIDED, decision.reason, to))], f"{decision.by} decided"
            )
        case _:
            assert_never(decision.kind)


def _assign(
    ctx: AppContext, tx: Transaction, transitions: LeadTransitions, lead: LeadSnapshot, decision: Decision
) -> None:
    lead_id = lead.view.lead.id
    rep = require_rep(transitions.definitions.policy, decision.rep)
    rule, why = queries.load_handoff_reasons(tx, [lead_id]).get(lead_id, (DECIDED, f"waited in the queue {lead.ref}"))
    if lead.ref != Queue.HAND_OFF:
        transitions.set_priority(lead, rule)
    hot = rule in transitions.definitions.policy.priority.hot
    (offer_id,) = tx.reserve_ids("offer", 1)
    reason = OfferReason(rule, why, f"{decision.by} gave it to {rep.id}", hot=hot)
    offer_to_rep(transitions, ctx.holidays, lead, rep, offer_id, reason)
