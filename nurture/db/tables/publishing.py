"""Published definitions and their approval."""

from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Column, UniqueConstraint
from sqlmodel import Field

from nurture.db.tables.base import Model, table, timestamp
from nurture.db.types import Id, Json, generated_id


class Publication(Model, table=True):
    """An immutable version of a track, a broadcast, the policy or the sending rules, with its files.

    *published_by*: the user of the console, "" for the command line.
    """

    __table_args__: ClassVar[Any] = (UniqueConstraint("kind", "name", "version"),)

    id: int | None = generated_id()
    kind: str
    name: str
    version: int
    digest: str
    sources: dict[str, str] = Field(sa_column=Column(Json, nullable=False))
    published_at: datetime = timestamp()
    published_by: str = Field(default="", sa_column_kwargs={"server_default": ""})


class Approval(Model, table=True):
    """The approval of a policy version. Append-only.

    *method*: `first` (of all versions), `approved`, or `unchanged` (same meaning as the version before). Offers
    reference it, so that none is made under a version that nobody approved.
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


publication = table(Publication)
approval = table(Approval)
