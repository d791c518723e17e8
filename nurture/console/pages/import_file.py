"""One uploaded file: what its columns are taken for, the questions about it, its dry run and its import."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from nicegui import ui

from nurture.console import addresses, components
from nurture.console.importing import uploads
from nurture.console.importing.child import DRY_RUN, IMPORT, LEAKS, READ
from nurture.console.importing.import_actions import MEANINGS, TARGETS, label_others
from nurture.console.importing.uploads import Step, Upload
from nurture.console.lead_actions import MARKETING
from nurture.console.page import Page, PageRequest
from nurture.console.view import View
from nurture.domain.lead import Custodian, Queue
from nurture.formats.column_report import BARE_CONSENT, IGNORED

_POLL_SECONDS: Final = 1.0
_STEPS: Final = {READ: "Reading the file", DRY_RUN: "Dry run", IMPORT: "Import", LEAKS: "Leak report"}
_REASONS: Final[Mapping[str, str]] = {
    Queue.NO_CONSENT_BASIS: "no consent and no other basis in the file: say above why they may be mailed",
    Queue.NO_ADDRESS: "no email address",
    Queue.SUPPRESSED: "opted out, consent withdrawn, deleted or undeliverable",
    Queue.OWNER_UNKNOWN: "a rep works it, and no column says who",
    Queue.AMBIGUOUS: "the id and the address match different leads: a person decides",
    Custodian.REP: "a rep works it",
    Custodian.RESTING: "a customer, says the file: only a track for customers takes it",
    Custodian.CLOSED: "lost or unqualified, says the file",
}
_CONSENT: Final = {
    "granted": "known before, may be mailed now",
    "requested": "will be asked by one email to confirm the consent",
    "withdrawn": "known before, may not be mailed any more",
    "overruled": "with a yes and a no: not mailed, the no wins",
}
_MISSING: Final = {
    "consent": "nobody may be mailed unless you say on which basis",
    BARE_CONSENT: "nobody may be mailed unless you say on which basis, or which column has a yes",
    "country or time zone": "email goes out in the working hours of the sender",
    "owner": "no lead is recognized as a rep's",
}


@dataclass(frozen=True, slots=True)
class UploadPage:
    """What the page shows: the upload, its steps by name, whether one runs, and the fields that columns may become."""

    upload: Upload
    steps: Mapping[str, Step]
    is_running: bool
    targets: tuple[str, ...]
    others: tuple[str, ...]
    """The labels of other uploaded files, which the leak report may take, too."""
    has_bad_rows: bool
    has_mapping: bool

    @property
    def is_imported(self) -> bool:
        """Return whether the file was imported."""
        return IMPORT in self.steps and bool(self.steps[IMPORT].result)


def _load(request: PageRequest) -> UploadPage:
    upload = uploads.find(request.ctx.spool, request.values["upload_id"])
    is_running = uploads.is_locked(upload.folder)  # before the steps: what ends meanwhile is read as ended
    found = {name: step for name in _STEPS if (step := uploads.read_step(upload, name)) is not None}
    with request.ctx.database.read() as tx:
        declared = tuple(sorted(request.ctx.definitions.declared_fields(tx)))
    files = [(upload.folder / name).is_file() for name in (uploads.BAD_ROWS, uploads.MAPPING)]
    others = tuple(label_others(request.ctx.spool, upload))
    return UploadPage(upload, found, is_running, (*TARGETS, *declared), others, *files)


def _render(view: View, page: UploadPage) -> None:
    upload = page.upload
    components.link("All files", "/import")
    with components.block("soft", "p"):
        components.write("span", f"{upload.size_text}, uploaded by {upload.by}, ")
        components.time(upload.at)
    for name, step in page.steps.items():
        if not step.is_over:
            _draw_progress(name, step, is_running=page.is_running)
        elif step.error:
            components.notice(f"{_STEPS[name]}: {step.error}", "problem")
    if page.is_running:
        view.read_again_in(_POLL_SECONDS)  # no buttons meanwhile: reading again would close their dialogs
        return
    if page.is_imported:
        _draw_result("Imported", page, page.steps[IMPORT])
    read = page.steps.get(READ)
    if read is not None and read.result:
        for question in read.result["unclear"]:
            _draw_question(view, upload, *question)
        _draw_preparation(view, page, read.result)
        if LEAKS in page.steps and page.steps[LEAKS].result:
            _draw_leaks(page, page.steps[LEAKS].result)
        _draw_columns(view, page, read.result)
    with components.block("buttons"):
        view.action_button("remove_upload", upload.id)


def _draw_progress(name: str, step: Step, *, is_running: bool) -> None:
    if not is_running:
        text = "was interrupted. Start it again: no row is imported twice."
        components.notice(f"{_STEPS[name]} {text}", "warning")
        return
    share = min(step.read / step.size, 1.0) if step.size else 0.0
    with components.card(f"{_STEPS[name]}: {share:.0%}"):
        bar = ui.element("progress").props(f"max=1 value={share:.3f}")
        bar.props["aria-label"] = _STEPS[name]


def _draw_question(view: View, upload: Upload, column: str, positive: bool, values: list[str]) -> None:  # noqa: FBT001 - a JSON row
    with components.card(f"Does “{column}” say who wants no mail?", "question"):
        looks_like = "a permission" if positive else "an opt-out"
        shown = ", ".join(f"“{one[:30]}”" for one in values)
        components.paragraph(f"It looks like {looks_like}, and holds {shown}. Nothing is written before you answer.")
        with components.block("buttons"):
            for meaning in MEANINGS:
                choices = {"column": (column,), "meaning": (meaning,)}
                view.action_button("answer_opt_out", upload.id, meaning, choices)


def _draw_preparation(view: View, page: UploadPage, read: Mapping[str, Any]) -> None:
    with components.card("Before the import"):
        with components.block("facts", "dl"):
            for term, text in (("Rows", f"{read['rows']:,}"), ("System", read["system"])):
                components.write("dt", term)
                components.write("dd", text)
        if read["mapping_is_saved"]:
            components.notice("The mapping of an earlier file with these columns is used.")
        for note in read["notes"]:
            components.paragraph(note, "soft")
        for name in read["missing"]:
            components.notice(f"No column gives {name}: {_MISSING[name]}.", "warning")
        with components.block("buttons"):
            if not page.is_imported:
                view.action_button("set_basis", page.upload.id)
                view.action_button("set_source", page.upload.id)
                view.action_button("find_leaks", page.upload.id, choices={"others": page.others})
                if not read["unclear"]:
                    view.action_button("dry_run", page.upload.id)
                    view.action_button("import_leads", page.upload.id)
    if not page.is_imported and DRY_RUN in page.steps and page.steps[DRY_RUN].result:
        _draw_result("Dry run: nothing was written", page, page.steps[DRY_RUN])


def _draw_leaks(page: UploadPage, found: Mapping[str, Any]) -> None:
    with components.card("Leak report: nothing was written"):
        files = ", ".join(f"{name} ({kind})" for name, kind in found["files"])
        components.paragraph(f"Of {files}.", "soft")
        with components.block("figures"):
            for label, name in (("leads", "leads"), ("never touched", "untouched"), ("leaked", "leaked")):
                components.figure(label, "not known" if found[name] is None else f"{found[name]:,}")
        address = f"{addresses.of_upload(page.upload.id)}/{uploads.LEAK_PAGE}"
        components.link("Download the report", address, "button quiet")


def _draw_result(title: str, page: UploadPage, step: Step) -> None:
    found = step.result
    with components.card(title):
        with components.block("figures"):
            for name in ("rows", "new", "updated", "unchanged", "rejected"):
                components.figure(name, f"{found[name]:,}")
        if found["new"]:
            _draw_mailable(found)
        for name, line in _CONSENT.items():
            if count := found["consent"].get(name, 0):
                components.notice(f"{count:,} {line}.", "warning")
        if found["unknown_statuses"]:
            words = ", ".join(f"{name} ({count:,})" for name, count in found["unknown_statuses"].items())
            components.notice(f"Unknown status words, whose leads count as open: {words}.", "warning")
        for note in found["notes"]:
            components.paragraph(note, "soft")
        if found["rejected"] and page.has_bad_rows:
            address = f"{addresses.of_upload(page.upload.id)}/{uploads.BAD_ROWS}"
            components.link("Download the rejected rows", address, "button quiet")


def _draw_mailable(found: Mapping[str, Any]) -> None:
    """Draw how many new leads may be mailed, why the others may not, and where a dry run's would go."""
    by_custodian = found["by_custodian"]
    bases = ", ".join(f"{name} {count:,}" for name, count in found["by_basis"].items() if name != "none")
    why = f"basis in the rows: {bases or 'none'}"
    kinds = {kind: by_custodian.get(kind, 0) for kind in (Custodian.REP, Custodian.RESTING, Custodian.CLOSED)}
    rows = [(by_custodian.get(Custodian.INTAKE, 0), "may be mailed", why)]
    for name, count in {**found["by_queue"], **kinds}.items():
        if count:
            rows.append((count, "not mailed", _REASONS.get(name, name)))
    components.table(("New leads", "Mail", "Why"), rows, caption="Who may be mailed", right=("New leads",))
    if found["preview"]:
        tracks = ", ".join(f"{name} {count:,}" for name, count in found["preview"].items())
        components.paragraph(f"By the published policy the new leads would go to: {tracks}.")
    if found["closed_count"]:
        components.paragraph(f"The policy would close {found['closed_count']:,} of them:")
        closed = [(email or f"lead {lead_id}", reason) for lead_id, email, reason in found["closed"]]
        components.table(("Who", "Why"), closed, caption="Closed by the policy")


def _draw_columns(view: View, page: UploadPage, read: Mapping[str, Any]) -> None:
    columns = read["columns"]
    ignored = [one["column"] for one in columns if one["field"] == IGNORED]
    with components.card("Columns"):
        for one in columns:
            with components.block("column"):
                components.heading(one["column"] or "(no name)", 3)
                components.paragraph(f"→ {one['field']}", "soft" if one["field"] == IGNORED else "")
                with components.block("soft"):
                    components.write("span", " · ".join(one["examples"]) or "no value")
                    if one["examples"] and one["empty"]:
                        components.write("span", f" (empty: {one['empty']:,})")
                if one["column"] and not page.is_imported:
                    choices = {"column": (one["column"],), "field": page.targets}
                    view.action_button("map_column", page.upload.id, "", choices, one["column"][:40])
        if ignored:
            components.paragraph(f"Ignored: {', '.join(ignored)}.", "soft")
        if page.has_mapping:
            components.link("Download the mapping", f"/import/{page.upload.id}/{uploads.MAPPING}", "button quiet")


def _name(page: UploadPage) -> str:
    return page.upload.name


PAGE: Final = Page("/import/{upload_id}", "Import a file", MARKETING, _load, _render, name=_name)
