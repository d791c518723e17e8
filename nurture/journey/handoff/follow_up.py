"""Record the contacts of a rep with an accepted lead: a logged call, a CRM status, a reply, an agreed next step."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian
from nurture.domain.policy.crm_status import SalesStatus
from nurture.errors import InvalidState, NotFound
from nurture.journey.handoff import queries
from nurture.journey.handoff.escalation import describe_step, next_touch_escalation
from nurture.journey.handoff.queries import Contact
from nurture.journey.leads import snapshot
from nurture.journey.leads.changeset import OfferRow
from nurture.journey.leads.signal_queries import UnappliedSignal
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import LeadTransitions
from nurture.runtime.context import AppContext

MAX_NEXT_STEP: Final = timedelta(days=366)
"""How far ahead the next step with a lead may be."""

REPLIED: Final = "reply"
CLOSED: Final = "closed"


class FollowUp(NamedTuple):
    """A contact with a lead, by *method* (`call`, `email`, `reply`, or a CRM status), and its time.

    *next_step_on* is the day of the next step that they agreed, *stage* what the rep says of it (`SalesStatus`).
    """

    lead_id: int
    method: str
    at: datetime
    next_step_on: date | None = None
    stage: str | None = None


def record_follow_up(
    ctx: AppContext,
    lead_id: int,
    method: str,
    now: datetime,
    *,
    next_step_on: date | None = None,
    stage: str | None = None,
) -> str:
    """Record that the lead's rep was in touch with it, and what they agreed; return the rep.

    Raises InvalidState for a lead that no rep has, or a next step that is in the past or beyond MAX_NEXT_STEP.
    """
    if next_step_on is not None and not now.date() <= next_step_on <= now.date() + MAX_NEXT_STEP:
        raise InvalidState(f"The next step on {next_step_on} is not within a year from today. Choose a day that is.")
    with ctx.database.write() as tx:
        rows = snapshot.load_rows(tx, [lead_id])
        if not rows:
            raise NotFound(f"There is no lead {lead_id}. `nurture leads list` lists them.")
        if rows[0].kind != Custodian.REP:
            hint = "" if rows[0].kind in (Custodian.CLOSED, Custodian.RESTING) else "; accept the hand-off first"
            raise InvalidState(f"No rep has lead {lead_id} ({rows[0].kind}: {rows[0].ref}){hint}.")
        record_follow_ups(ctx, tx, [FollowUp(lead_id, method, now, next_step_on, stage)], now)
    return rows[0].ref


def erase_leads(tx: Transaction, lead_ids: Sequence[int], now: datetime) -> None:
    """Withdraw the open offers of leads that are erased; accepted leads need no follow-up."""
    queries.withdraw_offers(tx, lead_ids, None, now)
    queries.record_follow_ups(tx, [(id_, CLOSED) for id_ in sorted(lead_ids)], now)


def record_follow_ups(ctx: AppContext, tx: Transaction, follow_ups: Sequence[FollowUp], now: datetime) -> int:
    """Record contacts with accepted leads, the newest of each; return how many had none before.

    Skips leads that no rep has, or accepted only after the contact, and contacts that are older than a known one.
    Runs in the caller's transaction with a constant number of statements.
    """
    by_lead = {one.lead_id: one for one in sorted(follow_ups, key=lambda one: one.at)}
    if not by_lead:
        return 0
    accepted = queries.load_accepted_offers(tx, list(by_lead))
    lead_ids = [
        id_
        for id_, one in accepted.items()
        if one.answered_at is not None and by_lead[id_].at >= (one.touched_at or one.answered_at)
    ]
    if not lead_ids:
        return 0
    rows = [row for row in snapshot.load_rows(tx, lead_ids) if row.kind == Custodian.REP]
    transitions = LeadTransitions(ctx.definitions.current(tx), now, "follow up")
    for lead in snapshot.load_snapshots(ctx, tx, transitions.definitions, rows, now):
        follow_up, offer = by_lead[lead.view.lead.id], accepted[lead.view.lead.id]
        _set_next_touch(ctx, transitions, lead, _with_contact(offer, follow_up))
        transitions.add_journal_entry(
            lead, "followed_up", _describe_contact(lead.ref, follow_up), None, ref=follow_up.method
        )
    won = sorted(transitions.changes.write(tx, now))
    contacts = [Contact(accepted[one.lead_id].id, *one[1:]) for one in map(by_lead.__getitem__, won)]
    queries.record_contacts(tx, contacts, now)
    return sum(accepted[id_].followed_up_at is None for id_ in won)


def _with_contact(offer: OfferRow, follow_up: FollowUp) -> OfferRow:
    return offer._replace(
        touched_at=follow_up.at,
        next_step_on=follow_up.next_step_on,
        stage=follow_up.stage or offer.stage,
        asked_at=None,
    )


def _describe_contact(rep: str, follow_up: FollowUp) -> str:
    agreed = f"; next step on {follow_up.next_step_on}" if follow_up.next_step_on is not None else ""
    stage = f", {follow_up.stage}" if follow_up.stage == SalesStatus.IN_TALKS else ""
    return f"{rep} was in touch: {follow_up.method}{stage}{agreed}"


def _set_next_touch(ctx: AppContext, transitions: LeadTransitions, lead: LeadSnapshot, offer: OfferRow) -> None:
    """Let the rep work on the lead until it is time to ask how it stands."""
    policy = transitions.definitions.policy
    ask = next_touch_escalation(policy, ctx.holidays, offer)[0]
    step = f"next step on {offer.next_step_on}" if offer.next_step_on is not None else "works on it"
    action = f"{lead.ref}: {step}; then {describe_step(policy, lead.ref, ask)}"
    transitions.set_custody(lead, Custodian.REP, lead.ref, action, ask.due_at)


def record_replies(ctx: AppContext, tx: Transaction, replies: Sequence[UnappliedSignal], now: datetime) -> int:
    """Count a lead's reply as a follow-up by the rep who has the lead."""
    return record_follow_ups(ctx, tx, [FollowUp(one.lead_id, REPLIED, one.occurred_at) for one in replies], now)
