"""Find what stops mail that is due: decisions of people, and the first and last days of tracks."""

from collections.abc import Mapping
from datetime import datetime

from nurture.db.transaction import Transaction
from nurture.domain.delivery.stops import STOP_REVIEW_INTERVAL, find_stop
from nurture.domain.planning.program import Program
from nurture.journey.delivery.results import cancel, defer_until, hold_until
from nurture.journey.leads import stop_queries
from nurture.outbox.messages import TO_LEAD, DeliveryResult, DueMessage
from nurture.runtime.published import PublishedDefinitions


class StoppedMail:
    """What stops mail now: decisions of people, and the first and last days of the tracks as published."""

    def __init__(self, definitions: PublishedDefinitions, tx: Transaction) -> None:
        current = definitions.find_current(tx)
        self._programs: Mapping[str, Program] = current.programs if current is not None else {}
        self._stops = stop_queries.load_stops(tx)
        self._free: set[tuple[str | None, str, str]] = set()
        """The messages that nothing stops, by what the answer depends on."""

    def result(self, message: DueMessage, now: datetime) -> DeliveryResult | None:
        """Return the result of a message that may not go at *now*, the same for all; None if nothing stops it."""
        key = message.track, message.recipient, message.zone
        if key in self._free:
            return None
        found = self._find(message, now)
        if found is None:
            self._free.add(key)
        return found

    def _find(self, message: DueMessage, now: datetime) -> DeliveryResult | None:
        to_lead = message.recipient == TO_LEAD
        stop = find_stop(self._stops, message.track, to_lead=to_lead)
        if stop is not None:
            held = hold_until(message, f"stopped: {stop}", now + STOP_REVIEW_INTERVAL)
            return held._replace(held_by=stop_queries.STOP)
        program = self._programs.get(message.track or "") if to_lead else None
        if program is None:
            return None
        starts_at, ends_at = program.starts_at(message.zone), program.ends_at(message.zone)
        if ends_at is not None and ends_at <= now:
            return cancel(message, f"{program.track} ended on {program.ends_on}")
        if starts_at is not None and starts_at > now:
            return defer_until(message, f"{program.track} starts on {program.starts_on}", starts_at, now)
        return None
