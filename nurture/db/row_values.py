"""Conversion of rows for each database: to one JSON document, or to bound parameters."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import chain
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnClause,
    ColumnElement,
    Date,
    Float,
    FromClause,
    Integer,
    String,
    Table,
    TypeDecorator,
)
from sqlalchemy.sql import column
from sqlalchemy.types import TypeEngine

from nurture.db.types import Json, UtcDateTime, encode_timestamp, to_utc

Columns = Mapping[str, TypeEngine[Any]]
"""The names of the columns of rows, in order, each with its type."""

_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")  # an even number of backslashes, then the escape


@cache
def column_types(table: Table, names: tuple[str, ...], **columns: str) -> Columns:
    """Return the types of these columns of *table*. *columns* are names that differ from the column they mean."""
    return {name: _plain_type(table.c[columns.get(name, name)].type) for name in names}


def row_columns(row_type: type[tuple[Any, ...]], *tables: FromClause, **others: ColumnElement[Any]) -> list[Any]:
    """Return what to select for *row_type*, a named tuple: of each field, the column of the first table that has it.

    *others* are the expressions of fields that no table has, or another table than the first.
    """
    names: tuple[str, ...] = row_type._fields  # type: ignore[attr-defined]
    return [
        others[name] if name in others else next(table.c[name] for table in tables if name in table.c) for name in names
    ]


def _plain_type(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return *kind*, or the text type that SQLModel wraps."""
    if isinstance(kind, TypeDecorator) and not isinstance(kind, UtcDateTime):
        return kind.impl_instance
    return kind


def first_of_each(rows: Sequence[Sequence[Any]], position: int) -> Sequence[Sequence[Any]]:
    """Return *rows* without later duplicates of the key at *position*; None is not a key."""
    first: dict[Any, Any] = {}
    return [row for row in rows if row[position] is None or first.setdefault(row[position], row) is row]


def typed_columns(columns: Columns) -> list[ColumnClause[Any]]:
    """Return *columns* as the typed columns of a table expression."""
    return [column(label, kind) for label, kind in columns.items()]


def to_json_payload(columns: Columns, rows: Sequence[Sequence[Any]]) -> str:
    """Return *rows* as JSON, with timestamps in UTC; a naive one raises ValueError."""
    times = [position for position, kind in enumerate(columns.values()) if isinstance(kind, UtcDateTime)]
    values = [tuple(row) for row in rows]
    for number, row in enumerate(values):
        for position in times:
            timestamp = row[position]
            if timestamp is not None and (type(timestamp) is not datetime or timestamp.tzinfo is not UTC):
                values[number] = (*row[:position], to_utc(timestamp), *row[position + 1 :])
                row = values[number]  # noqa: PLW2901 - several timestamps of a row may change
    payload = orjson.dumps(values).decode()
    return _NUL.sub("\\1\N{REPLACEMENT CHARACTER}", payload) if "\\u0000" in payload else payload


def to_driver_values(columns: Columns, rows: Sequence[Sequence[Any]]) -> Iterator[Any]:
    """Return the values of *rows* for SQLite's driver, converted by column: a call per value costs as the insert."""
    listed: list[Sequence[Any]] = list(zip(*rows, strict=True))
    for position, kind in enumerate(columns.values()):
        bind = _DRIVER_CONVERTERS.get(type(kind))
        if bind is not None:
            listed[position] = bind(listed[position])
    return chain.from_iterable(zip(*listed, strict=True))


def _texts(values: Sequence[Any]) -> Sequence[Any]:
    if "\0" not in "".join(filter(None, values)):  # one search of the joined text is twice as fast as one per value
        return values
    return [value if value is None else value.replace("\0", "\N{REPLACEMENT CHARACTER}") for value in values]


def _timestamps_to_driver(values: Sequence[Any]) -> Sequence[Any]:
    if values.count(values[0]) == len(values):  # most columns are the time of the batch
        return [encode_timestamp(values[0])] * len(values) if values[0] is not None else values
    distinct = list(dict.fromkeys(values))
    in_utc_values = [
        value if value is None or (type(value) is datetime and value.tzinfo is UTC) else to_utc(value)
        for value in distinct
    ]
    # The format of `encode_timestamp`, four times as fast.
    texts = dict(zip(distinct, orjson.loads(orjson.dumps(in_utc_values)), strict=True))
    return [texts[value] for value in values]


def _dates(values: Sequence[Any]) -> Sequence[Any]:
    return [None if value is None else value.isoformat() for value in values]


def _documents(values: Sequence[Any]) -> Sequence[Any]:
    known: dict[int, str] = {}  # leads that are alike share the details of their decision
    texts: list[str | None] = []
    for value in values:
        text = known.get(id(value))
        if text is None and value is not None:
            text = known[id(value)] = _document(value)
        texts.append(text)
    return texts


def _document(value: object) -> str:
    payload = orjson.dumps(value, option=orjson.OPT_UTC_Z).decode()
    return _NUL.sub("\\1\N{REPLACEMENT CHARACTER}", payload) if "\\u0000" in payload else payload


_DRIVER_CONVERTERS: dict[type, Callable[[Sequence[Any]], Sequence[Any]]] = {
    UtcDateTime: _timestamps_to_driver,
    Date: _dates,
    type(Json): _documents,
    String: _texts,
}


def sqlite_column_sql(position: int, kind: TypeEngine[Any]) -> str:
    """Return the SQL that reads the value at *position* of a JSON row."""
    if isinstance(kind, type(Json)):
        return f"NULLIF(json_quote(json_extract(value, '$[{position}]')), 'null')"
    return f"json_extract(value, '$[{position}]')"


_POSTGRES_CASTS: dict[type, str] = {
    BigInteger: "bigint",
    Integer: "bigint",  # a narrower column rejects values that do not fit
    Float: "double precision",
    Boolean: "boolean",
    Date: "date",
    UtcDateTime: "timestamptz",
    String: "text",
}


def postgres_column_sql(position: int, kind: TypeEngine[Any]) -> str:
    """Return the SQL that reads the value at *position* of a JSON row, as *kind*."""
    if isinstance(kind, type(Json)):
        return f"NULLIF(item -> {position}, 'null'::jsonb)"
    cast = next(name for type_, name in _POSTGRES_CASTS.items() if isinstance(kind, type_))
    return f"(item ->> {position})::{cast}"
