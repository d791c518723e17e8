"""Write a report to files: as CSV, or as one page. A file that is no earlier report is never overwritten."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.markup import escape

from nurture.cli.output import out
from nurture.files import open_private, require_own_file, write_private
from nurture.formats.csv_writer import CsvWriter


@contextmanager
def open_csv(file: Path, start: str) -> Iterator[CsvWriter]:
    """Open a CSV file, which begins with *start*, for writing. Raises OSError."""
    require_own_file(file, start)
    with open_private(file, encoding="utf-8", newline="") as opened:
        yield CsvWriter(opened)


def write_csv(file: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write *rows* below the names of their columns. Raises OSError."""
    with open_csv(file, ",".join(columns)) as writer:
        writer.write_row(columns)
        writer.write_rows(rows)


def write_page(file: Path, page: str) -> None:
    """Write a page as it was rendered: pages of one report are alike up to their style. Raises OSError."""
    require_own_file(file, page.partition("<style>")[0])
    write_private(file, page)


def print_written(*files: Path | None) -> None:
    """Print the names of those files that were asked for."""
    for file in filter(None, files):
        out.print(f"Written to {escape(str(file))}.")
