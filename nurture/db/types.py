"""Column types that both databases keep alike."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Identity, Integer, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import Field


def encode_timestamp(timestamp: datetime) -> str:
    """Return *timestamp* as both databases read it: ISO text in UTC, which sorts as the moments do.

    The text has microseconds only where there are any; "+" sorts before ".", so the order holds. orjson
    writes the same form by itself.

    Raises:
        ValueError: *timestamp* has no time zone.
    """
    return to_utc(timestamp).isoformat()


def to_utc(timestamp: datetime) -> datetime:
    """Return *timestamp* in UTC; raises ValueError if it has no time zone."""
    if timestamp.tzinfo is UTC and type(timestamp) is datetime:
        return timestamp
    if timestamp.tzinfo is None:
        raise ValueError(f"a time without a zone cannot be stored: {timestamp!r}")
    stamp = timestamp.astimezone(UTC)  # still the caller's subclass, which orjson does not know
    return datetime.combine(stamp.date(), stamp.time(), UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC. Naive values are refused on the way in; aware ones come out."""

    impl = String(32)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Use text where the database has no time zones."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        return dialect.type_descriptor(String(32))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse naive values."""
        if value is None:
            return None
        return to_utc(value) if dialect.name == "postgresql" else encode_timestamp(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None]:  # noqa: ARG002
        """Return aware UTC. Not as `process_result_value`, which wraps each value in two more calls."""
        return _from_postgres if dialect.name == "postgresql" else _from_text


def _from_text(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _from_postgres(value: datetime | None) -> datetime | None:
    return value if value is None or value.tzinfo is UTC else value.astimezone(UTC)


Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""A JSON document, or NULL."""

Id = BigInteger().with_variant(Integer, "sqlite")
"""A row's number, a reference to one, or a count without end: 64 bits. SQLite numbers only `INTEGER` keys."""


def generated_id() -> Any:
    """Return a primary key that the database numbers."""
    return Field(default=None, primary_key=True, sa_type=Id, sa_column_args=[Identity()])


def shared_primary_key(target: str, *, index: bool = False) -> Any:
    """Return a primary key that is the number of another row, such as "lead.id"."""
    column_options = {"autoincrement": False}
    return Field(primary_key=True, sa_type=Id, foreign_key=target, index=index, sa_column_kwargs=column_options)
