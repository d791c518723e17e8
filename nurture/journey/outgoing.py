"""Compose whatever a batch of the outbox holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from nurture.mail.compose import ComposedEmail
from nurture.store import destinations, opens
from nurture.store.destinations import Own, Shared
from nurture.store.outbox import NOTICE, TO_LEADS, Waiting

from . import asking, forwarding, links, nudges
from .briefs import Briefs
from .house import House
from .letters import Letter, Sheet, sheet, touch
from .links import Link
from .nudges import Nudges
from .unnamed import unnamed

SheetKey = tuple[str, int, str]
"""Track, its version, and the name of an email in it."""


@dataclass
class Written:
    """The composed emails by message id, the links in them, and why others could not be written.

    *shared* and *own* are where their numbered links lead: in every mail of a version, and in one mail.
    """

    emails: dict[int, ComposedEmail] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    shared: set[Shared] = field(default_factory=set)
    own: list[Own] = field(default_factory=list)


def write(house: House, connection: Connection, batch: Sequence[Waiting], now: datetime) -> Written:
    """Compose each message of *batch*; a letter that cannot be composed never stops the others."""
    written = Written()
    sheets: dict[SheetKey, Sheet] = {}
    agreed = _agreed(house, connection, batch)
    passed_on = [one for one in batch if one.kind == "brief" and one.email == forwarding.TEMPLATE]
    forwards = forwarding.Forwards.of(house, connection, passed_on)
    answers = {one.id for one in passed_on}
    mine = (*TO_LEADS, nudges.KIND)
    others = [one for one in batch if one.kind not in mine and one.id not in answers]
    briefs = Briefs.of(house, connection, others, now)
    nudging = Nudges.of(house, connection, [one for one in batch if one.kind == nudges.KIND])
    for one in batch:
        try:
            if one.kind == "touch":
                letter = touch(
                    house, _sheet(house, connection, sheets, one), one, opens=one.lead_id in agreed
                )
            elif one.kind == asking.ASK:
                letter = asking.letter(house, connection, one)
            elif one.id in answers:
                letter = Letter(forwards.write(one), [])
            elif one.kind == nudges.KIND and nudging is not None:
                letter = Letter(*nudging.write(one))
            else:
                letter = Letter(*(briefs.notice(one) if one.kind == NOTICE else briefs.write(one)))
        except Exception as error:  # noqa: BLE001 - said on the message
            written.faults[one.id] = unnamed(error, one.facts, one.address)
            continue
        written.emails[one.id] = letter.email
        written.links.extend(letter.links)
        if letter.own is not None:
            written.own.append(letter.own)
    written.shared.update(number for found in sheets.values() for number in found.shared)
    return written


def _sheet(house: House, connection: Connection, sheets: dict[SheetKey, Sheet], one: Waiting) -> Sheet:
    """Return the sheet of a touch, read once for a batch."""
    key = one.track or "", one.track_version or 0, one.email
    if key not in sheets:
        sheets[key] = sheet(house, connection, *key)
    return sheets[key]


def _agreed(house: House, connection: Connection, batch: Sequence[Waiting]) -> set[int]:
    """Return the leads of *batch* who agreed to opens being heard of."""
    touched = [one.lead_id for one in batch if one.kind == "touch"]
    if house.tracking is None or not touched:
        return set()
    return opens.granted(house.database, connection, touched)


def keep(house: House, connection: Connection, written: Written, now: datetime) -> None:
    """Store what the links in the emails do, so that they work once mailed."""
    links.keep(house.database, connection, written.links, now)
    destinations.keep(house.database, connection, written.shared, written.own)
