"""Changes: the folder of definitions beside what is live, in words, with the faults of `check`."""

from dataclasses import dataclass
from typing import Final

from nurture.console import addresses, components
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.publish_actions import EVERYTHING, MOVE, STAY
from nurture.console.view import View
from nurture.domain.problems import Problem, faults
from nurture.publishing import approval
from nurture.publishing.approval import PENDING, PolicyVersionSummary
from nurture.publishing.folder_state import DefinitionChange, FolderState, State, compare_folder
from nurture.reporting.wording import pluralize

_WORDS_SHOWN: Final = 5
_BADGES: Final = {State.NEW: "", State.CHANGED: "", State.REMOVED: "warn", State.UNREADABLE: "bad"}


@dataclass(frozen=True, slots=True)
class ChangesPage:
    """What differs between the folder and what is live, and the versions of the policy that wait for approval."""

    folder: str
    state: FolderState
    pending: tuple[PolicyVersionSummary, ...]


def _load(request: PageRequest) -> ChangesPage:
    with request.ctx.database.read() as tx:
        state = compare_folder(request.ctx, tx)
    pending = tuple(one for one in approval.list_versions(request.ctx) if one.state == PENDING)
    return ChangesPage(request.ctx.templates.name, state, pending)


def _render(view: View, page: ChangesPage) -> None:
    state = page.state
    if state.unreadable:
        components.notice(state.unreadable, "problem")
        return
    with components.block("", "p"):
        components.link("Edit the files of the folder", "/edit")
    for one in page.pending:
        _draw_pending(view, one)
    _draw_problems(state.problems)
    if not state.changes:
        components.empty(f"Everything in the folder {page.folder} is live: {pluralize(state.unchanged, 'definition')}.")
        return
    for change in state.changes:
        _draw_change(change)
    components.paragraph(f"{pluralize(state.unchanged, 'other definition')} of the folder: no change.", "soft")
    if not faults(state.problems) and any(one.is_publishable for one in state.changes):
        with components.block("buttons"):
            view.action_button("publish_all", EVERYTHING, choices={"seen": (state.seen,), "take_in": (STAY, MOVE)})


def _draw_pending(view: View, one: PolicyVersionSummary) -> None:
    with components.card(f"Version {one.version} of the sales policy waits for approval"):
        with components.block("", "p"):
            components.write("span", f"{one.approver} has to approve it. Published ")
            components.time(one.published_at)
            components.write("span", ". Until then the version before stays in force.")
        with components.block("buttons"):
            view.action_button("approve_policy", str(one.version))


def _draw_problems(problems: tuple[Problem, ...]) -> None:
    if not problems:
        return
    wrong = len(faults(problems))
    counts = [pluralize(wrong, "fault")] if wrong else []
    counts += [pluralize(len(problems) - wrong, "warning")] if len(problems) > wrong else []
    with components.card(f"Check: {' and '.join(counts)}"):
        draw_problems(problems)


def draw_problems(problems: tuple[Problem, ...]) -> None:
    """Draw problems with their file, line and remedy, the faults first."""
    with components.block("problem-list", "ul"):
        for one in sorted(problems, key=lambda one: (one.is_warning, one)):
            with components.block("", "li"):
                components.write("span", "warning" if one.is_warning else "fault", f"badge {_kind(one)}")
                components.link(f"{one.file}:{one.line}", addresses.of_file(one.file))
                components.write("span", f" {one.message}. ")
                end = "" if one.suggestion.endswith(("?", ".")) else "."
                components.write("span", f"{one.suggestion}{end}", "soft")


def _kind(problem: Problem) -> str:
    return "warn" if problem.is_warning else "bad"


def _draw_change(change: DefinitionChange) -> None:
    with components.card():
        with components.block("tile-head"):
            components.link(change.label, addresses.of_change(change.kind, change.name), "tile-name")
            components.write("span", change.state.value, f"badge {_BADGES[change.state]}".strip())
            if wrong := len(faults(change.problems)):
                components.write("span", pluralize(wrong, "fault"), "badge bad")
        draw_live(change)
        if wrong:
            components.paragraph("Mend the faults: then this says what changes.")
            return
        draw_words(change.words[:_WORDS_SHOWN])
        if len(change.words) > _WORDS_SHOWN:
            components.paragraph(f"and {len(change.words) - _WORDS_SHOWN} more", "soft")


def draw_live(change: DefinitionChange) -> None:
    """Draw which version is live, since when and by whom."""
    if change.version is None or change.published_at is None:
        components.paragraph("Not live yet.", "soft")
        return
    with components.block("soft", "p"):
        components.write("span", f"Live is version {change.version}, published ")
        components.time(change.published_at)
        components.write("span", f" by {change.published_by or 'the command line'}.")


def draw_words(words: tuple[str, ...]) -> None:
    """Draw what changes, one line each."""
    if words:
        with components.block("words", "ul"):
            for one in words:
                components.write("li", one)


PAGE: Final = Page("/changes", "Changes", ALL_BUT_REPS, _load, _render, "Changes", 25)
