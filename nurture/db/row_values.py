"""How rows are given to each database: as one JSON document, or bound one by one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import BigInteger, Boolean, ColumnClause, Date, Float, Integer, String
from sqlalchemy.sql import column
from sqlalchemy.types import TypeEngine

from nurture.db.types import Json, UtcDateTime, in_utc

_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")  # an even number of backslashes, then the escape


def first_of_each(rows: Sequence[Sequence[Any]], place: int) -> Sequence[Sequence[Any]]:
    """Return *rows* without those whose key at *place* another had before; null is no key."""
    first: dict[Any, Any] = {}
    return [row for row in rows if row[place] is None or first.setdefault(row[place], row) is row]


def typed(columns: Mapping[str, TypeEngine[Any]]) -> list[ColumnClause[Any]]:
    """Return the columns of a table expression."""
    return [column(label, kind) for label, kind in columns.items()]


def _times(columns: Mapping[str, TypeEngine[Any]]) -> list[int]:
    return [place for place, kind in enumerate(columns.values()) if isinstance(kind, UtcDateTime)]


def payload_of(columns: Mapping[str, TypeEngine[Any]], rows: Sequence[Sequence[Any]]) -> str:
    """Return *rows* as JSON; every time in a column of times is aware, and written in UTC."""
    times = _times(columns)
    plain = [tuple(row) for row in rows]
    for number, row in enumerate(plain):
        for place in times:
            moment = row[place]
            if moment is not None and (type(moment) is not datetime or moment.tzinfo is not UTC):
                plain[number] = (*row[:place], in_utc(moment), *row[place + 1 :])
                row = plain[number]  # noqa: PLW2901 - two times of one row may need it
    payload = orjson.dumps(plain).decode()
    return _NUL.sub("\\1\N{REPLACEMENT CHARACTER}", payload) if "\\u0000" in payload else payload


def bound(columns: Mapping[str, TypeEngine[Any]], rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Return *rows* as SQLite's driver takes them. By column: calls per value cost as much as inserts."""
    listed: list[Sequence[Any]] = list(zip(*rows, strict=True))
    for place, kind in enumerate(columns.values()):
        bind = _BINDERS.get(type(kind))
        if bind is not None:
            listed[place] = bind(listed[place])
    return list(zip(*listed, strict=True))


def _texts(values: Sequence[Any]) -> Sequence[Any]:
    if "\0" not in "".join(filter(None, values)):  # one search in all is twice as fast as one in each
        return values
    return [value if value is None else value.replace("\0", "\N{REPLACEMENT CHARACTER}") for value in values]


def _moments(values: Sequence[Any]) -> Sequence[Any]:
    plain = [
        value if value is None or (type(value) is datetime and value.tzinfo is UTC) else in_utc(value)
        for value in values
    ]
    texts: list[Any] = orjson.loads(orjson.dumps(plain))  # as `encode` writes them, four times as fast
    return texts


def _dates(values: Sequence[Any]) -> Sequence[Any]:
    return [None if value is None else value.isoformat() for value in values]


def _documents(values: Sequence[Any]) -> Sequence[Any]:
    return [None if value is None else _document(value) for value in values]


def _document(value: object) -> str:
    payload = orjson.dumps(value).decode()
    return _NUL.sub("\\1\N{REPLACEMENT CHARACTER}", payload) if "\\u0000" in payload else payload


_BINDERS: dict[type, Callable[[Sequence[Any]], Sequence[Any]]] = {
    UtcDateTime: _moments,
    Date: _dates,
    type(Json): _documents,
    String: _texts,
}


def pick_sqlite(place: int, kind: TypeEngine[Any]) -> str:
    """Return what reads the value at *place* of a row of JSON."""
    if isinstance(kind, type(Json)):
        return f"NULLIF(json_quote(json_extract(value, '$[{place}]')), 'null')"
    return f"json_extract(value, '$[{place}]')"


_POSTGRES_CASTS: dict[type, str] = {
    BigInteger: "bigint",
    Integer: "bigint",  # a narrower column refuses what it cannot hold
    Float: "double precision",
    Boolean: "boolean",
    Date: "date",
    UtcDateTime: "timestamptz",
    String: "text",
}


def pick_postgres(place: int, kind: TypeEngine[Any]) -> str:
    """Return what reads the value at *place* of a row of JSON, as *kind*."""
    if isinstance(kind, type(Json)):
        return f"NULLIF(item -> {place}, 'null'::jsonb)"
    cast = next(name for type_, name in _POSTGRES_CASTS.items() if isinstance(kind, type_))
    return f"(item ->> {place})::{cast}"
