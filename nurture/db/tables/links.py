"""Links in emails, and links to pages."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from nurture.db.tables.base import timestamp
from nurture.db.types import Id, Json, shared_primary_key


class LinkToken(SQLModel, table=True):
    """The purpose and the lead of a public link. Only the token's SHA-256 is stored."""

    __tablename__ = "link_token"

    digest: str = Field(primary_key=True)
    purpose: str
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id", index=True)
    message_id: int | None = Field(default=None, sa_type=Id, foreign_key="message.id")
    offer_id: int | None = Field(default=None, sa_type=Id, foreign_key="offer.id")
    created_at: datetime = timestamp()


class LinkDestination(SQLModel, table=True):
    """The destination of a numbered link in one version of an email. Written once, before it is sent.

    Sent links must keep their destination, even if a later release numbers links differently: so it is stored and not
    computed again from the template.
    """

    __tablename__ = "link_destination"

    track: str = Field(primary_key=True)
    track_version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    email: str = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    url: str


class PersonalLinkDestination(SQLModel, table=True):
    """Destinations that differ in each message, as [url, pattern] pairs.

    They may contain personal data: erasing a lead deletes the rows of its messages.
    """

    __tablename__ = "personal_link_destination"

    message_id: int = shared_primary_key("message.id")
    links: list[list[str]] = Field(sa_type=Json, nullable=False)


class WorkspaceLink(SQLModel, table=True):
    """A link to a rep's workspace. Only the token's SHA-256 is stored; valid until *expires_at* or *revoked_at*."""

    __tablename__ = "workspace_link"
    __table_args__: ClassVar[Any] = (Index("ix_workspace_link_rep", "rep"),)

    digest: str = Field(primary_key=True)
    rep: str
    created_at: datetime = timestamp()
    expires_at: datetime = timestamp()
    revoked_at: datetime | None = timestamp(null=True)
