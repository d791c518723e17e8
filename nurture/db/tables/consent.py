"""Opt-outs, opt-ins, and consent to tracking of opens."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint
from sqlmodel import Field, SQLModel

from nurture.db.tables.base import timestamp
from nurture.db.types import Id, generated_id, shared_primary_key


class Suppression(SQLModel, table=True):
    """An append-only log: an opt-out, or a newer opt-in by the lead that lifts it.

    *evidence* describes how an opt-in was given, without names or addresses.
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint("scope in ('global', 'topic', 'track')", name="scope"),
        CheckConstraint("action in ('suppress', 'opt_in')", name="action"),
    )

    id: int | None = generated_id()
    address_id: int = Field(sa_type=Id, foreign_key="address.id", index=True)
    action: str = "suppress"
    scope: str = "global"
    ref: str = ""
    source: str
    evidence: str | None = None
    recorded_at: datetime = timestamp()


class OpenTrackingConsent(SQLModel, table=True):
    """A lead's consent to tracking of opens; without a row, or if withdrawn, no open is tracked.

    Of opens only the newest day (UTC) is stored, with that day's most human verdict. No hand-off depends on it.
    """

    __tablename__ = "open_tracking_consent"

    lead_id: int = shared_primary_key("lead.id")
    granted: bool
    source: str
    stated_at: datetime = timestamp()
    last_open_on: date | None = None
    last_open_verdict: str | None = None
    last_open_reason: str | None = None
