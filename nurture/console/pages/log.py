"""The log: what users did, by user, action and outcome."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from nicegui import ui

from nurture.console import action_queries, addresses, components
from nurture.console.access.users import Role
from nurture.console.action_list import ACTIONS
from nurture.console.action_queries import ActionRecord
from nurture.console.actions import DONE, STARTED
from nurture.console.page import Page, PageRequest
from nurture.console.view import View
from nurture.errors import NotFound

_PAGE: Final = 100
_OUTCOMES: Final = {DONE: "done", "Refused": "refused", STARTED: "started"}
_LABELS: Final = {name: action.label for name, action in ACTIONS.items()}
_FIELDS: Final = ("who", "action", "outcome")


@dataclass(frozen=True, slots=True)
class LogPage:
    """A page of the log, where the next one begins, and the logins to choose from."""

    entries: Sequence[ActionRecord]
    next_before: int | None
    logins: Sequence[str]


def _load(request: PageRequest) -> LogPage:
    who, action, outcome = (request.values.get(name, "") for name in _FIELDS)
    if outcome and outcome not in _OUTCOMES:
        raise NotFound(f"There is no outcome {outcome[:40]!r}.")
    before = addresses.read_number(request.values, "before")
    with request.ctx.database.read() as tx:
        outcomes = (outcome,) if outcome else ()
        found = action_queries.list_actions(tx, _PAGE + 1, login=who, action=action, outcomes=outcomes, before=before)
        logins = action_queries.list_logins(tx)
    return LogPage(found[:_PAGE], found[_PAGE - 1].id if len(found) > _PAGE else None, logins)


def _render(view: View, page: LogPage) -> None:
    chosen = {name: view.values.get(name, "") for name in _FIELDS}
    with ui.element("form").classes("filters few").props("action=/log method=get"):
        components.select("who", "Who", chosen["who"], {one: one for one in page.logins})
        components.select("action", "Action", chosen["action"], dict(sorted(_LABELS.items(), key=lambda one: one[1])))
        components.select("outcome", "Outcome", chosen["outcome"], _OUTCOMES)
        components.write("button", "Show").props("type=submit")
    with components.card():
        if not page.entries:
            components.empty("Nobody did this." if any(chosen.values()) else "Nobody has done anything yet.")
            return
        components.table(COLUMNS, [log_row(one) for one in page.entries], caption="Actions, the newest first")
        if page.next_before is not None:
            query = {name: value for name, value in chosen.items() if value} | {"before": page.next_before}
            with components.block("buttons"):
                components.link("Older actions", f"/log?{urlencode(query)}", "button quiet")


COLUMNS: Final = ("When", "Who", "Action", "On", "Outcome")


def log_row(entry: ActionRecord) -> tuple[components.Cell, ...]:
    """Return the cells of an entry, under COLUMNS."""
    label = _LABELS.get(entry.action, entry.action)
    outcome = _OUTCOMES.get(entry.outcome, "not possible")
    return components.Time(entry.at), entry.login, label, entry.object, outcome


PAGE: Final = Page("/log", "Log", frozenset({Role.ADMIN}), _load, _render, "Log", 96)
