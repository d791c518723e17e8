"""The kinds of messages: how each is composed, and when it is withdrawn. `nurture.app` registers them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from nurture.db.transaction import Transaction
from nurture.mail.rendering.render import ComposedEmail
from nurture.outbox.messages import DueMessage
from nurture.runtime.link_queries import PersonalDestinations, SharedDestination
from nurture.runtime.public_links import Link

if TYPE_CHECKING:
    from nurture.runtime.context import AppContext


class ComposedMessage(NamedTuple):
    """A composed message and its public links.

    *own_destinations* are the destinations of numbered links that only this message has, *shared_destinations* those
    that all messages of its template share. *named_leads* are other leads that it names: erasing one of them finds it.
    """

    email: ComposedEmail
    links: Sequence[Link] = ()
    own_destinations: PersonalDestinations | None = None
    shared_destinations: Sequence[SharedDestination] = ()
    named_leads: Sequence[int] = ()

    @property
    def link_digest(self) -> str | None:
        """Return the digest that verifies the links whose tokens derive from each other; None if there are none."""
        return next((link.message_digest for link in self.links if link.message_digest), None)


class Composer(Protocol):
    """Composes the messages of a batch."""

    def compose(self, tx: Transaction, message: DueMessage) -> ComposedMessage:
        """Compose one message. An exception rejects this message and no other."""
        ...


class Review(NamedTuple):
    """Why a due message is cancelled, or with *until* (UTC) held until then."""

    reason: str
    until: datetime | None = None


def _no_review(
    _ctx: AppContext, _tx: Transaction, _batch: Sequence[DueMessage], _now: datetime
) -> Mapping[int, Review]:
    return {}


@dataclass(frozen=True, slots=True)
class MessageKind:
    """A kind of message in the outbox.

    *load* reads what the messages of a batch need, in a constant number of statements. *withdrawal_reason* returns why
    a due message is not to be sent any more, "" if it is; then it is cancelled; *review* does so for a batch of due
    messages by id, where that takes a look at their leads. A message that *asks_consent* needs no
    basis, and waits for no send window and no frequency cap. Of the due mail of one lead, the highest *priority* goes
    first; what then exceeds a cap is moved.
    """

    name: str
    load: Callable[[AppContext, Transaction, Sequence[DueMessage], datetime], Composer]
    withdrawal_reason: Callable[[DueMessage], str] = lambda _message: ""
    asks_consent: bool = False
    priority: int = 0
    review: Callable[[AppContext, Transaction, Sequence[DueMessage], datetime], Mapping[int, Review]] = _no_review
