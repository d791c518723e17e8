"""What a lead may choose about its mail on its own page: what, how often, not now, and when it decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection, Table, select

from nurture.db.tables import core
from nurture.domain.consent.suppression import Scope, Source, Standing, by_link, folded
from nurture.domain.planning import calendar
from nurture.domain.signals import SignalKind
from nurture.errors import NotFound, Refused
from nurture.journey.consent import opt_in, suppression
from nurture.journey.consent.suppression import EVERYTHING, About, OptOut
from nurture.journey.engagement import signals
from nurture.journey.leads import suppression_queries
from nurture.journey.preferences.unsubscribe import SOURCE, answered, masked, program_of
from nurture.journey.tracks import manual
from nurture.runtime.context import House
from nurture.runtime.token_queries import Kept

_lead: Table = core.Lead.__table__  # type: ignore[attr-defined]
_address: Table = core.Address.__table__  # type: ignore[attr-defined]
_signal: Table = core.Signal.__table__  # type: ignore[attr-defined]

BY_LEAD: Final = "as the lead asked on its page"


@dataclass(frozen=True, slots=True)
class Topic:
    """Something that a lead can get mail about, or not. *elsewhere*: it was not stopped by a link of ours."""

    name: str
    wanted: bool
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a lead has chosen. *address* is masked: whoever a mail was forwarded to sees this too.

    *contact* is where the sender reads mail. *today* is the lead's own. *elsewhere*: all mail was stopped,
    and not by a link of ours, so that no such link starts it again. *bounced*: mail to the address came back,
    whatever the lead chose. *paused_here*: the pause was asked for on this page, and may be ended here.
    *decides_on*: the date that was stated on this page, unless another was learned since.
    """

    sender: str
    contact: str
    address: str
    zone: str
    today: date
    stopped: bool
    elsewhere: bool
    bounced: bool
    topics: Sequence[Topic]
    paused_until: date | None
    paused_here: bool
    pace_days: int | None
    decides_on: date | None

    def topic(self, name: str) -> Topic | None:
        """Return the topic of this name, however it is written; None if there is none."""
        return next((one for one in self.topics if folded(one.name) == folded(name)), None)


def show(house: House, kept: Kept, now: datetime) -> Preferences:
    """Return what the lead of this link has chosen so far."""
    wanted = (
        select(
            _lead.c.zone,
            _lead.c.paused_until,
            _lead.c.paused_by,
            _lead.c.pace_days,
            _address.c.id,
            _address.c.email,
        )
        .outerjoin(_address, _address.c.id == _lead.c.address_id)
        .where(_lead.c.id == kept.lead_id)
    )
    with house.database.read() as connection:
        row = connection.execute(wanted).one()
        standing = suppression_queries.standing(
            house.database, connection, [row.id] if row.id is not None else []
        )
        stands = standing.get(row.id, ())
        everything = [one for one in stands if one.scope is Scope.GLOBAL and one.source is not Source.BOUNCE]
        program = program_of(house, connection, kept)
        zone = row.zone or (program.zone_fallback if program is not None else "UTC")
        paused = row.paused_until if row.paused_until is not None and row.paused_until > now else None
        return Preferences(
            sender=program.sender.name if program is not None else "",
            contact=(program.sender.reply_to or program.sender.email) if program is not None else "",
            address=masked(row.email or ""),
            zone=zone,
            today=calendar.local(now, zone).date(),
            stopped=bool(everything),
            elsewhere=not all(map(by_link, everything)),
            bounced=any(one.scope is Scope.GLOBAL and one.source is Source.BOUNCE for one in stands),
            topics=_topics(house, connection, stands),
            paused_until=calendar.local(paused, zone).date() if paused is not None else None,
            paused_here=manual.is_pause_of(row.paused_by, BY_LEAD),
            pace_days=row.pace_days,
            decides_on=_stated_here(connection, kept.lead_id),
        )


def stop_topic(house: House, kept: Kept, topic: Topic, now: datetime) -> None:
    """Stop mail about one topic. All mail is stopped by `visits.unsubscribe`."""
    database = house.database
    with database.write() as connection:
        address_id = suppression_queries.addresses_of(database, connection, [kept.lead_id]).get(kept.lead_id)
        if address_id is not None:
            refused = OptOut(address_id, Source.PAGE, Scope.TOPIC, topic.name)
            suppression.opt_out(database, connection, [refused], now)


def start_everything(house: House, kept: Kept, now: datetime) -> bool:
    """Log that the lead wants mail again; return whether that lifted anything. Topics stay as they are.

    Whoever has the mail has this link: it lifts only what was said by such a link.
    """
    return _opt_in(house, kept, EVERYTHING, now)


def start_topic(house: House, kept: Kept, topic: Topic, now: datetime) -> bool:
    """Log that the lead wants mail about one topic again; return whether that lifted anything."""
    return _opt_in(house, kept, About(Scope.TOPIC, topic.name), now)


def pause_until(house: House, kept: Kept, day: date, zone: str, now: datetime) -> None:
    """Send the lead nothing until *day* begins where it lives, or longer if others asked for that."""
    manual.pause(house, kept.lead_id, calendar.start_of(day, zone), now, by=BY_LEAD, only=BY_LEAD)


def resume(house: House, kept: Kept, now: datetime) -> None:
    """End the lead's pause. Refused for one that was not set on its page."""
    manual.pause(house, kept.lead_id, None, now, by=BY_LEAD, only=BY_LEAD)


def set_pace(house: House, kept: Kept, days: int | None, now: datetime) -> None:
    """Write to the lead once in *days* at most; None: as often as its track allows."""
    manual.set_pace(house, kept.lead_id, days, now, by=BY_LEAD)


def state_decision(house: House, kept: Kept, day: date, now: datetime) -> None:
    """Note when the lead says that it decides. Saying the same again says nothing new."""
    with house.database.read() as connection:
        known = connection.execute(select(_lead.c.decides_on).where(_lead.c.id == kept.lead_id)).scalar_one()
    if known == day:
        return
    key = f"deciding|{kept.lead_id}|{day.isoformat()}|{now.isoformat()}"
    heard = answered(house, kept, SignalKind.DECIDING, key, now)
    signals.record(house, [heard._replace(value=day.isoformat())], now)


def withdraw_decision(house: House, kept: Kept, now: datetime) -> None:
    """Note that the lead takes back the date that it stated on its page; of others this changes nothing."""
    with house.database.read() as connection:
        known = _stated_here(connection, kept.lead_id)
    if known is not None:
        manual.withdraw_timeline(house, kept.lead_id, now, by=BY_LEAD)


def _stated_here(connection: Connection, lead_id: int) -> date | None:
    """Return the date on which the lead decides if it was stated on its page; None for one of others."""
    here = select(_signal.c.id).where(
        _signal.c.lead_id == _lead.c.id,
        _signal.c.kind == SignalKind.DECIDING.value,
        _signal.c.source == SOURCE,
        _signal.c.occurred_at == _lead.c.decides_stated_at,
    )
    wanted = select(_lead.c.decides_on).where(_lead.c.id == lead_id, here.exists())
    return connection.execute(wanted).scalar_one_or_none()


def _opt_in(house: House, kept: Kept, about: About, now: datetime) -> bool:
    wanted = select(_address.c.email).join(_lead).where(_lead.c.id == kept.lead_id)
    with house.database.read() as connection:
        email = connection.execute(wanted).scalar_one_or_none()
    if email is None:
        return False
    evidence = f"pressed the button on the preferences page, by the link in message {kept.message_id}"
    try:
        return bool(opt_in.opt_in(house, email, about, evidence, now, source=Source.PAGE).lifted)
    except Refused:  # what stands was not said by a link of ours
        return False


def _topics(house: House, connection: Connection, stands: Sequence[Standing]) -> list[Topic]:
    """Return the topics of the published tracks, and those that the lead opted out of before they went."""
    try:
        programs = list(house.rulebooks.current(connection).programs.values())
    except NotFound:
        programs = []
    refused = {folded(one.ref): one.ref for one in stands if one.scope is Scope.TOPIC}
    elsewhere = {folded(one.ref) for one in stands if one.scope is Scope.TOPIC and not by_link(one)}
    names = refused | {folded(one.topic): one.topic for one in programs if one.topic}
    return [Topic(names[key], key not in refused, key in elsewhere) for key in sorted(names)]
