"""Arguments that several commands share, and parsers for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nurture.app import App, open_app
from nurture.cli.output import err
from nurture.errors import InvalidState
from nurture.formats.table_file import ReadOptions
from nurture.settings import Settings

if TYPE_CHECKING:
    from nurture.runtime.import_run import ImportOptions

LeadArgument = Annotated[str, typer.Argument(help="A lead's id, email address or external id.")]
LimitOption = Annotated[int, typer.Option(min=1, help="The maximum number of rows.")]
ReportOption = Annotated[Path | None, typer.Option(help="Where rejected rows are written; default: beside FILE.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would happen.")]
MappingOption = Annotated[Path | None, typer.Option(help="A YAML file that maps columns to fields.")]
SheetOption = Annotated[
    str | None, typer.Option(help="The sheet of a workbook; default: the first with addresses, or with rows.")
]
EncodingOption = Annotated[
    str | None, typer.Option(help="The encoding of a text file, such as utf-8, cp1250 or mac_roman; default: guessed.")
]
ClicksOption = Annotated[
    list[str] | None,
    typer.Option("--clicks", help="An email whose button is clicked an hour after it came. May be repeated."),
]
RepliesOption = Annotated[
    list[str] | None,
    typer.Option("--replies", help="An answer to an email, as EMAIL:TEXT; it is read like any reply. May be repeated."),
]
TemplatesOption = Annotated[
    Path | None, typer.Option("--templates", help="The folder of definitions; default NURTURE_TEMPLATES.")
]


@contextmanager
def open_import(
    file: Path,
    report: Path | None,
    sheet: str | None,
    encoding: str | None,
    *,
    dry_run: bool,
    json: bool,
    upgrade: bool = False,
) -> Iterator[tuple[App, ImportOptions]]:
    """Open the app, and provide it with the options of an import; a bar on a terminal shows the progress."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415 - only imports need it

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with (
        open_app(upgrade=upgrade) as app,
        Progress(*columns, console=err, transient=True, disable=json or not err.is_terminal) as bar,
    ):
        task = bar.add_task(file.name, total=None)

        def show(read: int, size: int) -> None:
            bar.update(task, completed=read, total=size)

        reading = ReadOptions(encoding, sheet)
        yield app, {"report": report, "dry_run": dry_run, "progress": show, "reading": reading}


def parse_date(text: str) -> date:
    """Return an ISO date from the command line. Raises InvalidState."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidState(f"{text!r} is not a date. Write it as 2027-03-31.") from None


def templates_folder(given: Path | None) -> Path:
    """Return the folder of definitions: *given*, or the one in the settings."""
    return given or Settings.read().templates


def current_user() -> str:
    """Return the name of the user who runs the command, "unknown user" where the system has none."""
    try:
        return getuser()
    except (KeyError, OSError, ImportError):
        return "unknown user"
