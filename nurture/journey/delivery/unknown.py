"""Settle what is in doubt, by what a person found out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from nurture.domain.planning.lead_view import DOUBT_COUNTS_AS_SENT_AFTER
from nurture.errors import NotFound
from nurture.journey.delivery import unknown_queries
from nurture.journey.delivery.unknown_queries import Doubt
from nurture.journey.leads import changeset, signal_queries
from nurture.journey.leads.changeset import Changes, Noted
from nurture.outbox import messages
from nurture.outbox.messages import Outcome
from nurture.runtime.context import House

Course = Literal["sent again", "counts as sent", "held"]
"""What becomes of a message in doubt if nobody settles it."""


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A message in doubt, and what happens by itself: *then*, from *at* (UTC) on; None where nothing does."""

    message: Doubt
    then: Course
    at: datetime | None


def listed(house: House) -> list[Doubt]:
    """Return every message in doubt, the oldest first."""
    with house.database.read() as connection:
        return unknown_queries.listed(connection)


def outlook(house: House) -> list[Doubtful]:
    """Return every message in doubt, the oldest first, with what becomes of it if nobody settles it."""
    with house.database.read() as connection:
        found = unknown_queries.listed(connection)
        try:
            resend_after = house.rulebooks.current(connection).sending.resend_after
        except NotFound:
            resend_after = None
    return [expected(one, resend_after) for one in found]


def expected(one: Doubt, resend_after: timedelta | None) -> Doubtful:
    """Say what becomes of a message in doubt under the rules for sending, if nobody settles it."""
    if resend_after is not None and one.provider != messages.RESTORED:
        return Doubtful(one, "sent again", one.called_at + resend_after)
    if one.kind == "touch":
        return Doubtful(one, "counts as sent", one.called_at + DOUBT_COUNTS_AS_SENT_AFTER)
    return Doubtful(one, "held", None)


def settle(house: House, ids: Sequence[int], now: datetime, *, sent: bool) -> list[Doubt]:
    """Say of messages in doubt that they were sent, or that they were not: these are planned anew.

    All or none; the journal of each lead tells of it. Raises NotFound naming the ids that are not in doubt.
    """
    database = house.database
    with database.write() as connection:
        # Leads first, as everybody who settles messages does: so nobody waits in a circle.
        leads = [one.lead_id for one in unknown_queries.chosen(database, connection, ids)]
        changeset.hold(database, connection, leads)
        found = unknown_queries.chosen(database, connection, ids, lock=True)
        missing = sorted(set(ids) - {one.id for one in found})
        if missing:
            raise NotFound(
                f"Not in doubt: {', '.join(map(str, missing))}. Nothing was settled. "
                "`nurture delivery messages` lists what is."
            )
        signal_queries.wake(database, connection, leads, now)
        messages.settle(database, connection, [_outcome(one, now, sent=sent) for one in found], None, now)
        noted = Changes(noted=[_line(one, now, sent=sent) for one in found])
        noted.write(database, connection, now)
    return found


def _outcome(one: Doubt, now: datetime, *, sent: bool) -> Outcome:
    if sent:
        return Outcome(one.id, "accepted", one.called_at, None, None, "settled by hand: it was sent", None)
    why = "settled by hand: it was not sent"
    return Outcome(one.id, "planned", None, None, None, why, now, now + messages.RESENT_WITHIN)


def _line(one: Doubt, now: datetime, *, sent: bool) -> Noted:
    what = "it was sent" if sent else "it was not sent, so it is planned again"
    because = f"a person found out about the doubt of {one.called_at:%Y-%m-%d %H:%M} UTC: {what}"
    return Noted(
        one.lead_id, now, "deliver", "settled", because, track=one.track, step=one.step, ref=one.send_key
    )
