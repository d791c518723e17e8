"""Resolve tracked links, and build click and open events."""

from datetime import datetime

from nurture.domain.scoring.click_filtering import TrackedEvent, classify
from nurture.domain.signals import SignalKind, SignalVerdict
from nurture.errors import NotFound
from nurture.formats.user_agents import classify_user_agent
from nurture.journey.consent import open_tracking_queries
from nurture.journey.consent.open_tracking_queries import OpenEvent, OpenTrackingConsent
from nurture.journey.engagement.click_filtering import EngagementEvent
from nurture.mail.rendering.link_tracking import FIRST_PERSONAL_LINK_NUMBER, HONEYPOT_LINK_NUMBER
from nurture.runtime import link_queries
from nurture.runtime.context import AppContext
from nurture.runtime.link_queries import LinkTarget, TokenRecord


def find_link_target(ctx: AppContext, token: TokenRecord, number: int) -> LinkTarget | None:
    """Return the destination of link *number* in a mail, or None if no sent mail has it.

    It was stored before the mail was sent, so it depends neither on current definitions nor on the lead.
    """
    if token.message_id is None or number == HONEYPOT_LINK_NUMBER:
        return None
    with ctx.database.read() as tx:
        if number >= FIRST_PERSONAL_LINK_NUMBER:
            return link_queries.find_personal_target(tx, token.message_id, number - FIRST_PERSONAL_LINK_NUMBER)
        return link_queries.find_shared_target(tx, token.message_id, number)


def build_click(
    token: TokenRecord,
    link: str | None,
    at: datetime,
    *,
    method: str,
    source_hash: str,
    agent: str,
    honeypot: bool = False,
) -> EngagementEvent:
    """Return a click as an event. *source_hash* is a hash of where it came from, never an address."""
    if token.message_id is None:
        raise NotFound("This link belongs to no email.")
    return EngagementEvent(
        SignalKind.CLICKED,
        token.message_id,
        at,
        link=link,
        method=method,
        ip=source_hash,
        agent=agent,
        honeypot=honeypot,
    )


def build_open(ctx: AppContext, token: TokenRecord, now: datetime, *, method: str, agent: str) -> OpenEvent | None:
    """Return an open with its verdict; opens are no evidence, as mail programs open mail too.

    None if the lead never agreed to open tracking, withdrew it, or an equally good open of today is stored.
    """
    if token.message_id is None:
        return None
    with ctx.database.read() as tx:
        open_event = OpenEvent(token.lead_id, now.date(), SignalVerdict.HUMAN.value, "")
        if not open_tracking_queries.is_new_open(tx, open_event):
            return None
        click = TrackedEvent(
            0,
            SignalKind.OPENED,
            now,
            token.message_id,
            token.lead_id,
            method=method,
            agent_type=classify_user_agent(agent),
            delivered_at=open_tracking_queries.load_delivered_at(tx, token.message_id),
        )
        verdict, reason = classify([click], ctx.definitions.current(tx).policy.click_filtering)[0]
        open_event = open_event._replace(verdict=verdict.value, reason=reason)
        return open_event if open_tracking_queries.is_new_open(tx, open_event) else None


def set_open_tracking(ctx: AppContext, lead_id: int, *, granted: bool, source: str, now: datetime) -> None:
    """Store whether the lead agreed to open tracking. Withdrawal also applies to mail already sent."""
    with ctx.database.write() as tx:
        open_tracking_queries.record_consent(tx, lead_id, granted=granted, source=source, now=now)


def load_open_consent(ctx: AppContext, lead_id: int) -> OpenTrackingConsent:
    """Return the lead's consent to open tracking, and the day of its newest open."""
    with ctx.database.read() as tx:
        return open_tracking_queries.load_consent(tx, lead_id)
