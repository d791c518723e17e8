"""Read what reports of webinars and fairs have beside the people: when it took place, and parts about other things."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from nurture.formats.dates import DateReader
from nurture.formats.rejected_rows import BadRow
from nurture.formats.tables import read_words

PEOPLE: Final = "people"
_NUMBERED: Final = re.compile(r"\d{1,2}\. ?[^\W\d].*")
_AROUND_TITLE: Final = re.compile(r"^\d+\. ?| ?\(\d[\d.,]* \w+\)$")
"""The number of a part, or how much is in it: "Grand Totals (40 records)"."""

_MAX_ZONE_WORDS: Final = 6
_MERIDIEM: Final = re.compile(r"\d ?[ap]\.?m\b", re.IGNORECASE)

_Row = tuple[int, list[str]]


def part_meaning(title: str) -> str | None:
    """Return what a part of a report with this title lists: "people" or "other"; None for a text that is no title."""
    plain = " ".join(title.strip(' ,;\t":').casefold().split())
    return read_words("report_part").get(_AROUND_TITLE.sub("", plain))


def people_rows(
    rows: Iterable[_Row | BadRow], header: Sequence[str], passed_over: Counter[str]
) -> Iterator[_Row | BadRow]:
    """Yield the rows of a report's parts that have *header*; count the rows of other parts by title in *passed_over*.

    A numbered line alone is a title, in any language.
    """
    names = [_plain(cell) for cell in header]
    title: str | None = None
    before: _Row | BadRow | None = None  # a row that is a title, unless an address is below it
    for row in rows:
        cells = row.cells if isinstance(row, BadRow) else row[1]
        filled = [cell.strip() for cell in cells if cell.strip()]
        if before is not None and any("@" in cell for cell in filled):
            yield before
            title = None
        before = None
        if [_plain(cell) for cell in cells][: len(names)] == names:
            title = None
        elif len(filled) == 1 and len(header) > 2 and _is_title(filled[0]):
            before = row if title is None and part_meaning(filled[0]) is None else None
            title = filled[0]
            passed_over[title] += 0
        elif title is not None:
            passed_over[title] += 1
        else:
            yield row


def _is_title(text: str) -> bool:
    return part_meaning(text) is not None or _NUMBERED.fullmatch(text) is not None


def _plain(cell: str) -> str:
    return " ".join(cell.split()).casefold()


def find_event_time(lines: Sequence[Sequence[str]], read: DateReader | None = None) -> datetime | None:
    """Return the start in UTC, from the time behind, below or to the right of its label; None without one.

    *read* reads the dates of the file; a time with AM or PM has the month first otherwise.
    """
    below: Sequence[str]
    for above, below in pairwise([*lines, ()]):
        for position, cell in enumerate(above):
            label, _, behind = cell.partition(":")
            if any(words in label.casefold() for words in read_words("event_time")):
                beside = above[position + 1 : position + 2]
                for value in (behind, *below[position : position + 1], *beside):
                    timestamp = _parse_time(value.strip(), read)
                    if timestamp is not None:
                        return timestamp
    return None


def _parse_time(text: str, read: DateReader | None) -> datetime | None:
    readers = [read or DateReader(), *([DateReader(day_first=False)] if _MERIDIEM.search(text) else [])]
    words = text.split()
    # A zone may be written out behind the time: June 17, 2026 2:00 pm New York Time.
    for end in (len(words), *range(len(words) - 1, max(1, len(words) - _MAX_ZONE_WORDS), -1)):
        for reader in readers:
            try:
                return reader(" ".join(words[:end])).astimezone(UTC)
            except ValueError:
                continue
    return None
