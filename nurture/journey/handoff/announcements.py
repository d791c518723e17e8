"""What goes out with an offer: the brief by mail, and a notice to each place where its rep looks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from nurture.domain.policy.team import Rep
from nurture.journey.leads.changeset import Intended, Offered
from nurture.outbox.messages import NOTICE

EXPIRES_AFTER: Final = timedelta(days=30)


def announced(offered: Offered, rep: Rep, now: datetime) -> list[Intended]:
    """Return what is to be sent of an offer to *rep*, each thing once."""
    places = dict.fromkeys(rep.tell)
    return [
        _intended(offered, f"brief:{offered.id}", "brief", "brief", now),
        *(_intended(offered, f"notice:{offered.id}:{place}", NOTICE, place, now) for place in places),
    ]


def _intended(offered: Offered, send_key: str, kind: str, email: str, now: datetime) -> Intended:
    return Intended.to_rep(
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
