"""Erase a person: what is left of a lead are numbers, times, and the rules' own words.

The address leaves a mark, so that whoever brings it in again finds that it must not be mailed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from nurture.domain.address import mark_of, normalise_address
from nurture.domain.lead import Closing, Custodian
from nurture.domain.suppression import Source
from nurture.store import clocks, erasing, inbound_mail, offers, suppressions, views

from . import events, explain, replies, suppress
from .following import CLOSED
from .house import House
from .moves import Mover
from .suppress import OptOut

_WHY: Final = "the lead asked to be forgotten"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was erased. *rows* were kept word for word, and mentioned the address."""

    lead: int | None
    address: bool
    rows: int


def forget(house: House, who: str, now: datetime) -> Forgotten:
    """Erase the lead, or the address without a lead, that *who* names. It cannot be taken back.

    The lead is closed, its address never mailed again unless it opts in anew. What came in and waits is
    applied first, so that it is not lost to others. Raises NotFound.
    """
    events.apply(house, now)
    replies.read_waiting(house, now)
    lead_id, address_id, spellings = _named(house, who)
    with house.database.write() as connection:
        if address_id is not None:
            suppress.opt_out(house.database, connection, [OptOut(address_id, Source.ADMIN, at=now)], now)
        if lead_id is not None:
            _close(house, connection, lead_id, now)
            erasing.erase_lead(connection, lead_id, now)
        rows = inbound_mail.erase(connection, lead_id, set(spellings))
        if address_id is not None:
            suppressions.note_erased(house.database, connection, spellings[-1], now)
            salt = clocks.salt_in(connection)
            erasing.erase_address(connection, address_id, mark_of(spellings[-1], salt))
            rows += erasing.erase_mentions(connection, set(spellings))
    return Forgotten(lead_id, address_id is not None, rows)


def _named(house: House, who: str) -> tuple[int | None, int | None, Sequence[str]]:
    """Return the lead, its address and how that is spelled, the normal way last."""
    normal = normalise_address(who)
    with house.database.read() as connection:
        found = suppressions.find(connection, normal) if "@" in who else None
    if found is not None and found[1] is None:
        return None, found[0], (who.strip(), normal)
    lead_id = explain.find_lead(house, who)
    with house.database.read() as connection:
        names = erasing.names_of(connection, lead_id)
    return (lead_id, None, ()) if names is None else (lead_id, names[0], names[1:])


def _close(house: House, connection: Connection, lead_id: int, now: datetime) -> None:
    """Take the lead from whoever keeps it, and call off what was to go out."""
    database = house.database
    mover = Mover(house.rulebooks.current(connection), now, "by hand")
    rows = views.these(database, connection, [lead_id])
    (lead,) = views.views(database, connection, rows, now, house.holidays)
    opened = offers.open_of(database, connection, [lead_id])
    offers.answer(database, connection, [(one.id, "withdrawn", None) for one in opened.values()], now)
    if lead.view.custodian is Custodian.CLOSED:
        mover.note(lead, "forgotten", _WHY, None)
    else:
        mover.close(lead, Closing.DISCARDED, _WHY, reason=_WHY, event="forgotten")
    won = mover.changes.write(database, connection, now)
    offers.follow_up(database, connection, [(id_, CLOSED) for id_ in sorted(won)], now)
