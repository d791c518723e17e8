"""Read the tables in `data/`, which people edit without reading code."""

from __future__ import annotations

import csv
from collections.abc import Iterator
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
