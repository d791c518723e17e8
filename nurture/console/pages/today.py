"""Today: the numbers of the day and the week, what needs somebody, and stop all mail."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from nurture.console import addresses, components
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.view import View
from nurture.db import last_rounds
from nurture.domain.delivery.stops import ALL_TRACKS
from nurture.operations.problems import DEFAULT_PATIENCE, Problem, find_late_stages
from nurture.reporting.console.lead_list_queries import LeadFilter
from nurture.reporting.console.today import Task, Today, load_today

_LEADS: Final = frozenset({"queue", "consent"})


@dataclass(frozen=True, slots=True)
class TodayPage:
    """What the page shows: the numbers and tasks, and the stages that are late."""

    today: Today
    late: tuple[Problem, ...]

    @property
    def is_stopped(self) -> bool:
        """Return whether all mail is stopped."""
        return any(one.kind == "stop" and one.target == ALL_TRACKS for one in self.today.tasks)


def _load(request: PageRequest) -> TodayPage:
    with request.ctx.database.read() as tx:
        late = tuple(find_late_stages(last_rounds.load_all(tx), request.now, DEFAULT_PATIENCE))
        return TodayPage(load_today(request.ctx, tx, request.now), late)


def _render(view: View, page: TodayPage) -> None:
    with components.block("figures"):
        for one in page.today.numbers:
            before = f"{one.before:,} {'a week ago' if one.name in _LEVELS else _BEFORE.get(one.name, 'last week')}"
            components.figure(one.title, f"{one.value:,}", before, addresses.of_leads(one.people) if one.value else "")
    with components.card("What needs somebody"):
        if not page.today.tasks and not page.late:
            components.empty("Nothing. Queues are empty, offers are answered, and mail goes out.")
        for problem in page.late:
            _draw_line(problem.message, problem.remedy, urgent=True)
        for task in page.today.tasks:
            _draw_task(view, task)
    with components.block("buttons"):
        view.action_button("start_mail" if page.is_stopped else "stop_mail", "all")


_LEVELS: Final = frozenset({"nurtured", "waiting"})
_BEFORE: Final[Mapping[str, str]] = {"sent_today": "on this day last week"}


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
