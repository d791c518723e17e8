"""How many items each API token may post in an hour, and how many of them may stop mail."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from math import ceil
from threading import Lock
from typing import Final

from nurture.journey.intake.api import tokens
from nurture.journey.intake.api.batches import Permit, Refusal, by_scopes
from nurture.journey.intake.api.tokens import Caller, Scope
from nurture.runtime.context import House
from nurture.web import errors

HOUR: Final = timedelta(hours=1)
MOST_ITEMS: Final = 200_000
MOST_STOPS: Final = 500
"""Opt-outs, bounces and complaints: a list of them comes by `nurture leads suppressions import`."""

_log: Final = logging.getLogger(__name__)


class Ceilings:
    """Counts items by token and hour in this process; whoever reaches a ceiling is noted for the doctor."""

    def __init__(self, house: House, items: int = MOST_ITEMS, stops: int = MOST_STOPS) -> None:
        self._house = house
        self._most = {"items": items, "stops": stops}
        self._lock = Lock()
        self._counts: dict[tuple[int, str], int] = {}
        self._began: datetime | None = None

    def take(self, caller: Caller, items: int, now: datetime) -> None:
        """Count the items of a batch. Raises Problem where they are too many for this hour."""
        if not self._count(caller, "items", items, now):
            wait = {"Retry-After": str(ceil((self._hour(now) + HOUR - now).total_seconds()))}
            raise errors.too_many(429, wait)

    def permit(self, caller: Caller, ordinary: Scope, now: datetime) -> Permit:
        """Return what says of each item whether this caller may post it; *ordinary* ones need that scope."""
        by_scope = by_scopes(caller.scopes, ordinary)

        def permit(stops: bool) -> Refusal | None:  # noqa: FBT001 - as Permit is called
            refused = by_scope(stops)
            if refused is not None or not stops or self._count(caller, "stops", 1, now):
                return refused
            reason = f"The token {caller.name!r} has stopped mail to {self._most['stops']:,} leads this hour."
            return (
                reason,
                "Send it again in the next hour, or as a file: `nurture leads suppressions import`.",
            )

        return permit

    def _count(self, caller: Caller, what: str, many: int, now: datetime) -> bool:
        """Count *many* more of *what*, if that stays under the ceiling; return whether it does."""
        key, hour = (caller.token_id, what), self._hour(now)
        with self._lock:
            if hour != self._began:
                self._began = hour
                self._counts.clear()
            before = self._counts.get(key, 0)
            fits = before + many <= self._most[what]
            self._counts[key] = before + many if fits else max(before, self._most[what]) + 1
        if not fits and before <= self._most[what]:
            _log.warning("token_ceiling", extra={"token": caller.name, "what": what})
            tokens.note_ceiling(self._house, caller.token_id, now)
        return fits

    @staticmethod
    def _hour(now: datetime) -> datetime:
        return now.replace(minute=0, second=0, microsecond=0)
