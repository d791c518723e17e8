"""Imported files, and programs that call the API."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from nurture.db.tables.base import timestamp
from nurture.db.types import UtcDateTime, generated_id, shared_primary_key

_UNREVOKED = text("revoked_at is null")


class ImportFile(SQLModel, table=True):
    """One import of a file of *kind*: rows imported and rejected."""

    __tablename__ = "import_file"

    id: int | None = generated_id()
    kind: str
    name: str
    source: str
    digest: str
    imported_at: datetime = timestamp()
    rows: int
    created: int
    updated: int
    rejected: int


class ApiToken(SQLModel, table=True):
    """An API token. Only its SHA-256 is stored.

    *scopes* are separated by spaces; *last_used_on* is the last day (UTC) on which it was
    used, *rate_limited_at* when it last reached its hourly limit.
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
    """The response to a request with an idempotency key; *status_code* is null while it is processed.

    A response may quote the request, including addresses, and is deleted after two days.
    """

    __tablename__ = "idempotency_key"

    token_id: int = shared_primary_key("api_token.id")
    key: str = Field(primary_key=True)
    digest: str
    requested_at: datetime = Field(sa_type=UtcDateTime, index=True)
    status_code: int | None = None
    response: str | None = None
