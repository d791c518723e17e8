"""Every table. The domain never sees a row; personal data lives in `lead` and `address` only."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Column, Index, MetaData, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from nurture.db.types import Id, Json, UtcDateTime, generated_id, shared_primary_key

SQLModel.metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
metadata = SQLModel.metadata


def index_where(clause: str) -> dict[str, Any]:
    """Limit an index to the rows for which *clause* holds, on both databases."""
    return {"sqlite_where": text(clause), "postgresql_where": text(clause)}


def timestamp(*, null: bool = False) -> Any:
    """Return a column of moments in UTC."""
    return Field(default=None if null else ..., sa_type=UtcDateTime, nullable=null)


NEVER_REUSE_IDS: dict[str, Any] = {"sqlite_autoincrement": True}
"""Of tables whose ids other systems know: a restore moves the next id on, beyond those that were lost."""


class Address(SQLModel, table=True):
    """An email address. Suppression is a fact about it, with or without a lead."""

    id: int | None = generated_id()
    email: str
    normalized: str = Field(unique=True)


class Lead(SQLModel, table=True):
    """What is known about a lead.

    *engagement* and its fellows are the sums of the policy's half-lives at *engagement_at*, under the points
    that *points_key* names: null for a lead that never did a thing, "" to have it reckoned again.
    *touch_interval_days*: it asked for one touch at most in so many days. *call_on*: it asked to be called
    that day.
    *erased_at*: the person asked to be erased; nothing is recorded of the lead and nothing moves it any more.
    """

    __table_args__: ClassVar[Any] = (
        Index("ix_lead_points_key", "points_key", **index_where("points_key is not null")),
        Index("ix_lead_source_created_at", "source", "created_at"),
        NEVER_REUSE_IDS,
    )

    id: int | None = generated_id()
    address_id: int | None = Field(default=None, sa_type=Id, foreign_key="address.id", unique=True)
    source: str = ""
    fields: dict[str, Any] = Field(default_factory=dict, sa_type=Json, nullable=False)
    zone: str = ""
    country: str = ""
    consent_basis: str | None = None
    consent_source: str | None = None
    consent_at: datetime | None = timestamp(null=True)
    engagement: float = 0.0
    engagement_2: float | None = None
    engagement_3: float | None = None
    engagement_4: float | None = None
    engagement_at: datetime | None = timestamp(null=True)
    points_key: str | None = None
    decides_on: date | None = None
    decides_stated_at: datetime | None = timestamp(null=True)
    call_on: date | None = None
    paused_until: datetime | None = timestamp(null=True)
    paused_at: datetime | None = timestamp(null=True)
    paused_by: str | None = None
    touch_interval_days: int | None = None
    signals_since: datetime | None = timestamp(null=True)
    readiness: str = ""
    first_contact_at: datetime = timestamp()
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()
    erased_at: datetime | None = timestamp(null=True)


class Identity(SQLModel, table=True):
    """The name under which another system knows a lead."""

    source: str = Field(primary_key=True)
    external_id: str = Field(primary_key=True)
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id", index=True)


class Suppression(SQLModel, table=True):
    """An append-only log: an opt-out, or a newer opt-in by the lead that lifts it.

    *evidence* says how an opt-in was given, in words without names or addresses.
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


class Custody(SQLModel, table=True):
    """Who keeps a lead: one row each. `due_at` is the one wake-up column; null exactly when closed."""

    __table_args__: ClassVar[Any] = (
        CheckConstraint("kind in ('intake', 'track', 'queue', 'offer', 'rep', 'closed')", name="kind"),
        CheckConstraint("(kind = 'closed') = (due_at is null)", name="due"),
        CheckConstraint("ref <> ''", name="ref"),
        CheckConstraint("next_action <> '' or kind = 'closed'", name="next_action"),
        Index("ix_custody_due", "kind", "due_at", **index_where("due_at is not null")),
    )

    lead_id: int = shared_primary_key("lead.id")
    kind: str
    ref: str
    since: datetime = timestamp()
    next_action: str
    due_at: datetime | None = timestamp(null=True)
    version: int = Field(default=1, sa_type=Id, nullable=False)


class Enrollment(SQLModel, table=True):
    """One lead's stay on one track; at most one is open per lead."""

    __table_args__: ClassVar[Any] = (
        Index("uq_enrollment_open", "lead_id", unique=True, **index_where("ended_at is null")),
        NEVER_REUSE_IDS,
    )

    id: int | None = generated_id()
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id", index=True)
    track: str
    entered_at: datetime = timestamp()
    step: str
    visit: int = 1
    anchor_at: datetime = timestamp()
    reached_at: datetime = timestamp()
    ended_at: datetime | None = timestamp(null=True)
    end_reason: str | None = None


class Message(SQLModel, table=True):
    """The outbox: one row per mail that was ever intended, unique on `send_key`."""

    __table_args__: ClassVar[Any] = (
        CheckConstraint("kind in ('touch', 'question', 'brief', 'sla', 'notice')", name="kind"),
        CheckConstraint(
            "state in ('planned', 'claimed', 'sending', 'accepted', 'rejected', 'unknown', 'cancelled', "
            "'delivered', 'bounced', 'dropped', 'complained')",
            name="state",
        ),
        Index("ix_message_due", "send_at", **index_where("state = 'planned'")),
        Index("ix_message_leased", "lease_until", **index_where("state in ('claimed', 'sending')")),
        Index("ix_message_unknown", "state_at", **index_where("state = 'unknown'")),
        Index("ix_message_sender", "sender_domain", "claimed_at", **index_where("claimed_at is not null")),
    )

    id: int | None = generated_id()
    send_key: str = Field(unique=True)
    kind: str
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id", index=True)
    enrollment_id: int | None = Field(default=None, sa_type=Id, foreign_key="enrollment.id")
    offer_id: int | None = Field(default=None, sa_type=Id, foreign_key="offer.id")
    track: str | None = None
    track_version: int | None = None
    step: str = ""
    visit: int = 1
    email: str
    rep: str | None = None
    planned_at: datetime = timestamp()
    send_at: datetime = timestamp()
    expires_at: datetime = timestamp()
    state: str = "planned"
    state_at: datetime = timestamp()
    accepted_at: datetime | None = timestamp(null=True)
    sender_domain: str | None = None
    claimed_at: datetime | None = timestamp(null=True)
    lease_token: str | None = None
    lease_until: datetime | None = timestamp(null=True)
    attempts: int = 0
    provider: str | None = None
    provider_message_id: str | None = None
    reason: str | None = None


class CircuitBreaker(SQLModel, table=True):
    """What keeps mail back: a provider that is down or refuses us, a sender domain whose mail bounces.

    The kind `database` is the quarantine of a copy, or of a restored backup: it keeps everything back.

    *until* is when it is tried again; without one a person releases it. Released ones are kept as history.
    """

    __tablename__ = "circuit_breaker"
    __table_args__: ClassVar[Any] = (
        CheckConstraint("kind in ('provider', 'domain', 'database')", name="kind"),
        Index("uq_circuit_breaker_active", "kind", "name", unique=True, **index_where("released_at is null")),
    )

    id: int | None = generated_id()
    kind: str
    name: str
    reason: str
    since: datetime = timestamp()
    until: datetime | None = timestamp(null=True)
    released_at: datetime | None = timestamp(null=True)
    released_by: str | None = None


class Signal(SQLModel, table=True):
    """Something that a lead did; recorded once, by its natural key.

    *click_filter_key* names the rules of evidence that found the verdict: null where somebody declared it,
    "" to have it judged.
    """

    __table_args__: ClassVar[Any] = (
        Index("ix_signal_lead_id_occurred_at", "lead_id", "occurred_at"),
        Index("ix_signal_click_filter_key", "click_filter_key", **index_where("click_filter_key is not null")),
        Index("ix_signal_unapplied", "id", **index_where("applied_at is null")),
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


class Offer(SQLModel, table=True):
    """A hand-off to a rep; at most one is open per lead.

    *escalation_level* is the last step of its escalation that was taken, *round* how many reps it was offered
    to since the lead was handed off, *priority* its priority when offered. `lapsed`: accepted and not
    followed up; `reassigned`: given to another rep by a person.
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint(
            "state in ('offered', 'accepted', 'rejected', 'expired', 'withdrawn', 'reassigned', 'lapsed')", name="state"
        ),
        Index(
            "ix_offer_held_by_rep", "rep", **index_where("state in ('offered', 'accepted') and followed_up_at is null")
        ),
        Index("uq_offer_open", "lead_id", unique=True, **index_where("state = 'offered'")),
        Index("ix_offer_rep_offered_at", "rep", "offered_at"),
        NEVER_REUSE_IDS,
    )

    id: int | None = generated_id()
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id", index=True)
    enrollment_id: int | None = Field(default=None, sa_type=Id, foreign_key="enrollment.id")
    rep: str
    rule: str
    handoff_reason: str
    routing_reason: str
    policy_version: int = Field(foreign_key="approval.policy_version")
    state: str = "offered"
    offered_at: datetime = timestamp()
    expires_at: datetime = timestamp()
    answered_at: datetime | None = timestamp(null=True)
    reason: str | None = None
    escalation_level: int = 0
    round: int = 1
    priority: float = 0.0
    hot: bool = False
    followed_up_at: datetime | None = timestamp(null=True)
    follow_up_method: str | None = None


class Outcome(SQLModel, table=True):
    """How a lead ended, as sales tells it."""

    id: int | None = generated_id()
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id", index=True)
    closing: str
    happened_at: datetime = timestamp()
    amount: float | None = None
    reason: str = ""
    source: str
    recorded_at: datetime = timestamp()


class Journal(SQLModel, table=True):
    """Every decision and every change of custodian, with its reason. Append-only; holds ids, no names."""

    __table_args__: ClassVar[Any] = (
        Index("ix_journal_lead_id", "lead_id", "id"),
        Index(
            "ix_journal_custody_changes",
            "lead_id",
            "id",
            "custody_from",
            "custody_to",
            **index_where("custody_to is not null"),
        ),
        Index("ix_journal_custody_changes_at", "at", **index_where("custody_to is not null")),
    )

    id: int | None = generated_id()
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id")
    at: datetime = timestamp()
    stage: str
    event: str
    reason: str
    enrollment_id: int | None = Field(default=None, sa_type=Id)
    track: str | None = None
    track_version: int | None = None
    policy_version: int | None = None
    step: str | None = None
    detail: dict[str, Any] | None = Field(default=None, sa_type=Json, nullable=True)
    custody_from: str | None = None
    custody_to: str | None = None
    ref: str | None = None


class LinkToken(SQLModel, table=True):
    """What a public link may do: one thing, for one lead. Only the token's SHA-256 is kept."""

    __tablename__ = "link_token"

    digest: str = Field(primary_key=True)
    purpose: str
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id", index=True)
    message_id: int | None = Field(default=None, sa_type=Id, foreign_key="message.id")
    offer_id: int | None = Field(default=None, sa_type=Id, foreign_key="offer.id")
    created_at: datetime = timestamp()


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


class ImportFile(SQLModel, table=True):
    """One run of an import: what came in, what did not."""

    __tablename__ = "import_file"

    id: int | None = generated_id()
    name: str
    source: str
    digest: str
    imported_at: datetime = timestamp()
    rows: int
    created: int
    updated: int
    rejected: int
