"""The clock and the identity of this database."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint
from sqlmodel import Field

from nurture.db.tables.base import Model, table, timestamp
from nurture.db.types import Id, Json


class Clock(Model, table=True):
    """The clock mode of this database, its newest time, and its identity.

    *installation_id* is in every email and distinguishes ours from another installation's with the same message ids.
    *salt* is the secret key of hashes of personal data and never leaves the database. *generation* grows with
    everything that must not be repeated; *location* is where the database may send from. Both distinguish the
    original from a copy or an older state. *journal_since*: the journal is complete from then on; null: from the start.
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
    journal_since: datetime | None = timestamp(null=True)


clock = table(Clock)


class LastRound(Model, table=True):
    """When the last rounds of a stage, or of another repeated task, ended well and badly. *error* names types only."""

    name: str = Field(primary_key=True)
    succeeded_at: datetime | None = timestamp(null=True)
    failed_at: datetime | None = timestamp(null=True)
    error: str = ""


last_round = table(LastRound)


class Alert(Model, table=True):
    """A problem that lasts: since when, when it was last seen, and when the operator was reported, null if not yet."""

    key: str = Field(primary_key=True)
    description: str
    since: datetime = timestamp()
    seen_at: datetime = timestamp()
    reported_at: datetime | None = timestamp(null=True)


alert = table(Alert)
