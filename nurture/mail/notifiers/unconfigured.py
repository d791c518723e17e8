"""What stands in for a place that the rules name and the settings do not know."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from nurture.errors import Misconfigured
from nurture.mail.providers.base import NotSent, Receipt
from nurture.mail.rendering.render import ComposedEmail

PREFIX: Final = "tell:"
"""What the names of places begin with among providers: a brake on one must never be taken for one on mail."""

LOOK_AGAIN_AFTER: Final = timedelta(minutes=15)


class Nowhere:
    """Keeps what it is given until somebody says where *place* is."""

    at_once = 1

    def __init__(self, place: str) -> None:
        self.place = place
        self.name = f"{PREFIX}{place}"

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
        return f"NURTURE_TELL does not say where {self.place} is. Add {self.place}=URL to it."
