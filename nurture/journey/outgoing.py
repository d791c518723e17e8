"""Compose whatever a batch of the outbox holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from nurture.mail.compose import ComposedEmail
from nurture.store.outbox import Waiting

from .briefs import Briefs
from .house import House
from .letters import touch
from .links import Link
from .unnamed import unnamed


@dataclass
class Written:
    """The composed emails by message id, the links in them, and why others could not be written."""

    emails: dict[int, ComposedEmail] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)


def write(house: House, connection: Connection, batch: Sequence[Waiting]) -> Written:
    """Compose each message of *batch*; a letter that cannot be composed never stops the others."""
    written = Written()
    briefs = Briefs.of(house, connection, [one for one in batch if one.kind != "touch"])
    for one in batch:
        try:
            email, made = touch(house, connection, one) if one.kind == "touch" else briefs.write(one)
        except Exception as error:  # noqa: BLE001 - said on the message
            written.faults[one.id] = unnamed(error, one.facts, one.address)
            continue
        written.emails[one.id] = email
        written.links.extend(made)
    return written
