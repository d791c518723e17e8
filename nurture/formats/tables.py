"""Read the tables in `data/`, which people edit without reading code."""

import csv
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent / "data"


def read_table(name: str) -> Iterator[dict[str, str]]:
    """Yield the rows of the file *name* by column."""
    with (_FOLDER / name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def split_cell(cell: str) -> list[str]:
    """Return the texts of a cell that lists several, separated by semicolons."""
    return [text.strip() for text in cell.split(";") if text.strip()]


@cache
def read_words(kind: str) -> dict[str, str]:
    """Return the meaning of each text of *kind* in `words.csv`, whose texts are in lower case."""
    rows = [row for row in _words() if row["kind"] == kind]
    return {text: row["meaning"] for row in rows for text in split_cell(row["texts"])}


@cache
def _words() -> list[dict[str, str]]:
    return list(read_table("words.csv"))
