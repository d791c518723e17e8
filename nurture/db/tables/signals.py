"""What leads did."""

from datetime import datetime
from typing import Any, ClassVar, Final

from sqlalchemy import Index, and_, text
from sqlmodel import Field

from nurture.db.tables.base import Model, index_where, table, timestamp
from nurture.db.types import Id, generated_id


class Signal(Model, table=True):
    """Something that a lead did; recorded once, by its natural key.

    *click_filter_key* names the click filtering rules of the verdict: null if it was set by hand, "" if pending.
    """

    __table_args__: ClassVar[Any] = (
        Index("ix_signal_lead_id_occurred_at", "lead_id", "occurred_at"),
        Index("ix_signal_click_filter_key", "click_filter_key", **index_where("click_filter_key is not null")),
        Index("ix_signal_unapplied", "id", **index_where("applied_at is null")),
        Index(
            "ix_signal_answers",
            *("occurred_at", "kind", "track", "step", "lead_id", "verdict"),
            **index_where("verdict = 'human' and kind in ('clicked', 'replied')"),
        ),
        Index(
            "ix_signal_stated",
            *("lead_id", "kind", "occurred_at", "value"),
            **index_where("kind in ('registered', 'attended', 'deciding')"),
        ),
    )

    id: int | None = generated_id()
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id")
    kind: str
    occurred_at: datetime = timestamp()
    recorded_at: datetime = timestamp()
    natural_key: str = Field(unique=True)
    verdict: str = "human"
    verdict_reason: str = ""
    click_filter_key: str | None = None
    enrollment_id: int | None = Field(default=None, sa_type=Id, foreign_key="enrollment.id")
    track: str | None = None
    step: str | None = None
    link: str | None = None
    message_id: int | None = Field(default=None, sa_type=Id, foreign_key="message.id")
    value: str | None = None
    source: str
    applied_at: datetime | None = timestamp(null=True)


signal = table(Signal)

IS_ANSWER: Final = and_(text("signal.verdict = 'human'"), text("signal.kind in ('clicked', 'replied')"))
"""A person clicked or replied; written as in `ix_signal_answers`, without which SQLite does not use that index."""
