"""Tables of what comes in from outside, on the same metadata as those in `tables`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from nurture.db.tables import core
from nurture.db.tables.core import timestamp
from nurture.db.types import Id, Json, UtcDateTime, generated_id, shared_primary_key

metadata = core.metadata
_UNPROCESSED = text("processed_at is null")
_READABLE = text("error is null")
_UNREVOKED = text("revoked_at is null")


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


class ApiToken(SQLModel, table=True):
    """A token of a program that calls the API. Only its SHA-256 is kept.

    *scopes* are words with a space between; *last_used_on* is the last day (UTC) on which it was
    used, *rate_limited_at* when it last posted too much in an hour.
    """

    __tablename__ = "api_token"
    __table_args__: ClassVar[Any] = (
        Index("uq_api_token_name", "name", unique=True, sqlite_where=_UNREVOKED, postgresql_where=_UNREVOKED),
    )

    id: int | None = generated_id()
    name: str
    digest: str = Field(unique=True)
    scopes: str
    created_at: datetime = timestamp()
    last_used_on: date | None = None
    revoked_at: datetime | None = timestamp(null=True)
    rate_limited_at: datetime | None = timestamp(null=True)


class IdempotencyKey(SQLModel, table=True):
    """What was answered to a request with an idempotency key; *status_code* is null while it is worked on.

    An answer may quote what was sent, addresses too, and is forgotten after two days.
    """

    __tablename__ = "idempotency_key"

    token_id: int = shared_primary_key("api_token.id")
    key: str = Field(primary_key=True)
    digest: str
    requested_at: datetime = Field(sa_type=UtcDateTime, index=True)
    status_code: int | None = None
    response: str | None = None


class LinkDestination(SQLModel, table=True):
    """Where a numbered link leads in one version of a track's email. Written once, before it is mailed.

    What is out there must lead to the same place for ever, also if a later nurture would number links
    otherwise: so this is kept, and not worked out again from the template.
    """

    __tablename__ = "link_destination"

    track: str = Field(primary_key=True)
    track_version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    email: str = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    url: str


class PersonalLinkDestination(SQLModel, table=True):
    """Where links lead whose address was written for one lead, as [url, pattern] pairs.

    Such an address may hold personal data: whoever erases a lead deletes the rows of its messages.
    """

    __tablename__ = "personal_link_destination"

    message_id: int = shared_primary_key("message.id")
    links: list[list[str]] = Field(sa_type=Json, nullable=False)


class OpenTrackingConsent(SQLModel, table=True):
    """Whether a lead agreed to hear of opens; without a row, or withdrawn, nothing is asked or kept.

    Of opens themselves only the newest day (UTC) is kept, and who it seems to have been on that day: the one
    most like a person. No hand-off ever rests on it.
    """

    __tablename__ = "open_tracking_consent"

    lead_id: int = shared_primary_key("lead.id")
    granted: bool
    source: str
    stated_at: datetime = timestamp()
    last_open_on: date | None = None
    last_open_verdict: str | None = None
    last_open_reason: str | None = None


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
