"""One change: what publishing a definition does, in words, to people and in lines, with the button."""

import re
from dataclasses import dataclass
from typing import Final

from nurture.console import addresses, components
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.pages.changes import draw_live, draw_problems, draw_words
from nurture.console.publish_actions import MOVE, STAY
from nurture.console.view import View
from nurture.db.transaction import Transaction
from nurture.definitions.folder import BROADCASTS, read_folder
from nurture.errors import NotFound, NurtureError
from nurture.publishing.effect_wording import COLUMNS, describe_fits, format_day, summarize, tabulate
from nurture.publishing.folder_state import LABELS, TRACK, DefinitionChange, FileDiff, State, compare_folder
from nurture.publishing.publish import PublicationPlan, preview_effects
from nurture.reporting.wording import pluralize
from nurture.runtime.context import AppContext
from nurture.runtime.published import BROADCAST

_HUNK: Final = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)")
"""How a difference says in which line of the new text a part begins."""

MAX_FORECAST: Final = 500
"""How many leads a page forecasts; of more it takes as many at equal distances, and says so."""


@dataclass(frozen=True, slots=True)
class ChangePage:
    """The change, None if there is none; *plan* is what publishing does, or *problem* why it would be refused."""

    kind: str
    name: str
    change: DefinitionChange | None
    plan: PublicationPlan | None = None
    problem: str = ""


def _load(request: PageRequest) -> ChangePage:
    kind, name = request.values["kind"], request.values["name"]
    name = f"{BROADCASTS}{name}" if kind == BROADCAST else name
    if kind not in (TRACK, BROADCAST, *LABELS):
        raise NotFound(f"There is no definition of the kind {kind[:40]!r}.")
    with request.ctx.database.read() as tx:
        change = _find(request.ctx, tx, kind, name)
    if change is None or not change.is_publishable or kind not in (TRACK, BROADCAST):
        return ChangePage(kind, name, change)
    try:
        sources = read_folder(request.ctx.templates)
        plan = preview_effects(request.ctx, sources, request.now, only=[name], limit=MAX_FORECAST)
    except NurtureError as error:
        return ChangePage(kind, name, change, problem=str(error))
    return ChangePage(kind, name, change, plan)


def _find(ctx: AppContext, tx: Transaction, kind: str, name: str) -> DefinitionChange | None:
    state = compare_folder(ctx, tx)
    if state.unreadable:
        raise NotFound(state.unreadable)
    found = state.find(name)
    return found if found is not None and found.kind == kind else None


def _render(view: View, page: ChangePage) -> None:
    change = page.change
    with components.block("", "p"):
        components.link("All changes", "/changes")
        if page.kind == TRACK:
            components.write("span", " · ")
            components.link(f"Versions of {page.name}", addresses.of_versions(page.name))
    if change is None:
        components.empty(f"{page.name} is live as it is in the folder, or it is not in the folder.")
        return
    with components.card("What changes"):
        draw_live(change)
        if change.state is State.REMOVED:
            components.paragraph(
                "The folder has it no more. Its published version still takes leads and sends: stop the track, or "
                "retire it with `nurture tracks retire`."
            )
        elif change.state is State.NEW:
            components.paragraph("All of it is new.")
        draw_words(change.words)
        if page.plan is not None:
            _draw_moved(page.plan)
    if change.problems:
        with components.card("Check"):
            draw_problems(change.problems)
    if page.problem:
        components.notice(page.problem, "problem")
    if page.plan is not None:
        draw_effects(page.plan)
        has_fits = any(track for one in page.plan.changes for track in one.fits)
        with components.block("buttons"):
            choices = {"seen": (change.seen,), "take_in": (STAY, MOVE) if has_fits else ()}
            view.action_button("publish", change.name, f"Publish {change.name}", choices)
    elif change.is_publishable and not page.problem:
        components.notice("This is published together with everything else in the folder: see all changes.")
    draw_files(change.files)


def _draw_moved(plan: PublicationPlan) -> None:
    for one in plan.changes:
        for step, to in one.moved_steps.items():
            components.paragraph(f"Leads on {step} continue at {to}.")


def draw_effects(plan: PublicationPlan) -> None:
    """Draw what a change does to people: a line that sums it up, then who gets what earlier, later, never or again."""
    with components.card("What it does to people"):
        for one in plan.changes:
            if one.fits:
                components.paragraph(f"Known leads: {describe_fits(one, taken_in=True)}.")
        effects = plan.effects
        if effects is None or not effects.leads:
            components.empty("Nobody is on it now, so nothing changes for anybody yet.")
            return
        until = format_day(effects.until.date())
        if effects.concerned > effects.leads:
            components.paragraph(
                f"{effects.leads:,} of the {effects.concerned:,} leads concerned were looked at, at equal distances; "
                f"`nurture publish --dry-run` looks at all.",
                "soft",
            )
        if not effects.rows:
            leads = pluralize(effects.leads, "lead")
            components.paragraph(f"Until {until}, nothing changes for the {leads} concerned if nobody reacts.")
            return
        summary = summarize(effects.rows, [one.name for one in plan.changes])
        affected = f"{effects.affected:,} of {pluralize(effects.leads, 'lead')}"
        components.paragraph(f"Until {until}, if nobody reacts, the change affects {affected}: {summary}.")
        columns = tuple(name.capitalize() for name in COLUMNS)
        components.table(columns, list(tabulate(effects)), caption="Effect on people", right=("Leads",))


def draw_files(files: tuple[FileDiff, ...]) -> None:
    """Draw the lines that differ, file by file."""
    for one in files:
        with components.card():
            with components.block("tile-head"):
                components.link(one.path, addresses.of_file(one.path), "tile-name")
            with components.block("diff", "pre") as drawn:
                drawn.props("tabindex=0")
                for line in one.lines:
                    kind = {"+": "ins", "-": "del"}.get(line[:1], "span")
                    hunk = _HUNK.match(line)
                    components.write(
                        kind, f"Line {hunk[1]}\n" if hunk is not None else line + "\n", "soft" if hunk else ""
                    )


def _name(page: ChangePage) -> str:
    return f"Change of {page.change.label if page.change is not None else page.name}"


PAGE: Final = Page("/changes/{kind}/{name}", "Change", ALL_BUT_REPS, _load, _render, name=_name)
