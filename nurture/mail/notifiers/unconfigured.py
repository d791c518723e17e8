"""What stands in for a place that the rules name and the settings do not know."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from nurture.errors import Misconfigured
from nurture.mail.providers.base import NotSent, Receipt
from nurture.mail.rendering.render import ComposedEmail

NOTIFIER_PREFIX: Final = "notify:"
"""What the names of places begin with among providers: a brake on one must never be taken for one on mail."""

RETRY_AFTER: Final = timedelta(minutes=15)


class UnconfiguredNotifier:
    """Keeps what it is given until somebody says where *target* is."""

    max_concurrency = 1

    def __init__(self, target: str) -> None:
        self.target = target
        self.name = f"{NOTIFIER_PREFIX}{target}"

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        """Send nothing."""
        return [NotSent(self._error_text, now + RETRY_AFTER, blocks_all=True) for _ in batch]

    def check(self, email: ComposedEmail, now: datetime) -> None:  # noqa: ARG002 - the port names them
        """Raise Misconfigured."""
        raise Misconfigured(self._error_text)

    def close(self) -> None:
        """Nothing is held open."""

    @property
    def _error_text(self) -> str:
        return f"NURTURE_NOTIFY does not say where {self.target} is. Add {self.target}=URL to it."
