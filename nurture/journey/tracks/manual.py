"""What a person does to one lead by hand: enrol, leave, pause, resume, close."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection

from nurture.domain.consent.suppression import covering, told
from nurture.domain.lead import MOST_PACE_DAYS, Closing, Custodian
from nurture.domain.planning.planner import HoldReason, decide
from nurture.domain.planning.program import ToQueue, ToTrack
from nurture.domain.scoring import bant
from nurture.domain.scoring.bant import Sure
from nurture.errors import NotFound, Refused
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import signal_queries, snapshot
from nurture.journey.leads.changeset import Factual, Placed
from nurture.journey.leads.snapshot import Claimed
from nurture.journey.leads.transitions import Mover
from nurture.runtime.context import House

BY_HAND: Final = "by hand"
_LONGER: Final = ", longer than somebody else did"


@contextmanager
def _lead(house: House, lead_id: int, now: datetime) -> Iterator[tuple[Connection, Claimed, Mover]]:
    """Lock one lead, and write at the end what was collected."""
    database = house.database
    with database.write() as connection:
        book = house.rulebooks.current(connection)
        rows = snapshot.these(database, connection, [lead_id])
        if not rows:
            raise NotFound(f"There is no lead {lead_id}, or it was erased. `nurture leads list` lists them.")
        lead = snapshot.views(database, connection, rows, now, house.holidays)[0]
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
        if (lead.view.custodian, lead.ref) == (Custodian.CLOSED, Closing.WON):
            raise Refused(f"Lead {lead_id} is closed as won. A customer goes back on no track.")
        if lead.view.suppressed or not lead.view.lead.basis or lead.address_id is None:
            why = lead.view.suppressed or "there is no address, or no consent or other basis on record"
            raise Refused(f"Lead {lead_id} may not be mailed: {why}.")
        refused = covering(lead.view.standing, track, mover.book.programs[track].topic)
        if refused is not None:
            raise Refused(f"Lead {lead_id} may not be mailed on {track}: {told(refused)}.")
        mover.send_to(lead, ToTrack(track), "enrolled by hand", event="enrolled")


def leave(house: House, lead_id: int, queue: str, now: datetime) -> None:
    """Take the lead off its track, into a named queue where a person looks at it."""
    with _lead(house, lead_id, now) as (_, lead, mover):
        if lead.view.custodian is not Custodian.TRACK:
            raise Refused(f"Lead {lead_id} is on no track; its custodian is {lead.view.custodian.value}.")
        mover.send_to(lead, ToQueue(queue), "taken off by hand", event="left")


def is_pause_of(paused_by: str | None, who: str) -> bool:
    """Whether a pause is of *who* alone, and is none that they made longer for somebody else."""
    return paused_by is not None and paused_by.startswith(who) and not paused_by.endswith(_LONGER)


def pause(
    house: House,
    lead_id: int,
    until: datetime | None,
    now: datetime,
    *,
    by: str = BY_HAND,
    only: str = "",
) -> datetime | None:
    """Send the lead nothing until *until* (UTC), None to end the pause; return until when it is paused.

    *by* says who wanted it. *only*: whose pauses may be ended or made shorter, "" for anybody's. A longer one
    of somebody else stands, and to end it is Refused.
    """
    with _lead(house, lead_id, now) as (connection, lead, mover):
        paused = lead.view.lead.paused_until
        if only and paused is not None and paused > now and not is_pause_of(lead.view.lead.paused_by, only):
            if until is None:
                raise Refused(f"Lead {lead_id} was paused until {paused:%Y-%m-%d}, but not {only.strip()}.")
            if until <= paused:
                return paused
            by += _LONGER
        leads_queries.pause(connection, lead_id, until, by, now)
        signal_queries.wake(house.database, connection, [lead_id], now)
        because = f"paused until {until:%Y-%m-%d %H:%M} UTC {by}" if until else f"resumed {by}"
        mover.note(lead, "paused" if until else "resumed", because, None)
    return until


def hurry(house: House, lead_id: int, now: datetime, *, by: str = BY_HAND) -> bool:
    """End what the lead's track waits for now, as if it had waited; its window and caps still hold.

    Returns whether it waited for anything. Refused for a lead that is on no track, or paused.
    """
    with _lead(house, lead_id, now) as (_, lead, mover):
        stay = lead.view.enrollment
        if stay is None or lead.view.custodian is not Custodian.TRACK:
            raise Refused(f"Lead {lead_id} is on no track; its custodian is {lead.view.custodian.value}.")
        if (lead.view.lead.paused_until or now) > now:
            raise Refused(f"Lead {lead_id} is paused until {lead.view.lead.paused_until:%Y-%m-%d}.")
        program = mover.book.programs.get(stay.track)
        if program is None:
            raise NotFound(f"Track {stay.track} is not published. Run `nurture publish`.")
        plain = replace(lead.view, lead=replace(lead.view.lead, call_on=None))  # the track alone
        decision = decide(plain, program, replace(mover.book.policy, criteria=()), now)
        at, wakes = decision.position or stay.position, decision.wake_at
        if decision.hold not in (HoldReason.WAITING, HoldReason.NOT_DUE) or wakes is None:
            return False
        sooner = wakes - now
        mover.changes.placed.append(
            Placed(stay.id, lead_id, at.step, at.visit, at.anchor - sooner, min(at.reached - sooner, now))
        )
        moved = mover.keep(lead, Custodian.TRACK, stay.track, "the wait was ended", now)
        mover.note(lead, "hurried", f"{sooner.days} days sooner {by}", moved, step=at.step)
    return True


def set_pace(house: House, lead_id: int, days: int | None, now: datetime, *, by: str = BY_HAND) -> None:
    """Write to the lead once in *days* at most; None: as often as its track allows."""
    if days is not None and not 1 <= days <= MOST_PACE_DAYS:
        raise Refused(f"One email in {days} days is no pace. Choose 1 to {MOST_PACE_DAYS} days, or a pause.")
    with _lead(house, lead_id, now) as (connection, lead, mover):
        leads_queries.set_pace(connection, lead_id, days, now)
        signal_queries.wake(house.database, connection, [lead_id], now)
        because = f"one email in {days} days at most, {by}" if days else f"as often as its track allows, {by}"
        mover.note(lead, "paced", because, None)


def withdraw_timeline(house: House, lead_id: int, now: datetime, *, by: str = BY_HAND) -> None:
    """Note that the lead does not decide by the day that it named, and names no other."""
    with _lead(house, lead_id, now) as (connection, lead, mover):
        leads_queries.withdraw_timeline(connection, lead_id, now)
        signal_queries.wake(house.database, connection, [lead_id], now)
        mover.note(lead, "undecided", f"the date on which it decides is withdrawn, {by}", None)


def qualify(
    house: House,
    lead_id: int,
    said: Mapping[str, str],
    now: datetime,
    *,
    source: str,
    sure: Sure = Sure.TOLD,
    on: date | None = None,
) -> None:
    """Keep what *source* said of the lead's budget, authority or need, with the day and how sure it is."""
    day = on or now.date()
    if not said:
        raise Refused("Nothing was said. Add --budget, --authority or --need.")
    if day > now.date():
        raise Refused(f"{day} is yet to come. Write the day on which it was said.")
    with _lead(house, lead_id, now) as (connection, lead, mover):
        facts = dict(lead.view.lead.facts)
        for field, value in said.items():
            facts |= bant.told(field, value, source, day, sure)
        mover.changes.facts.append(Factual(lead_id, facts))
        signal_queries.wake(house.database, connection, [lead_id], now)
        mover.note(lead, "qualified", f"{' and '.join(said)} {sure.name.lower()} by {source} on {day}", None)
