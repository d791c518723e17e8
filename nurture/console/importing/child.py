"""Read or import an uploaded file: `python -m nurture.console.importing.child SPOOL ID STEP TIME LOGIN [ID ...]`.

The last ids are those of other uploaded files, which the leak report takes, too. The process inherits the lock of the
upload. It writes how far it is, and what it found, beside the file.
"""

import logging
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from nurture.app import App, open_app
from nurture.clock import parse_time
from nurture.console.importing import choices, uploads
from nurture.console.importing.uploads import Step, Upload
from nurture.console.settings import without_secrets
from nurture.errors import NurtureError, format_error_chain
from nurture.files import make_folder, write_private
from nurture.formats.columns import normalize_name
from nurture.journey.intake.import_file import LeadImportResult, describe_file, import_file
from nurture.reporting.leaks.report import report_leaks
from nurture.settings import STARTER_TEMPLATES, Settings
from nurture.web.sales.leaks_page import render_leaks_page

READ: Final = "read"
DRY_RUN: Final = "dry-run"
IMPORT: Final = "import"
LEAKS: Final = "leaks"

_MAX_CLOSED: Final = 20
_log: Final = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> None:
    """Carry out one step on one upload."""
    spool, upload_id, name, at, by, *other_ids = arguments
    upload, now = uploads.find(Path(spool), upload_id), parse_time(at)
    step = Step(by, now, 0, upload.size)
    uploads.write_step(upload, name, step)
    files = [upload]
    try:
        files += [uploads.find(Path(spool), one) for one in other_ids]
        with open_app(without_secrets(Settings.read())) as app:
            step.result = _find_leaks(app, files, now) if name == LEAKS else _carry_out(app, upload, name, step, now)
    except NurtureError as error:
        step.error = str(error).replace(str(upload.mapping), "The mapping")
        for one in files:
            step.error = step.error.replace(str(one.file), one.name)
    except BaseException as error:
        step.error = "Something went wrong. It was logged."
        _log.error("import_failed %s: %s", name, format_error_chain(error))
        raise
    finally:
        step.read = step.size
        uploads.write_step(upload, name, step)


def _carry_out(app: App, upload: Upload, name: str, step: Step, now: datetime) -> dict[str, Any]:
    return _read(app, upload) if name == READ else _import(app, upload, name, step, now)


def _find_leaks(app: App, files: Sequence[Upload], now: datetime) -> dict[str, Any]:
    """Write the leak report on the files to the first, as `nurture reports leaks --html` does."""
    shipped = next(folder for folder in STARTER_TEMPLATES if folder.is_dir())
    found = report_leaks([one.file for one in files], app.settings.templates, shipped, now)
    write_private(files[0].folder / uploads.LEAK_PAGE, render_leaks_page(found))
    kinds = [(one.name, read.kind) for one, read in zip(files, found.files, strict=True)]
    return {"leads": found.leads, "untouched": found.untouched, "leaked": found.leaked, "files": kinds}


def _read(app: App, upload: Upload) -> dict[str, Any]:
    """Return what the import understands of the file, by a mapping that was saved for such columns."""
    found = describe_file(app.ctx, upload.file, upload.mapping if upload.mapping.exists() else None)
    saved, is_saved = _saved_mapping(app.ctx.spool, found.names), False
    if saved.exists() and not upload.mapping.exists():
        shutil.copyfile(saved, upload.mapping)
        try:
            found, is_saved = describe_file(app.ctx, upload.file, upload.mapping), True
        except NurtureError:  # the fields that it names are not declared any more
            upload.mapping.unlink()
    return {**asdict(found), "columns": [one._asdict() for one in found.columns], "mapping_is_saved": is_saved}


def _import(app: App, upload: Upload, name: str, step: Step, now: datetime) -> dict[str, Any]:
    def show(read: int, size: int) -> None:
        step.read, step.size = read, max(size, 1)
        uploads.write_step(upload, name, step)

    mapping = upload.mapping if upload.mapping.exists() else None
    done = import_file(
        app.ctx,
        upload.file,
        now,
        mapping=mapping,
        report=upload.folder / uploads.BAD_ROWS,
        dry_run=name == DRY_RUN,
        progress=show,
    )
    if name == IMPORT:
        if mapping is not None:
            saved = _saved_mapping(app.ctx.spool, [one.column for one in done.columns])
            make_folder(saved.parent)
            shutil.copyfile(mapping, saved)
        upload.file.unlink(missing_ok=True)
    return _to_result(done)


def _to_result(done: LeadImportResult) -> dict[str, Any]:
    left_out = {"columns", "mapped", "unmapped", "report_path", "closed"}
    result = {one.name: getattr(done, one.name) for one in fields(done) if one.name not in left_out}
    closed = [(one.lead_id, one.email or "", one.reason) for one in done.closed[:_MAX_CLOSED]]
    return {**result, "closed": closed, "closed_count": len(done.closed)}


def _saved_mapping(spool: Path, names: Sequence[str]) -> Path:
    """Return the path of the mapping of files with these columns."""
    key = sha256("\n".join(sorted(map(normalize_name, names))).encode()).hexdigest()
    return uploads.folder_of(spool) / choices.SAVED_FOLDER / f"{key}.yaml"


if __name__ == "__main__":
    main(sys.argv[1:])
