"""Compose the messages of an outbox batch, whatever their kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain

from nurture.db.transaction import Transaction
from nurture.outbox.messages import DueMessage
from nurture.runtime import link_destination_queries, public_links
from nurture.runtime.context import AppContext
from nurture.runtime.message_kinds import ComposedMessage, Composer
from nurture.runtime.redact import redact


@dataclass
class ComposedBatch:
    """The composed messages by id, and why the others could not be composed."""

    messages: dict[int, ComposedMessage] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)

    def keep_only(self, ids: AbstractSet[int]) -> None:
        """Drop all messages except *ids*."""
        self.messages = {id_: one for id_, one in self.messages.items() if id_ in ids}
        self.problems = {id_: why for id_, why in self.problems.items() if id_ in ids}


@dataclass(frozen=True)
class CompositionBatch:
    """Messages to compose, with what was read about them when they were claimed, by kind."""

    messages: Sequence[DueMessage]
    composers: Mapping[str, Composer]

    @classmethod
    def load(cls, ctx: AppContext, tx: Transaction, messages: Sequence[DueMessage], now: datetime) -> CompositionBatch:
        """Read what *messages* need, in a constant number of statements."""
        by_kind: dict[str, list[DueMessage]] = defaultdict(list)
        for one in messages:
            by_kind[one.kind].append(one)
        return cls(
            messages, {name: ctx.message_kinds[name].load(ctx, tx, batch, now) for name, batch in by_kind.items()}
        )

    def compose(self, tx: Transaction) -> ComposedBatch:
        """Compose each message; one that cannot be composed does not stop the others."""
        composed = ComposedBatch()
        for one in self.messages:
            try:
                composed.messages[one.id] = self.composers[one.kind].compose(tx, one)
            except Exception as error:  # noqa: BLE001 - recorded on the message
                composed.problems[one.id] = redact(error, one.fields, one.address)
        return composed


def save_links(tx: Transaction, composed: ComposedBatch, now: datetime) -> None:
    """Store the destinations of the links in the emails, before the emails are sent."""
    messages = composed.messages.values()
    public_links.store_links(tx, [link for one in messages for link in one.links], now)
    by_template = {id(one.shared_destinations): one.shared_destinations for one in messages}
    own = [one.own_destinations for one in messages if one.own_destinations is not None]
    link_destination_queries.write_destinations(tx, set(chain.from_iterable(by_template.values())), own)
