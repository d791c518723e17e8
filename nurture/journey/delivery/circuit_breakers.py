"""What keeps mail back, for a person to look at and to take off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from nurture.domain.delivery import sending_limits
from nurture.domain.delivery.sending_limits import Limits, SendingRules
from nurture.errors import NotFound, Refused
from nurture.journey.delivery import volume_queries as sent_mail
from nurture.journey.delivery.send_checks import sender_domain
from nurture.journey.delivery.volume_queries import Received, Used
from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import Brake
from nurture.runtime import quarantine
from nurture.runtime.context import House


@dataclass(frozen=True, slots=True)
class DomainStanding:
    """What a sender domain has sent of what it may, and how that was received; *brake* None: it sends.

    *allowed_today* and *tomorrow* are None where there is no limit. *warm_up_day* counts from 1; 0 or less is
    before the ramp begins, None where there is no ramp.
    """

    domain: str
    tracks: tuple[str, ...]
    limits: Limits
    used: Used
    received: Received
    allowed_today: int | None
    tomorrow: int | None
    warm_up_day: int | None
    brake: Brake | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Who carries mail away, every brake that is on, and how each sender domain stands."""

    provider: str
    brakes: tuple[Brake, ...]
    domains: tuple[DomainStanding, ...]

    @property
    def provider_brake(self) -> Brake | None:
        """Return what keeps back all mail, None if nothing does."""
        held = (one for one in self.brakes if (one.kind, one.name) == ("provider", self.provider))
        return next(held, None)


def standing(house: House, now: datetime) -> Standing:
    """Return what may be sent at *now*, by whom, and what is kept back."""
    with house.database.read() as connection:
        on = circuit_breakers.on(connection)
        return Standing(house.provider.name, tuple(on), tuple(_domains(house, connection, on, now)))


def _domains(
    house: House, connection: Connection, on: Sequence[Brake], now: datetime
) -> list[DomainStanding]:
    try:
        book = house.rulebooks.current(connection)
    except NotFound:  # nothing is published yet, so no domain sends
        return []
    tracks: dict[str, list[str]] = {}
    for name, program in sorted(book.programs.items()):
        tracks.setdefault(sender_domain(program), []).append(name)
    used = sent_mail.spent(connection, list(tracks), now)
    received = sent_mail.received(connection, {name: book.sending.of(name).of_last for name in tracks})
    held = {one.name: one for one in on if one.kind == "domain"}
    return [
        _domain(
            name,
            tuple(tracks[name]),
            book.sending,
            used[name],
            received.get(name, Received()),
            held.get(name),
            now,
        )
        for name in sorted(tracks)
    ]


def _domain(
    name: str,
    tracks: tuple[str, ...],
    rules: SendingRules,
    used: Used,
    received: Received,
    brake: Brake | None,
    now: datetime,
) -> DomainStanding:
    limits = rules.of(name)
    today = now.astimezone(UTC).date()
    ramp = limits.warm_up
    return DomainStanding(
        name,
        tracks,
        limits,
        used,
        received,
        limits.on_day(today),
        limits.on_day(today + timedelta(days=1)),
        None if ramp is None else (today - ramp.starts).days + 1,
        brake,
    )


def resume(house: House, name: str, by: str, now: datetime) -> list[Brake]:
    """Take off the brake on the provider or the sender domain *name*; return what was taken off.

    *by* says who did it, and is kept with the brake. Raises Refused where nothing of that name is kept back.
    """
    wanted = {name, sending_limits.normalise_domain(name)}
    if name == quarantine.NAME:
        with house.database.read() as connection:
            why = next((one.reason for one in circuit_breakers.on(connection) if one.name == name), "")
        raise Refused(f"The quarantine of a database is not resumed like a provider. {quarantine.ends(why)}")
    with house.database.write() as connection:
        on = circuit_breakers.on(connection)
        taken = [
            one
            for one in on
            if one.name in wanted and circuit_breakers.release(connection, one.kind, one.name, by, now)
        ]
    if not taken:
        paused = ", ".join(one.name for one in on)
        known = f"Paused now: {paused}." if paused else "Nothing is paused now."
        raise Refused(
            f"{name} is not paused. {known} `nurture reports deliverability` shows how things stand."
        )
    return taken
