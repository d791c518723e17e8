"""Settle what is in doubt, by what a person found out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from nurture.errors import NotFound
from nurture.store import changes, doubts, outbox, signals
from nurture.store.doubts import Doubt
from nurture.store.outbox import Outcome

from .house import House


def listed(house: House) -> list[Doubt]:
    """Return every message in doubt, the oldest first."""
    with house.database.read() as connection:
        return doubts.listed(connection)


def settle(house: House, ids: Sequence[int], now: datetime, *, sent: bool) -> list[Doubt]:
    """Say of messages in doubt that they were sent, or that they were not: these are planned anew.

    All or none. Raises NotFound naming the ids that are not in doubt.
    """
    database = house.database
    with database.write() as connection:
        # Leads first, as everybody who settles messages does: so nobody waits in a circle.
        leads = [one.lead_id for one in doubts.chosen(database, connection, ids)]
        changes.hold(database, connection, leads)
        found = doubts.chosen(database, connection, ids, lock=True)
        missing = sorted(set(ids) - {one.id for one in found})
        if missing:
            raise NotFound(
                f"Not in doubt: {', '.join(map(str, missing))}. Nothing was settled. "
                "`nurture doubt` lists what is."
            )
        signals.wake(database, connection, leads, now)
        outbox.settle(database, connection, [_outcome(one, now, sent=sent) for one in found], None, now)
    return found


def _outcome(one: Doubt, now: datetime, *, sent: bool) -> Outcome:
    if sent:
        return Outcome(one.id, "accepted", one.called_at, None, None, "settled by hand: it was sent", None)
    return Outcome(one.id, "planned", None, None, None, "settled by hand: it was not sent", now)
