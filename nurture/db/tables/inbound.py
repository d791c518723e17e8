"""Inbound data: provider events, replies, requests of tracked links."""

from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field

from nurture.db.tables.base import NEVER_REUSE_IDS, Model, index_where, table, timestamp
from nurture.db.types import Id, Json, generated_id, shared_primary_key


class RawBatch(Model, table=True):
    """A webhook batch, verbatim, until it is processed and its retention ends.

    It contains addresses. *error* is the reason if it could not be processed.
    """

    __table_args__: ClassVar[Any] = (
        Index("ix_raw_batch_unprocessed", "id", **index_where("processed_at is null")),
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


class ProviderEvent(Model, table=True):
    """An event of a message that a provider reported, once; events of unknown messages too.

    *event_key* and *natural_key* are hashes. *installation_id* and *ref* are the identification that the message
    carried.
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint("natural_key <> ''", name="natural_key"),
        Index("ix_provider_event_message_id", "message_id", "at", **index_where("message_id is not null")),
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


class Reply(Model, table=True):
    """A reply to one of our emails, once, by a hash of what its copies have in common.

    It holds personal data: *text*, what the person wrote, and *sender*, if not the lead. Erasing a lead deletes its
    rows. The email itself is not kept. *kind* is its `ReplyClass`, *evidence* what decided it. *returns_on* is the day
    that an absence ends or a "not now" names, *contact* whom it names instead of itself, *meets_at* the start of the
    meeting to which it invites. *attachments* are the names of attached files.
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint(
            "kind in ('wants_to_talk', 'question', 'meeting', 'unclear', 'unclear_short', 'possible_opt_out', "
            "'not_now', 'not_interested', 'wrong_person', 'left_company', 'no_mail', "
            "'erasure_request', 'complaint', 'absence', 'calendar_answer', 'receipt', "
            "'bounce', 'empty', 'automatic')",
            name="kind",
        ),
        Index("ix_reply_lead_id_received_at", "lead_id", "received_at"),
        NEVER_REUSE_IDS,
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
    evidence: str
    contact: str
    returns_on: date | None = None
    meets_at: datetime | None = timestamp(null=True)
    attachments: list[str] = Field(sa_type=Json, nullable=False)


class InboundMail(Model, table=True):
    """An inbound email: stored before it is parsed, deleted after that.

    It holds personal data. *lead_id* and *sender* are from its headers, for erasure. *attempts* counts up before each
    try, *last_attempt_at* is a lease. *error* is why it was set aside after the second try.
    """

    __table_args__: ClassVar[Any] = (
        Index("ix_inbound_mail_unread", "id", **index_where("error is null")),
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


class MailboxCursor(Model, table=True):
    """The position in a mailbox: all up to *last_uid* is read. *name* is a hash; *uid_validity* is IMAP's."""

    name: str = Field(primary_key=True)
    uid_validity: int = Field(sa_type=Id, nullable=False)
    last_uid: int = Field(sa_type=Id, nullable=False)
    read_at: datetime = timestamp()


class TrackingRequest(Model, table=True):
    """The request of a click or an open, on which its verdict is based.

    No address and no user agent: *ip_hash* and *agent_hash* are 16 bits of a hash salted by the message, so thousands
    of addresses share each; *company_hash* is 32 bits of a hash of the email domain, "" for public email providers.
    """

    __table_args__: ClassVar[Any] = (
        Index("ix_tracking_request_company_hash", "company_hash", "at", **index_where("company_hash <> ''")),
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


raw_batch = table(RawBatch)
provider_event = table(ProviderEvent)
reply = table(Reply)
inbound_mail = table(InboundMail)
mailbox_cursor = table(MailboxCursor)
tracking_request = table(TrackingRequest)
