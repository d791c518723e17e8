"""Today: who waits for a person, and stop all mail."""

from dataclasses import dataclass
from typing import Final

from nurture.console import components
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.view import View
from nurture.domain.delivery.stops import ALL_TRACKS
from nurture.journey.leads import stop_queries
from nurture.reporting.queues import QueueRow, report_queues


@dataclass(frozen=True, slots=True)
class Today:
    """What the page shows: the queues, and why all mail is stopped, "" if it is not."""

    queues: list[QueueRow]
    stopped: str


def _load(request: PageRequest) -> Today:
    with request.ctx.database.read() as tx:
        stop = stop_queries.load_stops(tx).get(ALL_TRACKS)
    return Today(report_queues(request.ctx, request.now), str(stop) if stop is not None else "")


def _render(view: View, today: Today) -> None:
    if today.stopped:
        components.notice(today.stopped, "warning")
    with components.block("figures"):
        components.figure("wait for a person", f"{sum(one.waiting for one in today.queues):,}")
        components.figure("of them for too long", f"{sum(one.waiting_late for one in today.queues):,}")
    with components.card("What needs somebody"):
        waiting = [one for one in today.queues if one.waiting]
        if waiting:
            rows = [
                (one.queue, one.owner, one.waiting, one.waiting_late, components.Time(one.oldest) if one.oldest else "")
                for one in waiting
            ]
            columns = ("Queue", "Owner", "Waiting", "Too long", "Oldest since")
            components.table(columns, rows, caption="Queues with leads", right=("Waiting", "Too long"))
        else:
            components.empty("Nobody waits in a queue.")
    with components.block("buttons"):
        view.action_button("start_mail" if today.stopped else "stop_mail", "all")


PAGE: Final = Page("/", "Today", ALL_BUT_REPS, _load, _render, "Today", 10)
