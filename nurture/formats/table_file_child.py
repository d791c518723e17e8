"""The child process that writes the rows of a workbook, a JSON file or HTML tables to standard output, tab-separated.

A row keeps its line number: it is written on the line that it has in the sheet or file. The last line of standard
error is a JSON object: `notes` for the marketer, or `error`, the reason and the remedy.
"""

import io
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

import orjson

from nurture.errors import FileUnreadable
from nurture.formats.encoding import REPAIRED, detect_encoding, find_encoding
from nurture.formats.encoding_guess import repair
from nurture.formats.table_file import BAD_ROW
from nurture.process_limits import limit_cpu, limit_memory

_BREAKS: Final = re.compile(r"[\0-\x1f\x7f\x85\u2028\u2029]+")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_ADDRESS: Final = re.compile(r"\S@\S+\.\S")
_MAX_DEPTH: Final = 8  # objects inside objects that become columns of their own
_MAX_COLUMNS: Final = 2_000
_CHUNK: Final = 256 * 1024  # characters
_THREE_DECIMALS: Final = re.compile(r"-?\d+\.\d{3}")

Row = Iterable[Any]


class _BadItem(NamedTuple):
    item: Any
    reason: str = "this is no JSON object; correct it"


class CannotConvert(Exception):
    """The file has no rows that can be read. The text is the reason and the remedy, in one clause each."""


@dataclass
class _Sheets:
    """Which sheet of a workbook is *read*, and which others hold addresses and are named after a refusal."""

    read: str = ""
    refusing: list[str] = field(default_factory=list)


def main(memory: int, cpu_seconds: int, kind: str, path: str, sheet: str, encoding: str) -> None:
    """Write the rows of the file at *path*."""
    limit_memory(memory)
    limit_cpu(cpu_seconds)
    output = io.TextIOWrapper(sys.stdout.buffer, "utf-8", errors="replace", newline="", write_through=False)
    notes: list[str] = []
    try:
        sheets = _Sheets()
        is_workbook = kind == "workbook"
        rows = _read_workbook(path, sheet, notes, sheets) if is_workbook else _READERS[kind](path, encoding, notes)
        if _write(output, rows):
            notes.append(REPAIRED)
        answer: dict[str, Any] = {"notes": notes, "sheet": sheets.read, "refusing": sheets.refusing}
    except CannotConvert as error:
        answer = {"error": str(error)}
    except (MemoryError, RecursionError):
        answer = {"error": "it is too large; export the rows as CSV"}
    except Exception as error:  # noqa: BLE001 - only the type: the message may quote a person's data
        answer = {"error": f"it is damaged ({type(error).__name__}); export it again, or save it as CSV"}
    sys.stderr.buffer.write(b"\n" + orjson.dumps(answer))


def _write(output: TextIO, rows: Iterable[Row]) -> bool:
    """Write *rows*; return whether a text was encoded twice, and is repaired."""
    is_repaired = False
    for row in rows:
        if isinstance(row, _BadItem):
            output.write(f"{BAD_ROW}{row.reason}\t{cell_text(row.item)}\n")
            continue
        cells = [_clean(cell) if isinstance(cell, str) else cell_text(cell) for cell in row]
        line = "\t".join([_quote(cell) for cell in cells] if any(cells) else ())
        if not line.isascii() and (repaired := repair(line)) != line:
            line, is_repaired = repaired, True
        output.write(f"{line}\n")
    output.flush()
    return is_repaired


def _clean(text: str) -> str:
    return text if text.isprintable() else _SURROGATE.sub("\ufffd", _BREAKS.sub(" ", text))


def _quote(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if '"' in cell else cell


def cell_text(value: object) -> str:
    """Return a value as people write it: 1067.0 as 1067, a date without a time as a date."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float() if not math.isfinite(value):
            return ""
        case float():
            text = f"{value:.0f}" if value.is_integer() else repr(value)
            return f"{text}0" if _THREE_DECIMALS.fullmatch(text) else text  # 1.234 could mean thousands
        case datetime():
            return value.isoformat(" ") if value.time() != datetime.min.time() else value.date().isoformat()
        case date():
            return value.isoformat()
        case timedelta():
            minutes, seconds = divmod(int(value.total_seconds()), 60)
            return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
        case list():
            return "; ".join(cell_text(one) for one in value)
        case dict():
            return orjson.dumps(value).decode() if value else ""
        case _:
            return _clean(str(value))


def _read_workbook(path: str, wanted: str, notes: list[str], sheets_found: _Sheets) -> Iterator[Row]:
    from python_calamine import PasswordError, SheetTypeEnum, SheetVisibleEnum, load_workbook  # noqa: PLC0415

    from nurture.formats.opt_outs import find_list_refusal  # noqa: PLC0415 - only workbooks have sheets

    try:
        book = load_workbook(path)
    except PasswordError:
        raise CannotConvert("it is protected by a password; remove the password in Excel and save it") from None
    sheets = [one for one in book.sheets_metadata if one.typ is SheetTypeEnum.WorkSheet]
    names = [one.name for one in sheets]
    if wanted and wanted not in names:
        raise CannotConvert(f"it has no sheet {wanted!r}; name one of: {', '.join(names)}")
    visible = [one.name for one in sheets if one.visible is SheetVisibleEnum.Visible]
    choice = [wanted] if wanted else visible or names
    first = ""
    for name in choice:
        sheet = book.get_sheet_by_name(name)  # one at a time: a sheet is held in memory
        if wanted or len(choice) == 1 or any(map(_has_address, sheet.iter_rows())):
            break
        first = first or (name if sheet.height else "")
    else:
        name, sheet = first, book.get_sheet_by_name(first or choice[0])
    if not sheet.height:
        raise CannotConvert("its sheets are empty; export it again and check that it holds rows")
    if others := [repr(other) for other in choice if other != name]:
        notes.append(f"read the sheet {name!r}, not {', '.join(others[:5])}; name another with --sheet")
    refusing = [one for one in names if one != name and find_list_refusal(one)]
    sheets_found.read = name
    sheets_found.refusing = [one for one in refusing if any(map(_has_address, book.get_sheet_by_name(one).iter_rows()))]
    return iter(sheet.iter_rows())


def _has_address(row: Row) -> bool:
    return any(isinstance(cell, str) and _ADDRESS.search(cell) for cell in row)


def _read_html(path: str, encoding: str, notes: list[str]) -> Iterator[Row]:
    with Path(path).open("rb") as file:
        start = file.read(4096)
    declared = re.search(rb"(?:charset|encoding)\s*=\s*[\"']?([\w.:-]+)", start)
    rows: list[list[str]] = []
    tables = _Tables(rows.append)
    for chunk in _decode(path, encoding or (declared[1].decode() if declared else ""), notes):
        tables.feed(chunk)
        yield from rows
        rows.clear()
    tables.close()
    yield from rows
    if not tables.count:
        raise CannotConvert("it is a web page without a table; export the rows as CSV or as an Excel workbook")


class _Tables(HTMLParser):
    """Collects the rows of tables in HTML, and of worksheets in the XML of Excel 2003."""

    def __init__(self, add: Callable[[list[str]], None]) -> None:
        super().__init__()
        self.count = 0
        self._add = add
        self._row: list[str] | None = None
        self._cell: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"tr", "row"}:
            self._end_row()
            self._row = []
        elif tag in {"td", "th", "cell"} and self._row is not None:
            self._end_cell()
            given = dict(attrs)
            index = given.get("ss:index") or ""
            if index.isdecimal():  # the cells before it are empty
                self._row += [""] * min(int(index) - 1 - len(self._row), 16_384)
            self._cell = []
            span = given.get("colspan") or ""
            self._span = min(int(span), 1_000) if span.isdecimal() else 1
        elif tag == "br":
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th", "cell"}:
            self._end_cell()
        elif tag in {"tr", "row"}:
            self._end_row()

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)

    def close(self) -> None:
        super().close()
        self._end_row()

    def _end_cell(self) -> None:
        if self._row is not None and self._cell is not None:
            self._row += [" ".join("".join(self._cell).split()), *[""] * (self._span - 1)]
        self._cell = None

    def _end_row(self) -> None:
        self._end_cell()
        if self._row:
            self.count += 1
            self._add(self._row)
        self._row = None


def _read_json(path: str, encoding: str, notes: list[str]) -> Iterator[Row]:
    text = "".join(_decode(path, encoding, notes))
    try:
        found = _parse(text)
    except ValueError as error:
        lines = text.split("\n")
        items = [_parse_line(line) for line in lines]
        if not isinstance(next((one for one in items if one != ()), None), dict):
            raise CannotConvert(f"it is not valid JSON ({error}); export it again") from error
        return _flatten_items(items)
    if isinstance(found, dict):
        lists = [
            value for value in found.values() if isinstance(value, list) and any(isinstance(e, dict) for e in value)
        ]
        if len(lists) > 1:
            raise CannotConvert("it has several lists of objects; save the one to import as a file of its own")
        found = lists[0] if lists else [found]
    return _flatten_items(found)


def _parse_line(line: str) -> Any:
    try:
        return _parse(line) if line.strip() else ()
    except ValueError:
        return line


def _parse(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)  # accepts NaN, which Python writes


def _flatten_items(items: list[Any]) -> Iterator[Row]:
    """Yield a header, then a row for each item; an item that is no object is a bad row, and () an empty line."""
    flat = [dict(_flatten(item, ())) if isinstance(item, dict) else item for item in items]
    paths = dict.fromkeys(path for item in flat if isinstance(item, dict) for path in item)
    if not paths:
        raise CannotConvert("it has no objects with values; export it again and check its filter")
    if len(paths) > _MAX_COLUMNS:
        raise CannotConvert(f"its objects have {len(paths):,} different names; at most {_MAX_COLUMNS:,} are read")
    leaves = Counter(path[-1].casefold() for path in paths)
    yield [path[-1] if leaves[path[-1].casefold()] == 1 and not _needs_path(path) else " ".join(path) for path in paths]
    for item in flat:
        if isinstance(item, dict):
            yield [item.get(path, "") for path in paths]
        else:
            yield item if item == () else _BadItem(item)


def _needs_path(path: tuple[str, ...]) -> bool:
    """Return whether a name within an object about permission says little alone: "status" of "consent"."""
    if len(path) == 1:
        return False
    from nurture.formats.columns import match_field  # noqa: PLC0415 - only nested JSON needs the vocabulary
    from nurture.formats.opt_outs import REFUSALS, SUBSCRIBED, find_unclear_name  # noqa: PLC0415

    permission = {*REFUSALS, SUBSCRIBED, "consent_basis"}
    leaf, is_unclear = match_field(path[-1], None), find_unclear_name(path[-1]) is not None
    if is_unclear or (leaf is not None and leaf[0] in permission):
        return False
    for name in path[:-1]:
        found, unclear = match_field(name, None), find_unclear_name(name)
        if found is not None and found[0] in permission:
            return True
        if unclear is not None and not (leaf is not None and unclear.positive and unclear.is_email):
            return True
    return False


def _flatten(item: dict[str, Any], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in item.items():
        path = (*above, name)
        if isinstance(value, dict) and value and len(path) < _MAX_DEPTH:
            yield from _flatten(value, path)
        else:
            yield path, value


_READERS: Final = {"html": _read_html, "json": _read_json}


def _decode(path: str, name: str, notes: list[str]) -> Iterator[str]:
    """Yield the text of a file in chunks, in the encoding *name*, or else in the one that its bytes suggest."""
    try:
        encoding = find_encoding(name)
    except FileUnreadable:
        encoding = detect_encoding(Path(path))
        notes += [note for note in encoding.notes if note != REPAIRED]
    with Path(path).open(encoding=encoding.name, errors="replace", newline="") as file:
        while chunk := file.read(_CHUNK):
            yield chunk.removeprefix("\ufeff")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:7])
