"""Check the tables of an email: each row in its table, each cell below a heading, and not too many columns."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from markdown_it.token import Token

MAX_COLUMNS: Final = 4
"""Columns that a phone shows without cutting words."""

_RULE_CELL: Final = re.compile(r":?-{2,}+:?")
_ESCAPED: Final = re.compile(r"\\.|`[^`]*+`")
_ROWS_ADVICE: Final = "Write all rows directly below the line `|---|---|`, without an empty line or a tag between"


def find_table_problems(
    tokens: Sequence[Token], lines: Sequence[tuple[int, str]]
) -> Iterator[tuple[int, str, str, bool]]:
    """Yield line, message, remedy, and whether it is a warning only; *lines* have their numbers in the file."""
    columns = 0
    for index, token in enumerate(tokens):
        if token.type == "table_open":
            token.attrSet("class", "data")
            columns = _count_columns(tokens[index:])
            if columns > MAX_COLUMNS:
                what = f"a phone cuts the words of a table with {columns} columns"
                yield lines[(token.map or [0])[0]][0], what, f"Write at most {MAX_COLUMNS}, or a list", True
        elif token.type == "tr_open" and token.map and _count_cells(lines[token.map[0]][1]) > columns:
            what = f"a row has more cells than the {columns} headings of its table"
            yield lines[token.map[0]][0], what, "Give each column a heading", False
        elif token.type == "inline" and tokens[index - 1].type == "paragraph_open" and token.map:
            yield from _find_stray_rows(token.content, lines[token.map[0] : token.map[1]])


def _find_stray_rows(text: str, lines: Sequence[tuple[int, str]]) -> Iterator[tuple[int, str, str, bool]]:
    rows = [line.strip() for line in text.split("\n")]
    if rule := next(filter(_is_rule, rows), None):
        line = next(number for number, written in lines if rule in written)
        advice = "Write above it one heading for each of its columns, with `|` between"
        yield line, "the headings and the line below them do not make a table", advice, False
    elif all(len(row) > 1 and row[0] == row[-1] == "|" for row in rows):
        yield lines[0][0], "this row is in no table", _ROWS_ADVICE, False


def _is_rule(row: str) -> bool:
    cells = row.removeprefix("|").removesuffix("|").split("|")
    return "|" in row and all(_RULE_CELL.fullmatch(cell.strip(" ")) for cell in cells)


def _count_columns(table: Sequence[Token]) -> int:
    end = next(index for index, token in enumerate(table) if token.type == "thead_close")
    return sum(token.type == "th_open" for token in table[:end])


def _count_cells(row: str) -> int:
    return _ESCAPED.sub("", row).strip().removeprefix("|").removesuffix("|").count("|") + 1
