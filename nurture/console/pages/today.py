"""Today: the numbers of the day and the week, what needs somebody, and stop all mail."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from nurture.console import addresses, components
from nurture.console.components import Link, Time
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.view import View
from nurture.db import clock_row, last_rounds
from nurture.definitions.folder import read_folder
from nurture.domain.delivery.stops import ALL_TRACKS
from nurture.errors import NurtureError
from nurture.operations.problems import DEFAULT_PATIENCE, Problem, find_late_stages
from nurture.publishing.unpublished import find_unpublished
from nurture.reporting.console.lead_list_queries import LeadFilter
from nurture.reporting.console.today import Task, Today, load_today
from nurture.reporting.wording import pluralize
from nurture.runtime.context import AppContext

_MAX_TASKS: Final = 20
_MAX_NAMES: Final = 5
_LEADS: Final = frozenset({"queue", "consent"})


@dataclass(frozen=True, slots=True)
class TodayPage:
    """What the page shows: the numbers and tasks, the stages that are late, and what differs from what is live."""

    today: Today
    late: tuple[Problem, ...]
    unpublished: Sequence[str]

    @property
    def is_stopped(self) -> bool:
        """Return whether all mail is stopped."""
        return any(one.kind == "stop" and one.target == ALL_TRACKS for one in self.today.tasks)


def _load(request: PageRequest) -> TodayPage:
    with request.ctx.database.read() as tx:
        installation = clock_row.read_installation(tx)
        is_live = installation is None or installation.mode == "live"  # nobody runs the rounds of a practice world
        late = tuple(find_late_stages(last_rounds.load_all(tx), request.now, DEFAULT_PATIENCE)) if is_live else ()
        today = load_today(request.ctx, tx, request.now)
    return TodayPage(today, late, _list_unpublished(request.ctx))


def _list_unpublished(ctx: AppContext) -> Sequence[str]:
    """Return what is changed in the folder of definitions and not published; nothing if it cannot be read here."""
    try:
        return find_unpublished(ctx, read_folder(ctx.templates), ())
    except NurtureError:
        return ()


def _render(view: View, page: TodayPage) -> None:
    with components.block("figures"):
        for one in page.today.numbers:
            before = f"{one.before:,} {'a week ago' if one.name in _OF_A_DAY else 'last week'}"
            components.figure(one.title, f"{one.value:,}", before, addresses.of_leads(one.people) if one.value else "")
    with components.card("What needs somebody"):
        if not page.today.tasks and not page.late and not page.unpublished:
            components.empty("Nothing. Queues are empty, offers are answered, and mail goes out.")
        for problem in page.late:
            _draw_line(problem.message, problem.remedy, urgent=True)
        if page.unpublished:
            _draw_unpublished(page.unpublished)
        for task in page.today.tasks[:_MAX_TASKS]:
            _draw_task(view, task)
        if (more := len(page.today.tasks) - _MAX_TASKS) > 0:
            with components.block("buttons"):
                components.link(f"{more:,} more: all queues", "/handoffs/queues", "button quiet")
    _draw_waits(page.today)
    with components.block("buttons"):
        view.action_button("start_mail" if page.is_stopped else "stop_mail", "all")


_OF_A_DAY: Final = frozenset({"nurtured", "waiting", "sent_today"})


def _draw_unpublished(names: Sequence[str]) -> None:
    with components.block("task"):
        with components.block("task-text"):
            components.write("strong", f"{pluralize(len(names), 'definition')} changed, not published")
            more = f" and {len(names) - _MAX_NAMES:,} more" if len(names) > _MAX_NAMES else ""
            components.paragraph(", ".join(names[:_MAX_NAMES]) + more, "soft")
        with components.block("buttons"):
            components.link("Look at the changes", "/changes", "button quiet")


def _draw_waits(today: Today) -> None:
    with components.card("Who waits for a person"):
        if not today.waits:
            components.empty("Nobody.")
            return
        first = today.waits[0]
        with components.block("", "p"):
            components.link(first.name, addresses.of_lead(first.lead_id))
            components.write("span", " has waited longest: since ")
            components.time(first.since)
            components.write("span", f", {first.where}. {pluralize(today.waiting, 'lead')} in all.")
        rows = [
            (
                Link(one.name, addresses.of_lead(one.lead_id)),
                one.company,
                one.where + (", too long" if one.is_late else ""),
                Time(one.since),
            )
            for one in today.waits
        ]
        components.table(("Lead", "Company", "Where", "Since"), rows, caption="Who has waited longest")
        with components.block("buttons"):
            components.link("All queues", "/handoffs/queues", "button quiet")
            components.link("All hand-offs", "/handoffs", "button quiet")


def _draw_line(title: str, detail: str, *, urgent: bool) -> None:
    with components.block("task urgent" if urgent else "task"):
        components.write("strong", title)
        components.paragraph(detail, "soft")


def _draw_task(view: View, task: Task) -> None:
    with components.block("task urgent" if task.urgent else "task"):
        with components.block("task-text"):
            components.write("strong", task.title)
            with components.block("soft", "p"):
                components.write("span", task.detail)
                if task.since is not None:
                    components.write("span", ". Since ")
                    components.time(task.since)
        with components.block("buttons"):
            if task.kind in _LEADS:
                chosen = LeadFilter(queue=task.target)
                components.link("Show them", addresses.of_leads(chosen), "button quiet")
            elif task.kind == "offers":
                components.link("Show them", "/handoffs", "button quiet")
            elif task.kind == "stop" and task.target:
                view.action_button("start_track", task.target)
                components.link("Open the track", addresses.of_track(task.target), "button quiet")


PAGE: Final = Page("/", "Today", ALL_BUT_REPS, _load, _render, "Today", 10)
