"""Links in emails, and links to pages."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Index
from sqlmodel import Field

from nurture.db.tables.base import Model, table, timestamp
from nurture.db.types import Id, Json, shared_primary_key


class LinkToken(Model, table=True):
    """The purpose and the lead of a public link. Only the token's SHA-256 is stored."""

    digest: str = Field(primary_key=True)
    purpose: str
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id", index=True)
    message_id: int | None = Field(default=None, sa_type=Id, foreign_key="message.id")
    offer_id: int | None = Field(default=None, sa_type=Id, foreign_key="offer.id")
    created_at: datetime = timestamp()


class LinkDestination(Model, table=True):
    """The destination of a numbered link in one version of an email. Written once, before it is sent.

    Sent links must keep their destination, even if a later release numbers links differently: so it is stored and not
    computed again from the template.
    """

    track: str = Field(primary_key=True)
    track_version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    email: str = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    url: str
    name: str | None = None
    """The URL as written in the template, if utm parameters were added to it."""


class PersonalLinkDestination(Model, table=True):
    """Destinations that differ in each message, as [url, pattern] pairs.

    They may contain personal data: erasing a lead deletes the rows of its messages.
    """

    message_id: int = shared_primary_key("message.id")
    links: list[list[str]] = Field(sa_type=Json, nullable=False)


class WorkspaceLink(Model, table=True):
    """A link to a rep's workspace. Only the token's SHA-256 is stored; valid until *expires_at* or *revoked_at*."""

    __table_args__: ClassVar[Any] = (Index("ix_workspace_link_rep", "rep"),)

    digest: str = Field(primary_key=True)
    rep: str
    created_at: datetime = timestamp()
    expires_at: datetime = timestamp()
    revoked_at: datetime | None = timestamp(null=True)


link_token = table(LinkToken)
link_destination = table(LinkDestination)
personal_link_destination = table(PersonalLinkDestination)
workspace_link = table(WorkspaceLink)
