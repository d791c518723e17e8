"""Compose whatever a batch of the outbox holds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection

from nurture.journey.consent import open_tracking_queries
from nurture.journey.handoff import reply_forwarding, sla_emails
from nurture.journey.handoff.brief_emails import Briefs
from nurture.journey.handoff.sla_emails import Nudges
from nurture.journey.routing import ask_lead
from nurture.journey.tracks.touch_email import Letter, Sheet, sheet, touch
from nurture.mail.rendering.render import ComposedEmail
from nurture.outbox.messages import NOTICE, TO_LEADS, Waiting
from nurture.runtime import link_destination_queries, public_links
from nurture.runtime.context import House
from nurture.runtime.link_destination_queries import Own, Shared
from nurture.runtime.public_links import Link
from nurture.runtime.redact import unnamed

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

    def leave(self, ids: AbstractSet[int]) -> None:
        """Drop all but the messages of *ids*."""
        if ids >= self.emails.keys() | self.faults.keys():
            return
        self.emails = {id_: email for id_, email in self.emails.items() if id_ in ids}
        self.links = [link for link in self.links if link.wanted.message_id in ids]
        self.faults = {id_: why for id_, why in self.faults.items() if id_ in ids}
        self.own = [own for own in self.own if own.message_id in ids]


@dataclass(frozen=True)
class Batch:
    """Messages to compose, with what was read of them as they were claimed. Composing takes longer."""

    house: House
    messages: Sequence[Waiting]
    agreed: Collection[int]
    answers: Collection[int]
    forwards: reply_forwarding.Forwards
    briefs: Briefs
    nudges: Nudges | None

    @classmethod
    def of(cls, house: House, connection: Connection, messages: Sequence[Waiting], now: datetime) -> Batch:
        """Read what *messages* have in common, in a constant number of statements."""
        passed_on = [
            one for one in messages if one.kind == "brief" and one.email == reply_forwarding.TEMPLATE
        ]
        answers = {one.id for one in passed_on}
        mine = (*TO_LEADS, sla_emails.KIND)
        others = [one for one in messages if one.kind not in mine and one.id not in answers]
        nudging = [one for one in messages if one.kind == sla_emails.KIND]
        return cls(
            house,
            messages,
            _agreed(house, connection, messages),
            answers,
            reply_forwarding.Forwards.of(house, connection, passed_on),
            Briefs.of(house, connection, others, now),
            Nudges.of(house, connection, nudging),
        )

    def compose(self, connection: Connection) -> Written:
        """Compose each message; one that cannot be composed never stops the others."""
        forwards = replace(self.forwards, connection=connection)
        briefs = replace(self.briefs, connection=connection)
        nudging = replace(self.nudges, connection=connection) if self.nudges is not None else None
        written = Written()
        sheets: dict[SheetKey, Sheet] = {}
        for one in self.messages:
            try:
                if one.kind == "touch":
                    on = _sheet(self.house, connection, sheets, one)
                    letter = touch(self.house, on, one, opens=one.lead_id in self.agreed)
                elif one.kind == ask_lead.ASK:
                    letter = ask_lead.letter(self.house, connection, one)
                elif one.id in self.answers:
                    letter = Letter(forwards.write(one), [])
                elif one.kind == sla_emails.KIND and nudging is not None:
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
    return open_tracking_queries.granted(house.database, connection, touched)


def keep(house: House, connection: Connection, written: Written, now: datetime) -> None:
    """Store what the links in the emails do, so that they work once mailed."""
    public_links.keep(house.database, connection, written.links, now)
    link_destination_queries.keep(house.database, connection, written.shared, written.own)
