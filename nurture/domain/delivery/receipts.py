"""What an email provider, a notifier or a CRM answers to one message or record."""

from dataclasses import field
from datetime import datetime

from nurture.domain.frozen import frozen


@frozen
class Accepted:
    """It was accepted as *remote_id*. *note* says which part of a record was not stored, or "".

    *found* is the status and the owner's address (None: not known) that a record had when it was first written.
    """

    remote_id: str
    note: str = ""
    found: tuple[str, str | None] | None = field(default=None, compare=False)


@frozen
class Rejected:
    """It was refused permanently, until a person corrects something."""

    reason: str


@frozen
class NotSent:
    """It was certainly not sent and may be retried, not before *retry_at* (UTC) if set.

    *blocks_all*: no other can be sent until then (rate limit, refused key, provider down).
    *blocks_sender*: no other email from this sender can be sent (unverified address).
    """

    reason: str
    retry_at: datetime | None = None
    blocks_all: bool = False
    blocks_sender: bool = False


@frozen
class Unknown:
    """It may or may not have been sent. An email is not resent automatically; a record is looked up first."""

    reason: str


Receipt = Accepted | Rejected | NotSent | Unknown
