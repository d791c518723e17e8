"""Show what holds mail back, and resume a paused provider or sender domain."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from nurture.db.transaction import Transaction
from nurture.domain.delivery import sending_limits
from nurture.domain.delivery.sending_limits import SendingLimits
from nurture.domain.delivery.stops import Stop
from nurture.errors import InvalidState
from nurture.journey.delivery import queries as sent_mail
from nurture.journey.delivery.queries import DeliveryStats, SentCount
from nurture.journey.delivery.send_checks import sender_domain
from nurture.journey.leads import stop_queries
from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import Breaker
from nurture.runtime import quarantine
from nurture.runtime.context import AppContext


@dataclass(frozen=True, slots=True)
class DomainStatus:
    """A sender domain's volume, limits and delivery statistics; *pause* is None while it may send.

    *allowed_today* and *allowed_tomorrow* are None without a limit. *warm_up_day* counts from 1, is 0 or less
    before the warm-up starts, and None without a warm-up.
    """

    domain: str
    tracks: tuple[str, ...]
    limits: SendingLimits
    sent: SentCount
    stats: DeliveryStats
    allowed_today: int | None
    allowed_tomorrow: int | None
    warm_up_day: int | None
    pause: Breaker | None


@dataclass(frozen=True, slots=True)
class DeliverabilityStatus:
    """The provider, all open circuit breakers, sending pauses and stops, and the status of each sender domain."""

    provider: str
    breakers: tuple[Breaker, ...]
    domains: tuple[DomainStatus, ...]
    stops: tuple[Stop, ...] = ()

    @property
    def provider_breaker(self) -> Breaker | None:
        """Return the breaker that holds back all mail, or None."""
        matching = (one for one in self.breakers if (one.kind, one.name) == ("provider", self.provider))
        return next(matching, None)


def load_deliverability_status(ctx: AppContext, now: datetime) -> DeliverabilityStatus:
    """Return the provider, open breakers, stops and domain statuses at *now*."""
    with ctx.database.read() as tx:
        breakers = circuit_breakers.list_active(tx)
        domains = tuple(_domain_statuses(ctx, tx, breakers, now))
        stops = tuple(stop_queries.load_stops(tx).values())
        return DeliverabilityStatus(ctx.provider.name, tuple(breakers), domains, stops)


def _domain_statuses(
    ctx: AppContext, tx: Transaction, breakers: Sequence[Breaker], now: datetime
) -> list[DomainStatus]:
    definitions = ctx.definitions.find_current(tx)
    if definitions is None:  # no domain sends
        return []
    tracks: dict[str, list[str]] = {}
    for name, program in sorted(definitions.programs.items()):
        tracks.setdefault(sender_domain(program), []).append(name)
    sent = sent_mail.count_sent(tx, list(tracks), now)
    stats = sent_mail.load_delivery_stats(
        tx, {name: definitions.sending.for_domain(name).sample_size for name in tracks}
    )
    paused = {one.name: one for one in breakers if one.kind == "domain"}
    today = now.astimezone(UTC).date()
    statuses = []
    for name in sorted(tracks):
        limits = definitions.sending.for_domain(name)
        warm_up_day = None if limits.warm_up is None else (today - limits.warm_up.start_date).days + 1
        today_limit, tomorrow_limit = limits.max_on_day(today), limits.max_on_day(today + timedelta(days=1))
        reached = stats.get(name, DeliveryStats())
        pause = paused.get(name)
        statuses.append(
            DomainStatus(
                name, tuple(tracks[name]), limits, sent[name], reached, today_limit, tomorrow_limit, warm_up_day, pause
            )
        )
    return statuses


def resume(ctx: AppContext, name: str, by: str, now: datetime) -> list[Breaker]:
    """Release the breaker of the provider or the sender domain *name*; return what was released.

    *by* is stored with the breaker. Raises InvalidState if nothing of that name is paused.
    """
    names = {name, sending_limits.normalize_domain(name)}
    if name == quarantine.NAME:
        with ctx.database.read() as tx:
            active = next((one for one in circuit_breakers.list_active(tx) if one.name == name), None)
        remedy = f" {quarantine.remedy_for(active)}" if active is not None else ""
        raise InvalidState(f"A database quarantine cannot be resumed like a provider.{remedy}")
    with ctx.database.write() as tx:
        open_breakers = circuit_breakers.list_active(tx)
        released = [
            one
            for one in open_breakers
            if one.name in names and circuit_breakers.release(tx, one.kind, one.name, by, now)
        ]
    if not released:
        paused = ", ".join(one.name for one in open_breakers)
        hint = f"Paused now: {paused}." if paused else "Nothing is paused now."
        raise InvalidState(f"{name} is not paused. {hint} `nurture reports deliverability` shows the status.")
    return released
