"""What somebody who follows a public link sees, and the one thing that each link does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Table, select

from nurture.db.tables import core
from nurture.domain.consent.suppression import Scope, Source
from nurture.domain.planning.program import Program
from nurture.domain.signals import SignalKind
from nurture.journey.engagement import signals
from nurture.journey.leads import suppression_queries
from nurture.journey.leads.signal_queries import Recorded
from nurture.runtime.context import House
from nurture.runtime.public_links import digest
from nurture.runtime.token_queries import Kept

_lead: Table = core.Lead.__table__  # type: ignore[attr-defined]
_address: Table = core.Address.__table__  # type: ignore[attr-defined]
_message: Table = core.Message.__table__  # type: ignore[attr-defined]

SOURCE: Final = "link"
"""Where signals of public links come from."""


@dataclass(frozen=True, slots=True)
class MailShown:
    """Who writes to whom. *address* is masked: whoever a mail was forwarded to sees this too."""

    sender: str
    address: str
    stopped: bool


def show_mail(house: House, kept: Kept) -> MailShown:
    """Return what a lead needs to know before the mail stops."""
    with house.database.read() as connection:
        address_id, email = _address_of(connection, kept.lead_id)
        return MailShown(
            sender_of(house, connection, kept), masked(email), _stopped(house, connection, address_id)
        )


def unsubscribe(
    house: House, token: str, kept: Kept, now: datetime, *, by: Source = Source.ONE_CLICK
) -> None:
    """Stop all mail to the lead's address. Each link counts once, unless the lead opted in again since."""
    heard = answered(house, kept, SignalKind.UNSUBSCRIBED, f"unsubscribe|{digest(token)}", now)
    signals.record(house, [heard._replace(value=by.value)], now)


def masked(email: str) -> str:
    """Return an address that its owner recognises, and nobody else can write to."""
    name, at, domain = email.rpartition("@")
    return f"{name[:1]}•••{at}{domain}" if at else ""


def answered(house: House, kept: Kept, kind: SignalKind, natural_key: str, now: datetime) -> Recorded:
    """Return what the lead does by its link, as an answer to the touch that brought the link."""
    heard = Recorded(kept.lead_id, kind.value, now, now, natural_key, SOURCE)
    touch = select(_message.c.enrollment_id, _message.c.track, _message.c.step).where(
        _message.c.id == kept.message_id
    )
    with house.database.read() as connection:
        row = connection.execute(touch).one_or_none()
    if row is None:
        return heard
    return heard._replace(
        enrollment_id=row.enrollment_id, track=row.track, step=row.step, message_id=kept.message_id
    )


def _address_of(connection: Connection, lead_id: int) -> tuple[int | None, str]:
    wanted = select(_address.c.id, _address.c.email).join(_lead).where(_lead.c.id == lead_id)
    row = connection.execute(wanted).one_or_none()
    return (row.id, row.email) if row is not None else (None, "")


def _stopped(house: House, connection: Connection, address_id: int | None) -> bool:
    if address_id is None:
        return False
    # A mailbox that bounced is no opt-out: who wants to leave must be able to, should it ever work again.
    standing = suppression_queries.standing(house.database, connection, [address_id]).get(address_id, ())
    return any(one.scope is Scope.GLOBAL and one.source is not Source.BOUNCE for one in standing)


def sender_of(house: House, connection: Connection, kept: Kept) -> str:
    """Return whose mail the link came in; "" if that is no longer known."""
    program = program_of(house, connection, kept)
    return program.sender.name if program is not None else ""


def program_of(house: House, connection: Connection, kept: Kept) -> Program | None:
    """Return the version of the track whose mail the link came in; None if that is no longer known."""
    sent = select(_message.c.track, _message.c.track_version).where(_message.c.id == kept.message_id)
    row = connection.execute(sent).one_or_none()
    if row is None or row.track is None or row.track_version is None:
        return None
    return house.rulebooks.program(connection, row.track, row.track_version)
