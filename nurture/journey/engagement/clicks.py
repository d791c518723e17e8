"""Follow the numbered links of a mail, and hear of opens where the lead agreed to that."""

from __future__ import annotations

from datetime import datetime

from nurture.domain.scoring.click_filtering import Visit, agent_of, judge
from nurture.domain.signals import SignalKind, SignalVerdict
from nurture.errors import NotFound
from nurture.journey.consent import open_tracking_queries
from nurture.journey.consent.open_tracking_queries import Consent, Opened
from nurture.journey.engagement.click_filtering import Visited
from nurture.mail.rendering.link_tracking import FROM_HERE_OWN, HONEYPOT
from nurture.runtime import link_destination_queries
from nurture.runtime.context import House
from nurture.runtime.link_destination_queries import Target
from nurture.runtime.token_queries import Kept


def target(house: House, kept: Kept, number: int) -> Target | None:
    """Return where a number of this mail leads; None for one that nobody mailed.

    The answer was stored before the mail went, so it does not depend on today's rules, nor on the lead.
    """
    if kept.message_id is None or number == HONEYPOT:
        return None
    with house.database.read() as connection:
        if number >= FROM_HERE_OWN:
            return link_destination_queries.own(connection, kept.message_id, number - FROM_HERE_OWN)
        return link_destination_queries.shared(connection, kept.message_id, number)


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


def opened(house: House, kept: Kept, now: datetime, *, method: str, agent: str) -> Opened | None:
    """Return an open as it is to be noted, with its verdict: never evidence, mail programs open mail too.

    None where nothing is: the lead never agreed or does no more, or today's is noted as well already.
    """
    if kept.message_id is None:
        return None
    with house.database.read() as connection:
        told = Opened(kept.lead_id, now.date(), SignalVerdict.HUMAN.value, "")
        if not open_tracking_queries.is_news(connection, told):
            return None
        visit = Visit(
            0,
            SignalKind.OPENED,
            now,
            kept.message_id,
            kept.lead_id,
            method=method,
            agent=agent_of(agent),
            delivered_at=open_tracking_queries.delivered_at(connection, kept.message_id),
        )
        verdict, because = judge([visit], house.rulebooks.current(connection).policy.evidence)[0]
        told = told._replace(verdict=verdict.value, because=because)
        return told if open_tracking_queries.is_news(connection, told) else None


def state_opens(house: House, lead_id: int, *, granted: bool, source: str, now: datetime) -> None:
    """Write whether a lead lets us hear of opens. Withdrawn, it also silences mail that is out already."""
    with house.database.write() as connection:
        open_tracking_queries.state(connection, lead_id, granted=granted, source=source, now=now)


def opens_of(house: House, lead_id: int) -> Consent:
    """Return what a lead said of opens, and the newest day that is known."""
    with house.database.read() as connection:
        return open_tracking_queries.find(connection, lead_id)
