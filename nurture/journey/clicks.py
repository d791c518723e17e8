"""Follow the numbered links of a mail, and hear of opens where the lead agreed to that."""

from __future__ import annotations

from datetime import datetime

from nurture.domain.signals import SignalKind
from nurture.errors import NotFound
from nurture.mail.tracking import FROM_HERE_OWN, HONEYPOT
from nurture.store import destinations, opens
from nurture.store.destinations import Target
from nurture.store.opens import Consent
from nurture.store.tokens import Kept

from .house import House
from .judging import Visited


def target(house: House, kept: Kept, number: int) -> Target | None:
    """Return where a number of this mail leads; None for one that nobody mailed.

    The answer was stored before the mail went, so it does not depend on today's rules, nor on the lead.
    """
    if kept.message_id is None or number == HONEYPOT:
        return None
    with house.database.read() as connection:
        if number >= FROM_HERE_OWN:
            return destinations.own(connection, kept.message_id, number - FROM_HERE_OWN)
        return destinations.shared(connection, kept.message_id, number)


def clicked(
    kept: Kept, link: str | None, at: datetime, *, method: str, place: str, agent: str, honeypot: bool = False
) -> Visited:
    """Return a click as evidence takes it. *place* is a mark of where it came from, never an address."""
    if kept.message_id is None:
        raise NotFound("This link belongs to no mail.")
    return Visited(
        SignalKind.CLICKED,
        kept.message_id,
        at,
        link=link,
        method=method,
        ip=place,
        agent=agent,
        honeypot=honeypot,
    )


def hears_opens(house: House, kept: Kept, now: datetime) -> bool:
    """Tell whether an open is to be noted: the lead agreed, and still does, and today's is not noted yet."""
    with house.database.read() as connection:
        return opens.is_news(connection, kept.lead_id, now.date())


def state_opens(house: House, lead_id: int, *, granted: bool, source: str, now: datetime) -> None:
    """Write whether a lead lets us hear of opens. Withdrawn, it also silences mail that is out already."""
    with house.database.write() as connection:
        opens.state(connection, lead_id, granted=granted, source=source, now=now)


def opens_of(house: House, lead_id: int) -> Consent:
    """Return what a lead said of opens, and the newest day that is known."""
    with house.database.read() as connection:
        return opens.find(connection, lead_id)
