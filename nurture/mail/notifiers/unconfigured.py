"""The notifier for a target that the policy names and NURTURE_NOTIFY does not."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from nurture.domain.delivery.receipts import NotSent, Receipt
from nurture.errors import Misconfigured
from nurture.mail.rendering.render import ComposedEmail

NOTIFIER_PREFIX: Final = "notify:"
"""The prefix of notifier names, so that their circuit breakers are separate from those of email providers."""

RETRY_AFTER: Final = timedelta(minutes=15)


class UnconfiguredNotifier:
    """Sends nothing until NURTURE_NOTIFY has a URL for *target*."""

    max_concurrency = 1

    def __init__(self, target: str) -> None:
        self.target = target
        self.name = f"{NOTIFIER_PREFIX}{target}"

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        """Return NotSent for each email."""
        return [NotSent(self._error_text, now + RETRY_AFTER, blocks_all=True) for _ in batch]

    def check(self, email: ComposedEmail, now: datetime) -> None:  # noqa: ARG002 - named by the protocol
        """Raise Misconfigured."""
        raise Misconfigured(self._error_text)

    def close(self) -> None:
        """Do nothing."""

    @property
    def _error_text(self) -> str:
        return f"NURTURE_NOTIFY has no URL for {self.target}. Add {self.target}=URL to it."
