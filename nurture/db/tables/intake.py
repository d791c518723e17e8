"""Imported files, and programs that call the API."""

from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import Index
from sqlmodel import Field

from nurture.db.tables.base import Model, index_where, table, timestamp
from nurture.db.types import UtcDateTime, generated_id, shared_primary_key


class ImportFile(Model, table=True):
    """One import of a file of *kind*: rows imported and rejected."""

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


class CreatedLeads(Model, table=True):
    """How many leads of *source* were ever created; no lead is deleted, so that an audit finds who vanished."""

    source: str = Field(primary_key=True)
    count: int


class ApiToken(Model, table=True):
    """An API token. Only its SHA-256 is stored.

    *scopes* are separated by spaces; *last_used_on* is the last day (UTC) on which it was
    used, *rate_limited_at* when it last reached its hourly limit.
    """

    __table_args__: ClassVar[Any] = (
        Index("uq_api_token_name", "name", unique=True, **index_where("revoked_at is null")),
    )

    id: int | None = generated_id()
    name: str
    digest: str = Field(unique=True)
    scopes: str
    created_at: datetime = timestamp()
    last_used_on: date | None = None
    revoked_at: datetime | None = timestamp(null=True)
    rate_limited_at: datetime | None = timestamp(null=True)


class IdempotencyKey(Model, table=True):
    """The response to a request with an idempotency key; *status_code* is null while it is processed.

    A response may quote the request, including addresses, and is deleted after two days.
    """

    token_id: int = shared_primary_key("api_token.id")
    key: str = Field(primary_key=True)
    digest: str
    requested_at: datetime = Field(sa_type=UtcDateTime, index=True)
    status_code: int | None = None
    response: str | None = None


import_file = table(ImportFile)
created_leads = table(CreatedLeads)
api_token = table(ApiToken)
idempotency_key = table(IdempotencyKey)
