"""Opt-outs, opt-ins, consent statements, and consent to tracking of opens."""

from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint
from sqlmodel import Field

from nurture.db.tables.base import Model, table, timestamp
from nurture.db.types import Id, generated_id, shared_primary_key


class Suppression(Model, table=True):
    """An append-only log: an opt-out, a newer opt-in by the lead that lifts it, or the undo of an import.

    *evidence* describes how an opt-in was given, without names or addresses, or which import an opt-out came from.
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint("scope in ('global', 'topic', 'track')", name="scope"),
        CheckConstraint("action in ('suppress', 'opt_in', 'retract')", name="action"),
    )

    id: int | None = generated_id()
    address_id: int = Field(sa_type=Id, foreign_key="address.id", index=True)
    action: str = "suppress"
    scope: str = "global"
    ref: str = ""
    source: str
    evidence: str | None = None
    recorded_at: datetime = timestamp()


class ConsentStatement(Model, table=True):
    """An append-only history: what a record or a person said about email to an address.

    *basis* is null for a withdrawal, *stated_at* if no date is known. A basis that is not *granted* is requested, and
    the person has to confirm it. *evidence* and *wording* are without names. *retracted_at*: the import that added it
    was undone, and it does not count.
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint("channel = 'email'", name="channel"),
        CheckConstraint("scope in ('global', 'topic')", name="scope"),
        CheckConstraint("basis is not null or not granted", name="basis"),
    )

    id: int | None = generated_id()
    address_id: int = Field(sa_type=Id, foreign_key="address.id", index=True)
    channel: str = "email"
    scope: str = "global"
    ref: str = ""
    basis: str | None = None
    granted: bool
    source: str
    stated_at: datetime | None = timestamp(null=True)
    recorded_at: datetime = timestamp()
    evidence: str = ""
    wording: str = ""
    retracted_at: datetime | None = timestamp(null=True)


class OpenTrackingConsent(Model, table=True):
    """A lead's consent to tracking of opens; without a row, or if withdrawn, no open is tracked.

    Of opens only the newest day (UTC) is stored, with that day's most human verdict. No hand-off depends on it.
    """

    lead_id: int = shared_primary_key("lead.id")
    granted: bool
    source: str
    stated_at: datetime = timestamp()
    last_open_on: date | None = None
    last_open_verdict: str | None = None
    last_open_reason: str | None = None


class UnclearField(Model, table=True):
    """A field of leads of *source* that may be an opt-out, and which no person attended to ask.

    `nurture doctor` shows it until *acknowledged_at*.
    """

    source: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    first_seen_at: datetime = timestamp()
    acknowledged_at: datetime | None = timestamp(null=True)


suppression = table(Suppression)
consent_statement = table(ConsentStatement)
open_tracking_consent = table(OpenTrackingConsent)
unclear_field = table(UnclearField)
