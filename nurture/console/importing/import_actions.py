"""What users do about an uploaded file: say what its columns are, try it, import it, remove it."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import Final

from nurture.console.actions import Action, Call, Field, FieldKind, ObjectKind
from nurture.console.importing import choices, uploads
from nurture.console.importing.child import DRY_RUN, IMPORT, LEAKS, READ
from nurture.console.importing.choices import RECOGNIZED
from nurture.console.importing.uploads import Upload
from nurture.console.lead_actions import MARKETING
from nurture.errors import InvalidState
from nurture.formats.columns import CUSTOM, SKIP
from nurture.formats.lead_row import FIELDS
from nurture.formats.opt_outs import OPTED_OUT, SUBSCRIBED
from nurture.formats.status_mapping import ConsentBasis
from nurture.runtime.context import AppContext

KEEP: Final = "own field"
IGNORE: Final = "ignore the column"
TARGETS: Final = (RECOGNIZED, *sorted((*FIELDS, SUBSCRIBED)), KEEP, IGNORE)
"""What a column may become, before the fields of fields.yaml."""

MEANINGS: Final = {
    "A yes there means: no mail": OPTED_OUT,
    "A yes there means: may be mailed": SUBSCRIBED,
    "It says nothing about mail": SKIP,
}
"""The answers to the question about a column that may be an opt-out."""

BASES: Final = (RECOGNIZED, *ConsentBasis)
_CHILD: Final = "nurture.console.importing.child"
_NAMES: Final = {KEEP: CUSTOM, IGNORE: SKIP}


def _map_column(call: Call) -> str:
    _choose(call, "columns", call.values["column"], _NAMES.get(call.values["field"], call.values["field"]))
    return f"The column {call.values['column'][:80]} is {call.values['field']}. The file is read again."


def _answer(call: Call) -> str:
    target = MEANINGS.get(call.values["meaning"])
    if target is None:
        raise InvalidState(f"Choose one of: {'; '.join(MEANINGS)}.")
    _choose(call, "columns", call.values["column"], target)
    return f"Answered for the column {call.values['column'][:80]}. The file is read again."


def _set_basis(call: Call) -> str:
    if call.values["basis"] not in BASES:
        raise InvalidState(f"Choose one of: {', '.join(BASES)}.")
    _choose(call, "constants", "consent_basis", call.values["basis"])
    return "The file is read again."


def _set_source(call: Call) -> str:
    _choose(call, "", "source", call.values["source"])
    return f"The ids of the file are those of {call.values['source'][:80]}. The file is read again."


def _choose(call: Call, section: str, name: str, value: str) -> None:
    upload = _open(call)
    with uploads.lock(upload) as descriptor, call.ctx.database.read() as tx:
        choices.choose(upload, section, name, value, call.ctx.definitions.declared_fields(tx))
        uploads.forget_steps(upload, READ, DRY_RUN)
        _start(call.ctx, upload, READ, call.user.login, call.now.isoformat(), descriptor)


def _dry_run(call: Call) -> str:
    return _run(call, DRY_RUN, "The dry run has started. Nothing is written.")


def _import(call: Call) -> str:
    return _run(call, IMPORT, "The import has started.")


def _find_leaks(call: Call) -> str:
    upload, spool = _open(call), call.ctx.spool
    waiting = label_others(spool, upload)
    chosen = [name for name in call.values["others"].splitlines() if name]
    if gone := [name for name in chosen if name not in waiting]:
        raise InvalidState(f"{gone[0][:80]} is not there any more.", "Upload it again, or leave it out.")
    others = [waiting[name] for name in chosen]
    with uploads.lock(upload) as descriptor:
        _start(call.ctx, upload, LEAKS, call.user.login, call.now.isoformat(), descriptor, others)
    return "The leak report is being computed. Nothing is written."


def label_others(spool: Path, upload: Upload) -> dict[str, str]:
    """Return the ids of the other files that were not imported, the newest first: the leak report may take them, too.

    Each is labeled with its name, and where several have one name, also with its size, its time and the end of its id.
    """
    found = [one for one in uploads.list_all(spool) if one.id != upload.id and one.file.is_file()]
    names = Counter(one.name for one in found)
    details = {one.id: f" ({one.size_text}, {one.at:%d %b %H:%M} UTC, {one.id[-4:]})" for one in found}
    return {one.name + (details[one.id] if names[one.name] > 1 else ""): one.id for one in found}


def _run(call: Call, step: str, done: str) -> str:
    upload = _open(call)
    with uploads.lock(upload) as descriptor:
        read = uploads.read_step(upload, READ)
        if read is None or not read.result:
            raise InvalidState("The file was not read yet.", "Correct what its page says.")
        if read.result["unclear"]:
            raise InvalidState("It is not known who wants no mail.", "Answer the question about the column first.")
        _start(call.ctx, upload, step, call.user.login, call.now.isoformat(), descriptor)
    return done


def _remove(call: Call) -> str:
    upload = uploads.find(call.ctx.spool, call.object)
    with uploads.lock(upload):
        uploads.remove(upload)
    return f"{upload.name} is removed."


def _open(call: Call) -> Upload:
    """Return the upload. Raises InvalidState if it was imported already."""
    upload = uploads.find(call.ctx.spool, call.object)
    imported = uploads.read_step(upload, IMPORT)
    if imported is not None and imported.result:
        raise InvalidState(f"{imported.by} has imported {upload.name}.", "Upload it again to import it again.")
    return upload


def _upload(call: Call) -> str:
    """Take up a file that has arrived, and begin to read it."""
    upload = uploads.finish(call.ctx.spool, call.object, call.user.login, call.real_now)
    with uploads.lock(upload) as descriptor:
        _start(call.ctx, upload, READ, upload.by, call.now.isoformat(), descriptor)
    return f"{upload.name} is uploaded."


def _start(
    ctx: AppContext, upload: Upload, step: str, by: str, now: str, lock: int, others: Sequence[str] = ()
) -> None:
    """Start a process that carries out the step, and that holds the lock from now until it ends, whatever ends it."""
    uploads.write_step(upload, step, uploads.Step(by, None, 0, upload.size))
    url = ctx.database.url.render_as_string(hide_password=False)
    child = subprocess.Popen(  # noqa: S603 - this Python and our module
        [sys.executable, "-m", _CHILD, str(ctx.spool.absolute()), upload.id, step, now, by, *others],
        env={**os.environ, "NURTURE_DATABASE_URL": url, "NURTURE_SPOOL": str(ctx.spool.absolute())},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(lock,),
    )
    Thread(target=child.wait, name="nurture-import", daemon=True).start()


_COLUMN: Final = Field("column", "Column", FieldKind.CHOICE)
_FIELDS: Final = (_COLUMN, Field("field", "It becomes", FieldKind.CHOICE, TARGETS))
_MEANING: Final = Field("meaning", "What it says", FieldKind.CHOICE, tuple(MEANINGS))
_BASIS: Final = Field("basis", "The basis of everybody without one in the file", FieldKind.CHOICE, BASES)
_OTHERS: Final = (Field("others", "Together with: deals, or more leads", FieldKind.MANY, required=False),)
_SOURCE: Final = Field("source", "The system that made the ids, such as crm")

UPLOAD_FILE: Final = Action("upload_file", "Upload a file", MARKETING, ObjectKind.UPLOAD, _upload)

IMPORT_ACTIONS: Final = (
    UPLOAD_FILE,
    Action("map_column", "Change", MARKETING, ObjectKind.UPLOAD, _map_column, _FIELDS),
    Action("answer_opt_out", "Answer", MARKETING, ObjectKind.UPLOAD, _answer, (_COLUMN, _MEANING)),
    Action("set_basis", "Say why they may be mailed", MARKETING, ObjectKind.UPLOAD, _set_basis, (_BASIS,)),
    Action("set_source", "Name the system of the ids", MARKETING, ObjectKind.UPLOAD, _set_source, (_SOURCE,)),
    Action("dry_run", "Dry run", MARKETING, ObjectKind.UPLOAD, _dry_run),
    Action("find_leaks", "Leak report", MARKETING, ObjectKind.UPLOAD, _find_leaks, _OTHERS),
    Action("import_leads", "Import", MARKETING, ObjectKind.UPLOAD, _import),
    Action("remove_upload", "Remove the file", MARKETING, ObjectKind.UPLOAD, _remove, is_grave=True),
)
