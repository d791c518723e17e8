"""The subset of SOQL for the double: SELECT, WHERE with AND, OR, IN, semi-joins, ORDER BY, LIMIT."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

Row = Mapping[str, Any]
Test = Callable[[Row], bool]
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*')|(?P<time>\d{4}-\d\d-\d\dT[\d:.]+Z)|(?P<number>\d+)"
    r"|(?P<word>[A-Za-z_]\w*)|(?P<mark>>=|<=|!=|[=<>(),]))"
)


class MalformedQuery(Exception):
    """Salesforce would refuse the query with the error code *code*."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code


class Soql:
    """Runs queries on *tables*: object -> (fields, rows)."""

    def __init__(self, tables: Mapping[str, tuple[Sequence[str], Sequence[Row]]]) -> None:
        self._tables = tables

    def run(self, soql: str) -> tuple[str, list[dict[str, Any]]]:
        """Return the object and its rows. Raises MalformedQuery."""
        self._tokens = self._split(soql)
        self._at = 0
        found = self._select()
        if self._at != len(self._tokens):
            raise MalformedQuery("MALFORMED_QUERY", f"unexpected token: {self._tokens[self._at][1]}")
        return found

    def _split(self, soql: str) -> list[tuple[str, str]]:
        tokens, position = [], 0
        while position < len(soql.rstrip()):
            found = _TOKEN.match(soql, position)
            if found is None:
                raise MalformedQuery("MALFORMED_QUERY", f"unexpected character at {position}")
            tokens.append((str(found.lastgroup), found[found.lastgroup or 0]))
            position = found.end()
        return tokens

    def _select(self) -> tuple[str, list[dict[str, Any]]]:
        self._expect("SELECT")
        fields = [self._take()[1]]
        while self._accept(","):
            fields.append(self._take()[1])
        self._expect("FROM")
        name = self._take()[1]
        if name not in self._tables:
            raise MalformedQuery("INVALID_TYPE", f"sObject type '{name}' is not supported")
        known, rows = self._tables[name]
        self._known: Sequence[str] = known
        for field in fields:
            self._check(field)
        passes: Test = self._or(name) if self._accept("WHERE") else lambda _row: True
        chosen = [row for row in rows if passes(row)]
        self._known = known
        if self._accept("ORDER"):
            self._expect("BY")
            order = [self._take()[1]]
            while self._accept(","):
                order.append(self._take()[1])
            for field in order:
                self._check(field)
            chosen.sort(key=lambda row: [row[field] or "" for field in order])
        if self._accept("LIMIT"):
            chosen = chosen[: int(self._take()[1])]
        return name, [{field: row[field] for field in fields} for row in chosen]

    def _or(self, name: str) -> Test:
        tests = [self._and(name)]
        while self._accept("OR"):
            tests.append(self._and(name))
        return lambda row: any(test(row) for test in tests)

    def _and(self, name: str) -> Test:
        tests = [self._one(name)]
        while self._accept("AND"):
            tests.append(self._one(name))
        return lambda row: all(test(row) for test in tests)

    def _one(self, name: str) -> Test:
        if self._accept("("):
            inside = self._or(name)
            self._expect(")")
            return inside
        field = self._take()[1]
        self._known = self._tables[name][0]
        self._check(field)
        if self._accept("IN"):
            values = self._values()
            return lambda row: row[field] in values
        sign, value = self._take()[1], self._literal()
        match sign:
            case "=":
                return lambda row: _equal_ignoring_case(row[field], value)
            case "!=":
                return lambda row: not _equal_ignoring_case(row[field], value)
            case ">":
                return lambda row: row[field] is not None and row[field] > value
            case ">=":
                return lambda row: row[field] is not None and row[field] >= value
        raise MalformedQuery("MALFORMED_QUERY", f"unexpected token: {sign}")

    def _values(self) -> set[Any]:
        self._expect("(")
        if self._tokens[self._at][1].upper() == "SELECT":
            _, rows = self._select()
            values = {value for row in rows for value in row.values()}
        else:
            values = {self._literal()}
            while self._accept(","):
                values.add(self._literal())
        self._expect(")")
        return values

    def _literal(self) -> Any:
        kind, text = self._take()
        match kind:
            case "text":
                return re.sub(r"\\(.)", lambda found: {"n": "\n", "r": "\r"}.get(found[1], found[1]), text[1:-1])
            case "time":
                return text
            case "number":
                return int(text)
            case "word" if text in ("true", "false", "null"):
                return {"true": True, "false": False, "null": None}[text]
        raise MalformedQuery("MALFORMED_QUERY", f"unexpected token: {text}")

    def _check(self, field: str) -> None:
        if field not in self._known:
            raise MalformedQuery("INVALID_FIELD", f"No such column '{field}' on entity")

    def _take(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise MalformedQuery("MALFORMED_QUERY", "unexpected end")
        self._at += 1
        return self._tokens[self._at - 1]

    def _accept(self, word: str) -> bool:
        found = self._at < len(self._tokens) and self._tokens[self._at][1].upper() == word
        found = found and self._tokens[self._at][0] != "text"
        self._at += found
        return found

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            raise MalformedQuery("MALFORMED_QUERY", f"expecting {word}")


def _equal_ignoring_case(one: Any, other: Any) -> bool:
    """Compare case-insensitively, like Salesforce."""
    if isinstance(one, str) and isinstance(other, str):
        return one.casefold() == other.casefold()
    return bool(one == other)
