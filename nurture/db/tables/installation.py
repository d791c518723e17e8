"""The clock and the identity of this database."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint
from sqlmodel import Field, SQLModel

from nurture.db.tables.base import timestamp
from nurture.db.types import Id, Json


class Clock(SQLModel, table=True):
    """Whether this database lives in real or in virtual time, the newest time it has seen, and its name.

    *installation_id* tells its mail from that of another installation that counts its messages alike; it
    stands in every mail. *salt* is secret and leaves the database never: hashes of personal data are made
    with it. *generation* grows with all that must not be repeated, and *location* is where the database lives
    that may send to people: both tell an original from a copy or an older state.
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint("id = 1", name="single_row"),
        CheckConstraint("mode in ('live', 'virtual')", name="mode"),
    )

    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    mode: str
    seen_at: datetime = timestamp()
    installation_id: str
    salt: str
    generation: int = Field(default=0, sa_type=Id, nullable=False)
    location: dict[str, Any] | None = Field(default=None, sa_type=Json, nullable=True)
