"""Record the first follow-up of an accepted lead: a logged call, a CRM status, a reply."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian
from nurture.errors import InvalidState, NotFound
from nurture.journey.handoff import queries
from nurture.journey.leads import snapshot
from nurture.journey.leads.signal_queries import UnappliedSignal
from nurture.journey.leads.transitions import LeadTransitions
from nurture.runtime.context import AppContext

REPLIED: Final = "reply"
CLOSED: Final = "closed"


class FollowUp(NamedTuple):
    """A contact with a lead, by *method* (`call`, `email`, `reply`, or a CRM status), and its time."""

    lead_id: int
    method: str
    at: datetime


def record_follow_up(ctx: AppContext, lead_id: int, method: str, now: datetime) -> str:
    """Record that the lead's rep was in touch with it; return the rep.

    Raises InvalidState for a lead that no rep has.
    """
    with ctx.database.write() as tx:
        rows = snapshot.load_rows(tx, [lead_id])
        if not rows:
            raise NotFound(f"There is no lead {lead_id}. `nurture leads list` lists them.")
        if rows[0].kind != Custodian.REP:
            hint = "" if rows[0].kind == Custodian.CLOSED else "; accept the hand-off first"
            raise InvalidState(f"No rep has lead {lead_id} ({rows[0].kind}: {rows[0].ref}){hint}.")
        record_follow_ups(ctx, tx, [FollowUp(lead_id, method, now)], now)
    return rows[0].ref


def record_follow_ups(ctx: AppContext, tx: Transaction, follow_ups: Sequence[FollowUp], now: datetime) -> int:
    """Record contacts with accepted leads; return how many had none before.

    Skips leads that no rep has, or accepted only after the contact. Runs in the caller's transaction with a
    constant number of statements.
    """
    by_lead = {one.lead_id: one for one in sorted(follow_ups, key=lambda one: one.at, reverse=True)}
    if not by_lead:
        return 0
    accepted = queries.load_accepted_offers(tx, list(by_lead))
    lead_ids = [
        id_ for id_, one in accepted.items() if one.answered_at is not None and by_lead[id_].at >= one.answered_at
    ]
    if not lead_ids:
        return 0
    rows = [row for row in snapshot.load_rows(tx, lead_ids) if row.kind == Custodian.REP]
    transitions = LeadTransitions(ctx.definitions.current(tx), now, "follow up")
    due = now + transitions.definitions.policy.max_silence
    for lead in snapshot.load_snapshots(tx, rows, now, ctx.holidays):
        follow_up = by_lead[lead.view.lead.id]
        transitions.set_custody(lead, Custodian.REP, lead.ref, f"{lead.ref} works on it", due)
        transitions.add_journal_entry(
            lead, "followed_up", f"{lead.ref} was in touch: {follow_up.method}", None, ref=follow_up.method
        )
    won = transitions.changes.write(tx, now)
    new = queries.record_follow_ups(tx, [(id_, by_lead[id_].method) for id_ in sorted(won)], now)
    return len(new)


def record_replies(ctx: AppContext, tx: Transaction, replies: Sequence[UnappliedSignal], now: datetime) -> int:
    """Count a lead's reply as a follow-up by the rep who has the lead."""
    return record_follow_ups(ctx, tx, [FollowUp(one.lead_id, REPLIED, one.occurred_at) for one in replies], now)
