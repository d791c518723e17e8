"""Plan the messages of a new offer: the brief by mail, and a notice to each of the rep's notifiers."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from nurture.domain.policy.team import Rep
from nurture.journey.leads.changeset import NewMessage, NewOffer
from nurture.outbox.messages import NOTICE

EXPIRES_AFTER: Final = timedelta(days=30)


def build_offer_messages(offered: NewOffer, rep: Rep, now: datetime) -> list[NewMessage]:
    """Return the messages that announce an offer to *rep*, one per channel."""
    notifiers = dict.fromkeys(rep.notify)
    return [
        _new_message(offered, f"brief:{offered.id}", "brief", "brief", now),
        *(_new_message(offered, f"notice:{offered.id}:{place}", NOTICE, place, now) for place in notifiers),
    ]


def _new_message(offered: NewOffer, send_key: str, kind: str, email: str, now: datetime) -> NewMessage:
    return NewMessage.for_rep(
        send_key,
        kind,
        email,
        offered.rep,
        lead_id=offered.lead_id,
        offer_id=offered.id,
        now=now,
        expires_at=now + EXPIRES_AFTER,
        enrollment_id=offered.enrollment_id,
    )
