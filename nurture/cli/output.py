"""Print results: Rich for people, JSON for programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar

import orjson
import typer
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from nurture.domain.plain_text import replace_control_characters
from nurture.domain.planning import calendar
from nurture.reporting import wording

if TYPE_CHECKING:
    from nurture.runtime.import_run import ImportResult

T = TypeVar("T")

out = Console(highlight=False, emoji=False)  # `touch:100:05-x:1` is no emoji
err = Console(stderr=True, highlight=False, emoji=False)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def print_error(message: str) -> None:
    """Print an error message to stderr."""
    err.print(f"[bold red]error[/] {escape(message)}", soft_wrap=True)


def print_json(value: object) -> None:
    """Print *value* as JSON: dates in ISO form, times in UTC."""
    sys.stdout.buffer.write(to_json(value))
    sys.stdout.flush()


def to_json(value: object) -> bytes:
    """Return *value* as indented JSON: dates in ISO form, times in UTC."""
    return orjson.dumps(value, default=_to_jsonable, option=orjson.OPT_INDENT_2 | _ANY_KEY) + b"\n"


_ANY_KEY = orjson.OPT_NON_STR_KEYS


def print_result(data: T, text: RenderableType | Callable[[T], object], *, json: bool) -> None:
    """Print *data* as JSON, or *text* for people: markup, a table, or a function that prints *data*."""
    if json:
        print_json(data)
    elif callable(text):
        text(data)
    else:
        out.print(text)


def _to_jsonable(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "_asdict"):  # a named tuple: before the test for tuples
        return value._asdict()
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def make_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str = "",
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> Table:
    """Return a table of plain values; *right* names the right-aligned columns, *whole* those whose cells never wrap.

    A table that is wider than the terminal wraps its cells, between words where they fit.
    """
    cells = [tuple(format_cell(value) for value in row) for row in rows]
    named = [(name, *column) for name, column in _columns(columns, cells)]
    widths = _widths(named, out.width, {columns.index(name) for name in whole})
    shown = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        header_style="bold",
        padding=(0, _GAP, 0, 0),
    )
    for name, width in zip(columns, widths, strict=True):
        justify: Literal["left", "right"] = "right" if name in right else "left"
        shown.add_column(name, justify=justify, overflow="fold", width=width)
    for row in cells:
        shown.add_row(*map(escape, row))
    return shown


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    data: object,
    *,
    json: bool,
    title: str = "",
    right: Sequence[str] = (),
    empty: str = "",
) -> None:
    """Print *data* as JSON, or *rows* as a table; *empty*, which is markup, if there are no rows."""
    text = empty if empty and not rows else make_table(columns, rows, title=title, right=right)
    print_result(data, text, json=json)


def _columns(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterable[tuple[str, Sequence[str]]]:
    return ((name, [row[index] for row in rows]) for index, name in enumerate(names))


def _widths(columns: Sequence[Sequence[str]], line_width: int, whole: Container[int] = ()) -> Sequence[int | None]:
    """Return column widths that break only long words; None for each if all cells fit, or no width would help."""
    natural = [max(map(cell_len, column)) for column in columns]
    available = line_width - _GAP * (len(columns) - 1)
    if sum(natural) <= available:
        return [None] * len(columns)
    words = [
        natural[index]
        if index in whole
        else max((cell_len(word) for text in column for word in text.split()), default=0)
        for index, column in enumerate(columns)
    ]
    for limit in _WORD_WIDTHS:
        widths = [min(longest, limit) for longest in words]
        if sum(widths) <= available:
            break
    else:
        return [None] * len(columns)
    for _ in range(available - sum(widths)):  # extra width: first to nearly complete columns, then to the narrowest
        shortfalls = [full - width for full, width in zip(natural, widths, strict=True)]
        index = min(
            (index for index, shortfall in enumerate(shortfalls) if shortfall),
            key=lambda one: (
                shortfalls[one] > _NEARLY_COMPLETE,
                shortfalls[one] if shortfalls[one] <= _NEARLY_COMPLETE else -shortfalls[one],
            ),
        )
        widths[index] += 1
    return widths


_GAP: Final = 2
_NEARLY_COMPLETE: Final = 12
_WORD_WIDTHS: Final = (24, 20, 16, 12)


def format_cell(value: object) -> str:
    """Return the text of a table cell."""
    match value:
        case None:
            return "-"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}"
        case date():
            return value.isoformat()
        case float():
            return f"{value:,.1f}"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case _:
            return replace_control_characters(str(value))


def format_local_time(at: datetime, zone: str) -> str:
    """Return a timestamp in the local time of *zone*."""
    return f"{calendar.to_local(at, zone or 'UTC'):%a %d %b %Y %H:%M}"


pluralize = wording.pluralize


def has_display() -> bool:
    """Return whether a browser window can be opened."""
    return bool(os.environ.get("DISPLAY") or sys.platform in ("darwin", "win32"))


def format_columns(done: ImportResult) -> str:
    """Return as markup which columns of a file were used, and for what."""
    used = ", ".join(f"{column} ({field})" for column, field in done.mapped.items())
    unused = f"; not used: {', '.join(done.unmapped)}" if done.unmapped else ""
    return f"  [dim]columns used: {escape(used + unused)}[/]"


def print_import(done: ImportResult, *, dry_run: bool = False, json: bool = False, details: str = "") -> None:
    """Print the result of an import; *details* is markup, a line on what is special about this kind."""
    if json:
        print_json(done)
        return
    would = "would be " if dry_run else ""
    source = f" from {escape(done.source)}" if done.source else ""
    conflicts = f"{done.conflicts:,} in conflict, " if done.conflicts else ""
    out.print(
        f"[bold]{pluralize(done.rows, 'row')}[/]{source}: {done.new:,} {would}new, {done.updated:,} {would}updated, "
        f"{done.unchanged:,} unchanged, {conflicts}{done.rejected:,} rejected"
    )
    if details:
        out.print(details)
    for note in done.notes:
        out.print(f"  [yellow]{escape(note)}[/]")
    if done.report_path is not None:
        path = escape(str(done.report_path))
        out.print(f"  [yellow]{pluralize(done.rejected, 'rejected row')}, with line and reason: {path}[/]")
