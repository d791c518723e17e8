"""The first touch after a rep took a lead over: a call that is logged, a status in the CRM, a reply."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection

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
    """Somebody was in touch with a lead, by *method* (`call`, `email`, `reply`, a CRM's status), and when."""

    lead_id: int
    method: str
    at: datetime


def record_follow_up(ctx: AppContext, lead_id: int, method: str, now: datetime) -> str:
    """Note that the lead's rep was in touch with it; return the rep.

    Raises InvalidState for a lead that no rep has.
    """
    with ctx.database.write() as connection:
        rows = snapshot.load_rows(ctx.database, connection, [lead_id])
        if not rows:
            raise NotFound(f"There is no lead {lead_id}. `nurture leads list` lists them.")
        if rows[0].kind != Custodian.REP:
            hint = "" if rows[0].kind == Custodian.CLOSED else "; it has to be accepted first"
            raise InvalidState(f"Lead {lead_id} is with no rep ({rows[0].kind}: {rows[0].ref}){hint}.")
        record_follow_ups(ctx, connection, [FollowUp(lead_id, method, now)], now)
    return rows[0].ref


def record_follow_ups(ctx: AppContext, connection: Connection, follow_ups: Sequence[FollowUp], now: datetime) -> int:
    """Note touches of leads that reps took over; return how many had none before.

    A lead that no rep has, or that was taken over only later, is passed over. In this transaction, and in a
    constant number of statements: for whoever hears of touches, such as a CRM's status.
    """
    database = ctx.database
    by_lead = {one.lead_id: one for one in sorted(follow_ups, key=lambda one: one.at, reverse=True)}
    if not by_lead:
        return 0
    accepted = queries.load_accepted_offers(database, connection, list(by_lead))
    lead_ids = [
        id_ for id_, one in accepted.items() if one.answered_at is not None and by_lead[id_].at >= one.answered_at
    ]
    if not lead_ids:
        return 0
    rows = [row for row in snapshot.load_rows(database, connection, lead_ids) if row.kind == Custodian.REP]
    transitions = LeadTransitions(ctx.definitions.current(connection), now, "follow up")
    due = now + transitions.definitions.policy.max_silence
    for lead in snapshot.load_snapshots(database, connection, rows, now, ctx.holidays):
        follow_up = by_lead[lead.view.lead.id]
        transitions.set_custody(lead, Custodian.REP, lead.ref, f"{lead.ref} works it", due)
        transitions.add_journal_entry(
            lead, "followed_up", f"{lead.ref} was in touch: {follow_up.method}", None, ref=follow_up.method
        )
    won = transitions.changes.write(database, connection, now)
    new = queries.record_follow_ups(database, connection, [(id_, by_lead[id_].method) for id_ in sorted(won)], now)
    return len(new)


def record_replies(ctx: AppContext, connection: Connection, replies: Sequence[UnappliedSignal], now: datetime) -> int:
    """Take a reply as proof that the rep who has the lead was in touch with it."""
    return record_follow_ups(ctx, connection, [FollowUp(one.lead_id, REPLIED, one.occurred_at) for one in replies], now)
