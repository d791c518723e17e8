"""What the contract suite needs of a provider: `tests/mail/providers/NAME/backend.py` opens one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage

from nurture.mail.providers.base import Provider


@dataclass(frozen=True)
class Backend:
    """A provider, and the emails it delivered; the Message-ID of each is the id of its receipt.

    *remembers_refs*: the provider detects duplicates. Without it, an email sent twice is delivered twice: only
    the outbox, which never resends an email with an unknown outcome, prevents the second copy.
    """

    provider: Provider
    delivered: Callable[[], list[EmailMessage]]
    remembers_refs: bool
