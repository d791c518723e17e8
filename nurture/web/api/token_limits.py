"""Limit the items that an API token may post in an hour, and the suppressions among them."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from nurture.journey.intake.api import tokens
from nurture.journey.intake.api.batches import PermissionCheck, Refusal, check_scopes
from nurture.journey.intake.api.tokens import Caller, TokenScope
from nurture.runtime.context import AppContext
from nurture.web import errors

HOUR: Final = timedelta(hours=1)
MAX_ITEMS_PER_HOUR: Final = 200_000
MAX_SUPPRESSIONS_PER_HOUR: Final = 500
"""Opt-outs, bounces and complaints; for more, use `nurture leads suppressions import`."""

_log: Final = logging.getLogger(__name__)


class TokenRateLimits:
    """Counts items per token and hour in this process; records a token that reaches a limit for `doctor`."""

    def __init__(
        self, ctx: AppContext, items: int = MAX_ITEMS_PER_HOUR, suppressions: int = MAX_SUPPRESSIONS_PER_HOUR
    ) -> None:
        self._ctx = ctx
        self._limits = {"items": items, "suppressions": suppressions}
        self._lock = Lock()
        self._counts: dict[tuple[int, str], int] = {}
        self._current_hour: datetime | None = None

    def consume(self, caller: Caller, items: int, now: datetime) -> None:
        """Count the items of a batch. Raises WebError if they exceed the limit of this hour."""
        if not self._try_consume(caller, "items", items, now):
            raise errors.too_many(429, (self._hour(now) + HOUR - now).total_seconds())

    def make_permit(self, caller: Caller, required_scope: TokenScope, now: datetime) -> PermissionCheck:
        """Return a check whether the caller may post an item; items other than suppressions need *required_scope*."""
        by_scope = check_scopes(caller.scopes, required_scope)

        def check(is_suppression: bool) -> Refusal | None:  # noqa: FBT001 - as PermissionCheck is called
            refusal = by_scope(is_suppression)
            if refusal is not None or not is_suppression or self._try_consume(caller, "suppressions", 1, now):
                return refusal
            reason = (
                f"The token {caller.name!r} reached its limit of {self._limits['suppressions']:,} suppressions an hour."
            )
            return (reason, "Send it again in the next hour, or as a file: `nurture leads suppressions import`.")

        return check

    def _try_consume(self, caller: Caller, limit_name: str, amount: int, now: datetime) -> bool:
        """Count *amount* against *limit_name* if it fits; return whether it does."""
        key, hour = (caller.token_id, limit_name), self._hour(now)
        with self._lock:
            if hour != self._current_hour:
                self._current_hour = hour
                self._counts.clear()
            used = self._counts.get(key, 0)
            fits = used + amount <= self._limits[limit_name]
            self._counts[key] = used + amount if fits else max(used, self._limits[limit_name]) + 1
        if not fits and used <= self._limits[limit_name]:
            _log.warning("token_rate_limited", extra={"token": caller.name, "limit_name": limit_name})
            tokens.record_rate_limit(self._ctx, caller.token_id, now)
        return fits

    @staticmethod
    def _hour(now: datetime) -> datetime:
        return now.replace(minute=0, second=0, microsecond=0)
