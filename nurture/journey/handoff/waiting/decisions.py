"""Decide by hand about a lead in a queue: give it to a rep, send it back to its tracks, or discard it."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never

from nurture.db.locks import Lock, acquire
from nurture.db.transaction import Transaction
from nurture.domain.lead import Closing, Custodian, Queue
from nurture.domain.planning.program import ToClosed
from nurture.domain.policy.policy import Policy, RejectReason, Resume
from nurture.errors import InvalidState, NotFound
from nurture.journey.handoff import queries
from nurture.journey.handoff.cover import Cover
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
    """A decision of the person *by*: the rep who gets the lead, or the reason why none does.

    *as_operator*: *by* is not a person of the policy, and decides for one; the journal says so.
    """

    kind: DecisionKind
    by: str
    rep: str = ""
    reason: str = ""
    as_operator: bool = False

    @property
    def decider(self) -> str:
        """Return who decides, as the journal says it."""
        return f"{self.by} (operator)" if self.as_operator else self.by


def decide_waiting(
    ctx: AppContext, lead_id: int, decision: Decision, now: datetime, *, queues: Collection[str] | None = None
) -> str:
    """Carry out *decision* about a lead in a queue (in *queues*, if given); return the queue.

    A rep is not asked for capacity. A reason is required to send a lead back or to discard it, and spends what it
    did and stated so far. Raises NotFound, or InvalidState if the lead is in none of these queues, or if *by* may not
    decide about its queue: its owner, its deputy and every manager may.
    """
    if decision.kind is not DecisionKind.ASSIGN and not decision.reason.strip():
        raise InvalidState("A decision without a rep needs a reason. Write why no rep gets this lead.")
    if decision.as_operator and not decision.by.strip():
        raise InvalidState("Write who decides: --by NAME.")
    with ctx.database.write() as tx:
        acquire(tx, Lock.OFFERS)
        rows = snapshot.load_rows(tx, [lead_id])
        if not rows:
            raise NotFound(f"There is no lead {lead_id}. `nurture leads list` lists them.")
        transitions = LeadTransitions(ctx.definitions.current(tx), now, "handoff")
        (lead,) = snapshot.load_snapshots(ctx, tx, transitions.definitions, rows, now)
        if lead.view.custodian is not Custodian.QUEUE or (queues is not None and lead.ref not in queues):
            raise InvalidState(f"Lead {lead_id} waits in no queue that you decide about; nothing was changed.")
        if not decision.as_operator:
            policy = transitions.definitions.policy
            decision = replace(
                decision, by=_require_decider(policy, lead.ref, decision.by, Cover.load(tx, policy, now))
            )
        _carry_out(ctx, tx, transitions, lead, decision)
        transitions.changes.write(tx, now)
    return lead.ref


def _require_decider(policy: Policy, queue: str, by: str, cover: Cover) -> str:
    """Return the id of the person *by*, given by id, name or address, who may decide about leads in *queue*."""
    rule = policy.queues.rule_for(queue)
    of_queue = (*rule.recipients(late=True), *cover.recipients(rule, late=True)) if rule is not None else ()
    allowed = dict.fromkeys((*of_queue, *policy.team.manager_ids))
    people = [person for id_ in allowed if (person := policy.team.find_person(id_)) is not None]
    wanted = by.strip().casefold()
    for person in people:
        if wanted in (person.id.casefold(), person.name.casefold(), person.email.casefold()):
            return person.id
    named = ", ".join(f"{one.id} ({one.name})" for one in people) or "nobody: the policy names no manager"
    raise InvalidState(
        f"{by!r} may not decide about leads in the queue {queue}. Who may: {named}. "
        "An operator who decides for one of them adds --as-operator."
    )


def _carry_out(
    ctx: AppContext, tx: Transaction, transitions: LeadTransitions, lead: LeadSnapshot, decision: Decision
) -> None:
    match decision.kind:
        case DecisionKind.ASSIGN:
            _assign(ctx, tx, transitions, lead, decision)
        case DecisionKind.NURTURE:
            label = RejectReason(DECIDED, decision.reason, Resume())
            recycle_leads(tx, transitions, [(lead, label)], f"{decision.decider} decided")
        case DecisionKind.DISCARD:
            to = ToClosed(Closing.DISCARDED, decision.reason)
            recycle_leads(
                tx, transitions, [(lead, RejectReason(DECIDED, decision.reason, to))], f"{decision.decider} decided"
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
    reason = OfferReason(rule, why, f"{decision.decider} gave it to {rep.id}", hot=hot)
    offer_to_rep(transitions, ctx.holidays, lead, rep, offer_id, reason)
