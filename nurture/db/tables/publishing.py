"""Published definitions and their approval."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Column, UniqueConstraint
from sqlmodel import Field, SQLModel

from nurture.db.tables.base import timestamp
from nurture.db.types import Id, Json, generated_id


class Publication(SQLModel, table=True):
    """An immutable version of a track or of the policy, with the files that make it."""

    __table_args__: ClassVar[Any] = (UniqueConstraint("kind", "name", "version"),)

    id: int | None = generated_id()
    kind: str
    name: str
    version: int
    digest: str
    sources: dict[str, str] = Field(sa_column=Column(Json, nullable=False))
    published_at: datetime = timestamp()


class Approval(SQLModel, table=True):
    """Who approved a version of the policy, for which day, and when that was recorded. Append-only.

    *method*: `first` (there was none before it), `approved`, or `unchanged` (it means what the one before it
    meant). Hand-offs refer to it: none is made under a version that nobody approved.
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint("method in ('first', 'approved', 'unchanged')", name="method"),
        CheckConstraint("approved_by <> ''", name="approved_by"),
    )

    policy_version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    publication_id: int = Field(sa_type=Id, foreign_key="publication.id", unique=True)
    approved_by: str
    approved_on: date
    recorded_at: datetime = timestamp()
    method: str
