"""What stands in for a place that the rules name and the settings do not know."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from nurture.errors import Misconfigured
from nurture.mail.compose import ComposedEmail
from nurture.mail.provider import NotSent, Receipt

LOOK_AGAIN_AFTER: Final = timedelta(minutes=15)


class Nowhere:
    """Keeps what it is given until somebody says where *name* is."""

    at_once = 1

    def __init__(self, name: str) -> None:
        self.name = name

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        """Send nothing."""
        return [NotSent(self._missing, now + LOOK_AGAIN_AFTER, stops=True) for _ in batch]

    def check(self, email: ComposedEmail, now: datetime) -> None:  # noqa: ARG002 - the port names them
        """Raise Misconfigured."""
        raise Misconfigured(self._missing)

    def close(self) -> None:
        """Nothing is held open."""

    @property
    def _missing(self) -> str:
        return f"NURTURE_TELL does not say where {self.name} is. Add {self.name}=URL to it."
