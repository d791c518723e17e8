"""What comes in from outside: events of the mail provider, replies, requests for tracked links."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from nurture.db.tables.base import timestamp
from nurture.db.types import Id, generated_id, shared_primary_key

_UNPROCESSED = text("processed_at is null")
_READABLE = text("error is null")


class RawBatch(SQLModel, table=True):
    """A batch of a webhook as it came, word for word, until it was processed and its days are over.

    It holds addresses, for so long as it is kept, and is the only such thing beside `lead` and `address`.
    *error* names what went wrong where it could not be processed.
    """

    __tablename__ = "raw_batch"
    __table_args__: ClassVar[Any] = (
        Index("ix_raw_batch_unprocessed", "id", sqlite_where=_UNPROCESSED, postgresql_where=_UNPROCESSED),
        Index("ix_raw_batch_received_at", "received_at"),
    )

    id: int | None = generated_id()
    provider: str
    digest: str = Field(unique=True)
    received_at: datetime = timestamp()
    events: int
    processed_at: datetime | None = timestamp(null=True)
    error: str | None = None
    body: str


class ProviderEvent(SQLModel, table=True):
    """What a provider told of a mail, each thing once; whatever we do not know is here too.

    *event_key* and *natural_key* are hashes. *installation_id* and *ref* are what the mail
    carried to be known by.
    """

    __tablename__ = "provider_event"
    __table_args__: ClassVar[Any] = (
        CheckConstraint("natural_key <> ''", name="natural_key"),
        Index(
            "ix_provider_event_message_id",
            "message_id",
            "at",
            sqlite_where=text("message_id is not null"),
            postgresql_where=text("message_id is not null"),
        ),
    )

    id: int | None = generated_id()
    natural_key: str = Field(unique=True)
    event_key: str | None = Field(default=None, unique=True)
    provider: str
    event_type: str
    raw_event_type: str
    at: datetime = timestamp()
    received_at: datetime = timestamp()
    message_id: int | None = Field(default=None, sa_type=Id, foreign_key="message.id")
    installation_id: str
    ref: str
    provider_message_id: str | None = None
    reason: str


class Reply(SQLModel, table=True):
    """A mail that answers one of ours, once, by a hash of what its copies have in common.

    Beside `lead` and `address` it holds personal data: *text*, what the person wrote, and *sender*, who it is
    if not the lead. Whoever erases a lead deletes its rows. The mail itself is not kept.
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint("kind in ('reply', 'opt_out', 'out_of_office', 'auto_reply', 'bounce')", name="kind"),
        Index("ix_reply_lead_id_received_at", "lead_id", "received_at"),
    )

    id: int | None = generated_id()
    natural_key: str = Field(unique=True)
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id")
    message_id: int | None = Field(default=None, sa_type=Id, foreign_key="message.id")
    kind: str
    received_at: datetime = timestamp()
    sent_at: datetime = timestamp()
    sender: str
    text: str
    returns_on: date | None = None
    attachments: int


class InboundMail(SQLModel, table=True):
    """A mail as it came in: stored before anybody reads it, deleted once that is done.

    It holds personal data. *lead_id* and *sender* are what its headers say, for erasing. *attempts* counts
    up before each try, *last_attempt_at* is a lease. *error* is why it was set aside after the second one.
    """

    __tablename__ = "inbound_mail"
    __table_args__: ClassVar[Any] = (
        Index("ix_inbound_mail_unread", "id", sqlite_where=_READABLE, postgresql_where=_READABLE),
        Index("ix_inbound_mail_lead_id", "lead_id"),
    )

    id: int | None = generated_id()
    source: str
    received_at: datetime = timestamp()
    lead_id: int | None = Field(default=None, foreign_key="lead.id", sa_type=Id)
    sender: str
    size: int
    attempts: int
    last_attempt_at: datetime | None = timestamp(null=True)
    error: str | None = None
    body: bytes


class MailboxCursor(SQLModel, table=True):
    """How far a mailbox is read: all up to *last_uid* is done. *name* is a hash; *uid_validity* is IMAP's."""

    __tablename__ = "mailbox_cursor"

    name: str = Field(primary_key=True)
    uid_validity: int = Field(sa_type=Id, nullable=False)
    last_uid: int = Field(sa_type=Id, nullable=False)
    read_at: datetime = timestamp()


class TrackingRequest(SQLModel, table=True):
    """How a click or an open came in: what its verdict rests on.

    No address and no user agent: *ip_hash* and *agent_hash* are 16 bits of a hash salted by the message, so
    thousands of addresses share each; *company_hash* is 32 bits of one of the mail domain, "" for public
    mail.
    """

    __tablename__ = "tracking_request"
    __table_args__: ClassVar[Any] = (
        Index(
            "ix_tracking_request_company_hash",
            "company_hash",
            "at",
            sqlite_where=text("company_hash <> ''"),
            postgresql_where=text("company_hash <> ''"),
        ),
    )

    signal_id: int = shared_primary_key("signal.id")
    message_id: int = Field(sa_type=Id, foreign_key="message.id", index=True)
    at: datetime = timestamp()
    method: str
    agent_type: str
    ip_hash: str
    agent_hash: str
    company_hash: str
    honeypot: bool
    is_machine: bool
