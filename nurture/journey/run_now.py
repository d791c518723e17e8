"""Process at once what has just fallen due: leads that came in, are on tracks or rest, and mail."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from nurture.clock import Clock
from nurture.domain.lead import Custodian
from nurture.journey.broadcasts.plan import plan_batch
from nurture.journey.delivery.run import deliver
from nurture.journey.handoff.sweep import hand_off
from nurture.journey.leads.due_queries import find_next_due
from nurture.journey.tracks.advance import advance_batch
from nurture.journey.tracks.enroll import classify_batch
from nurture.runtime import quarantine
from nurture.runtime.context import AppContext

MAX_LEADS: Final = 200
"""How many leads of each kind are processed at once. The rest is left to the next run."""

MAX_MESSAGES: Final = 20
"""How many messages are sent at once: so few that a stop waits for none of the rest."""


def has_due(ctx: AppContext, now: datetime) -> bool:
    """Return whether a lead or a message is due at *now* (UTC): one look at the first due lead of each kind."""
    with ctx.database.read() as tx:
        due_at = find_next_due(tx, (Custodian.INTAKE, Custodian.TRACK, Custodian.RESTING))
    return due_at is not None and due_at <= now


def process_due(ctx: AppContext, clock: Clock) -> int:
    """Process the leads and the messages that are due, at most one batch of each; return how many there were."""
    leads = process_due_leads(ctx, clock.now())
    planned = plan_batch(ctx, clock.now()).leads if not quarantine.is_on(ctx, clock.now()) else 0
    return leads + planned + _send_due(ctx, clock)


def process_due_leads(ctx: AppContext, now: datetime) -> int:
    """Classify and advance the leads that are due at *now*, and hand off those that are ready; return how many."""
    if quarantine.is_on(ctx, now):
        return 0
    leads = classify_batch(ctx, now, MAX_LEADS).total() + advance_batch(ctx, now, MAX_LEADS).leads
    if leads:
        hand_off(ctx, now)
    return leads


def _send_due(ctx: AppContext, clock: Clock) -> int:
    return deliver(replace(ctx, batch_size=MAX_MESSAGES), clock, should_stop=lambda: True).messages
