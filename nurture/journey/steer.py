"""What a person does to one lead by hand: enrol, leave, pause, resume, suppress, close."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Connection

from nurture.domain.address import normalise_address
from nurture.domain.lead import Closing, Custodian
from nurture.domain.track import ToQueue, ToTrack
from nurture.errors import NotFound, Refused
from nurture.store import leads, offers, signals, views
from nurture.store.views import Claimed

from .house import House
from .moves import Mover


@contextmanager
def _lead(house: House, lead_id: int, now: datetime) -> Iterator[tuple[Connection, Claimed, Mover]]:
    """Lock one lead, and write at the end what was collected."""
    database = house.database
    with database.write() as connection:
        book = house.rulebooks.current(connection)
        rows = views.these(database, connection, [lead_id])
        if not rows:
            raise NotFound(f"There is no lead {lead_id}. `nurture leads` lists them.")
        lead = views.views(database, connection, rows, now, house.holidays)[0]
        mover = Mover(book, now, "by hand")
        yield connection, lead, mover
        mover.changes.write(database, connection, now)


def enrol(house: House, lead_id: int, track: str, now: datetime) -> None:
    """Put the lead on *track*, off its present one. Refused while sales has it or nobody may mail it."""
    with _lead(house, lead_id, now) as (_, lead, mover):
        if track not in mover.book.programs:
            known = ", ".join(sorted(mover.book.programs)) or "none"
            raise NotFound(f"No track {track} is published. Published: {known}.")
        if lead.view.custodian in (Custodian.OFFER, Custodian.REP):
            raise Refused(f"Lead {lead_id} is with sales ({lead.ref}). Let them reject it first.")
        if lead.view.suppressed or not lead.view.lead.basis or lead.address_id is None:
            why = lead.view.suppressed or "there is no address, or no consent or other basis on record"
            raise Refused(f"Lead {lead_id} may not be mailed: {why}.")
        mover.send_to(lead, ToTrack(track), "enrolled by hand", event="enrolled")


def leave(house: House, lead_id: int, queue: str, now: datetime) -> None:
    """Take the lead off its track, into a named queue where a person looks at it."""
    with _lead(house, lead_id, now) as (_, lead, mover):
        if lead.view.custodian is not Custodian.TRACK:
            raise Refused(f"Lead {lead_id} is on no track; its custodian is {lead.view.custodian.value}.")
        mover.send_to(lead, ToQueue(queue), "taken off by hand", event="left")


def pause(house: House, lead_id: int, until: datetime | None, now: datetime) -> None:
    """Leave the lead in peace until *until* (UTC); None ends the pause."""
    with _lead(house, lead_id, now) as (connection, lead, mover):
        leads.pause(connection, lead_id, until, now)
        signals.wake(house.database, connection, [lead_id], now)
        because = f"paused until {until:%Y-%m-%d %H:%M} UTC by hand" if until else "resumed by hand"
        mover.note(lead, "paused" if until else "resumed", because, None)


def suppress(house: House, email: str, now: datetime, *, source: str = "admin") -> bool:
    """Never mail *email* again. Works for addresses without a lead too; return whether it was new."""
    normal = normalise_address(email)
    with house.database.write() as connection:
        address_id, lead_id = leads.address(connection, email, normal)
        standing = views.effective_suppressions(house.database, connection, [address_id])
        if any(scope == "global" for _, scope, _, _ in standing):
            return False
        signals.suppress(house.database, connection, [(address_id, "suppress", "global", "", source, now)])
        if lead_id is not None:
            signals.wake(house.database, connection, [lead_id], now)
    return True


def close(
    house: House,
    lead_id: int,
    closing: Closing,
    now: datetime,
    *,
    happened_at: datetime | None = None,
    amount: float | None = None,
    reason: str = "",
    source: str = "nurture",
) -> None:
    """Close the lead as *closing*, with what sales said of it. Closing twice alike changes nothing.

    *happened_at* (UTC) may lie before *now*: deals are told late. Refused if it is closed as something else.
    """
    with _lead(house, lead_id, now) as (connection, lead, mover):
        if lead.view.custodian is Custodian.CLOSED:
            if lead.ref == closing.value:
                return
            if lead.ref in (Closing.WON, Closing.LOST):
                raise Refused(
                    f"Lead {lead_id} is closed as {lead.ref} already; it cannot become {closing.value}."
                )
        opened = offers.open_of(house.database, connection, [lead_id])
        offers.answer(
            house.database, connection, [(one.id, "withdrawn", "closed") for one in opened.values()], now
        )
        because = f"closed as {closing.value} by hand" + (f": {reason}" if reason else "")
        mover.close(
            lead, closing, because, reason=reason, happened_at=happened_at, amount=amount, source=source
        )
