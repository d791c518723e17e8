"""Import: upload a file, the files that wait for their import, and the imports of before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from nicegui import ui

from nurture.console import addresses, components
from nurture.console.components import Link, Time
from nurture.console.importing import uploads
from nurture.console.importing.child import DRY_RUN, IMPORT, READ
from nurture.console.importing.uploads import Upload
from nurture.console.lead_actions import MARKETING
from nurture.console.page import Page, PageRequest
from nurture.console.view import View
from nurture.reporting.console import import_queries
from nurture.reporting.console.import_queries import PastImport

_MAX_PAST: Final = 30


@dataclass(frozen=True, slots=True)
class ImportsPage:
    """The uploaded files, each with its state in words, and the newest imports."""

    waiting: Sequence[tuple[Upload, str]]
    past: Sequence[PastImport]


def _load(request: PageRequest) -> ImportsPage:
    waiting = [(one, _describe(one)) for one in uploads.list_all(request.ctx.spool)]
    with request.ctx.database.read() as tx:
        return ImportsPage(waiting, import_queries.load_imports(tx, _MAX_PAST))


def _describe(upload: Upload) -> str:
    states = {IMPORT: "imported", DRY_RUN: "dry run done", READ: "columns read"}
    for name, done in states.items():
        step = uploads.read_step(upload, name)
        if step is not None:
            if step.error:
                return "could not be read" if name == READ else "failed"
            if step.result:
                return "has a question" if name == READ and step.result["unclear"] else done
            return "in progress" if uploads.is_locked(upload.folder) else "interrupted"
    return "uploaded"


def _render(_view: View, page: ImportsPage) -> None:
    with components.card("Upload a list of leads"):
        components.paragraph(
            "A CSV file, a workbook or JSON: the export of a CRM, of a webinar, of a fair. Uploading writes no lead: "
            "you see first what each column is taken for. Its leak report, alone or with other files, such as "
            "deals, says which leads nobody works, and writes none.",
            "soft",
        )
        _draw_form()
    with components.card("Uploaded files"):
        if page.waiting:
            rows = [
                (Link(one.name, addresses.of_upload(one.id)), state, one.size_text, one.by, Time(one.at))
                for one, state in page.waiting
            ]
            components.table(("File", "State", "Size", "By", "When"), rows, caption="Uploaded files", right=("Size",))
            components.paragraph("Files are removed after their import, and at the latest after a day.", "soft")
        else:
            components.empty("No file waits. Upload one above.")
    with components.card("Imports"):
        if page.past:
            past = [
                (Time(one.at), one.name, one.kind, one.source, one.rows, one.created, one.updated, one.rejected)
                for one in page.past
            ]
            columns = ("When", "File", "Of", "System", "Rows", "New", "Updated", "Rejected")
            components.table(columns, past, caption="The newest imports", right=columns[4:])
        else:
            components.empty("Nothing was imported yet.")


def _draw_form() -> None:
    with ui.element("form").classes("upload") as form:
        form.props["data-most"] = str(uploads.MAX_BYTES)
        components.write("label", f"Files, each at most {uploads.MAX_BYTES // 10**6} MB").props["for"] = "upload-file"
        field = ui.element("input").props("type=file id=upload-file required multiple")
        field.props["accept"] = ",".join(uploads.ENDINGS)
        components.write("button", "Upload").props("type=submit")
        ui.element("progress").props("hidden aria-label=Sent")
        components.paragraph("", "refusal").props("role=alert")


PAGE: Final = Page("/import", "Import", MARKETING, _load, _render, "Import", 70)
