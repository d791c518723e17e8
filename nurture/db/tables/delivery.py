"""Messages to send, broadcasts, and sending pauses."""

from datetime import datetime
from typing import Any, ClassVar, Final

from sqlalchemy import CheckConstraint, Index, literal, text
from sqlmodel import Field

from nurture.db.tables.base import Model, index_where, table, timestamp
from nurture.db.types import Id, generated_id


class Message(Model, table=True):
    """The outbox: one row per planned message, unique by `send_key`.

    *kind* names a registered message kind. *email* is the template, or the name of the notifier that is the recipient.
    *reply_id* is the reply that it forwards; no foreign key, because replies refer to messages, and are erased.
    *track* is that of a touch, or `broadcasts/NAME`. *topic*, in normal form, is what these are about; *past_cap*: a
    cap would have held a touch, but it is exempt. *held_by* is "stop" while a stop of mail holds it, and until it is
    looked at after the start. *is_ambiguous*: its address may not exist, or the server may refuse us; a later refusal
    of the same kind decides. *link_digest* verifies all links of an email to a lead (`runtime/public_links.py`).
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint("recipient in ('lead', 'rep', 'notifier')", name="recipient"),
        CheckConstraint(
            "state in ('planned', 'claimed', 'sending', 'accepted', 'rejected', 'unknown', 'cancelled', "
            "'delivered', 'bounced', 'dropped', 'complained')",
            name="state",
        ),
        Index("ix_message_reply", "reply_id", **index_where("reply_id is not null")),
        Index("ix_message_offer", "offer_id", "kind", "accepted_at", **index_where("offer_id is not null")),
        Index("ix_message_due", "send_at", **index_where("state = 'planned'")),
        Index("ix_message_leased", "lease_until", **index_where("state in ('claimed', 'sending')")),
        Index("ix_message_unknown", "state_at", **index_where("state = 'unknown'")),
        Index(
            "ix_message_refused",
            *("state_at", "state", "sender_domain"),
            **index_where("state in ('bounced', 'complained')"),
        ),
        Index("ix_message_sender", "sender_domain", "claimed_at", **index_where("claimed_at is not null")),
        Index("ix_message_link_digest", "link_digest", **index_where("link_digest is not null")),
    )

    id: int | None = generated_id()
    send_key: str = Field(unique=True)
    kind: str
    recipient: str
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id", index=True)
    enrollment_id: int | None = Field(default=None, sa_type=Id, foreign_key="enrollment.id")
    offer_id: int | None = Field(default=None, sa_type=Id, foreign_key="offer.id")
    reply_id: int | None = Field(default=None, sa_type=Id)
    track: str | None = None
    track_version: int | None = None
    step: str = ""
    visit: int = 1
    email: str
    topic: str | None = None
    past_cap: bool | None = None
    rep: str | None = None
    planned_at: datetime = timestamp()
    send_at: datetime = timestamp()
    expires_at: datetime = timestamp()
    state: str = "planned"
    state_at: datetime = timestamp()
    accepted_at: datetime | None = timestamp(null=True)
    sender_domain: str | None = None
    claimed_at: datetime | None = timestamp(null=True)
    lease_token: str | None = None
    lease_until: datetime | None = timestamp(null=True)
    attempts: int = 0
    provider: str | None = None
    provider_message_id: str | None = None
    reason: str | None = None
    held_by: str | None = None
    is_ambiguous: bool | None = None
    link_digest: str | None = None


class MessageMention(Model, table=True):
    """A lead that an email to our own team names, such as a list, besides the lead that the email belongs to."""

    message_id: int = Field(sa_type=Id, foreign_key="message.id", primary_key=True)
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id", primary_key=True, index=True)


class Broadcast(Model, table=True):
    """The newest release of a broadcast; *track* is `broadcasts/NAME`, as in its messages.

    It is planned from *due_at* on, for leads in the order of their ids: up to *last_lead_id* that is done.
    """

    __table_args__: ClassVar[Any] = (Index("ix_broadcast_due", "due_at", **index_where("planned_at is null")),)

    track: str = Field(primary_key=True)
    released_at: datetime = timestamp()
    released_by: str
    topic: str = ""
    due_at: datetime = timestamp()
    last_lead_id: int = Field(default=0, sa_type=Id, nullable=False)
    planned_at: datetime | None = timestamp(null=True)


class CircuitBreaker(Model, table=True):
    """A sending pause: a provider that is down or refuses us, a sender domain whose email bounces.

    The kind `database` is the quarantine of a copy or a restored backup, which pauses everything. It is tried again
    at *until*, or released by a person if null. Released rows stay as history. *is_outdated*: this machine has seen a
    newer state of the database. *restored_since* is when the backup was made, if a restore released it.
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint("kind in ('provider', 'domain', 'database')", name="kind"),
        Index("uq_circuit_breaker_active", "kind", "name", unique=True, **index_where("released_at is null")),
    )

    id: int | None = generated_id()
    kind: str
    name: str
    reason: str
    is_outdated: bool = False
    since: datetime = timestamp()
    until: datetime | None = timestamp(null=True)
    released_at: datetime | None = timestamp(null=True)
    restored_since: datetime | None = timestamp(null=True)
    released_by: str | None = None


class MailStop(Model, table=True):
    """Append-only: what a person decided about the mail of a track, or with *track* "" about all mail.

    The newest row of a track counts. *move_to* is the track that takes the leads of a retired one.
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint("action in ('stop', 'stop_all', 'retire', 'start')", name="action"),
        CheckConstraint("(action = 'retire') = (move_to <> '')", name="move_to"),
        Index("ix_mail_stop_track", "track"),
    )

    id: int | None = generated_id()
    track: str
    action: str
    reason: str
    decided_by: str
    at: datetime = timestamp()
    move_to: str = ""


message = table(Message)
message_mention = table(MessageMention)
broadcast = table(Broadcast)
circuit_breaker = table(CircuitBreaker)
mail_stop = table(MailStop)

IS_UNKNOWN: Final = message.c.state == literal("unknown", literal_execute=True)
"""Nobody knows whether it was sent; written as in `ix_message_unknown`, which SQLite does not use otherwise."""

IS_REFUSED: Final = text("message.state in ('bounced', 'complained')")
"""It bounced, or its reader complained; written as in `ix_message_refused`, which SQLite does not use otherwise."""
