"""What users do about all leads that a filter lets through: pause, enroll, move, export; and saved filters."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from nurture.console import addresses, filter_queries
from nurture.console.access.users import Role
from nurture.console.actions import Action, Call, Field, FieldKind, ObjectKind
from nurture.console.lead_actions import MARKETING, read_pause_end
from nurture.errors import InvalidState
from nurture.journey.tracks.bulk import ChosenLeads, enroll_chosen, pause_chosen
from nurture.journey.tracks.enroll_where import EnrollmentCounts
from nurture.reporting.console.lead_list import find_page
from nurture.reporting.console.lead_list_queries import LeadFilter

MAX_LEADS: Final = 20_000
"""Up to how many leads one action on a filter changes."""

MAX_FILTERS: Final = 100
"""How many filters a user may save."""

EVERYBODY_SEES: Final = "everybody"
_ONLY_ME: Final = "only me"
_PAGE: Final = 5_000


def chosen_filter(call: Call) -> LeadFilter:
    """Return the filter that the action is about, narrowed to what the user may see. Raises NotFound."""
    return replace(addresses.parse_query(call.object), reps=call.user.reps)


def _choose(call: Call) -> ChosenLeads:
    """Return the leads that pass the filter now. Raises InvalidState if there are none, or too many."""
    chosen, before = chosen_filter(call), None
    ids: list[int] = []
    while True:
        with call.ctx.database.read() as tx:
            found = find_page(call.ctx, tx, chosen, call.now, before, _PAGE)
        ids += found.ids
        if len(ids) > MAX_LEADS:
            raise InvalidState(f"More than {MAX_LEADS:,} leads pass this filter. Narrow it, and act on each part.")
        if found.next_before is None:
            break
        before = found.next_before
    if not ids:
        raise InvalidState("No lead passes this filter any more.")
    return ChosenLeads(ids, call.by, call.check)


@dataclass(frozen=True, slots=True)
class _Enroll:
    """Enroll the leads in a track, or count what that would do."""

    interrupts: bool
    dry_run: bool = False

    def __call__(self, call: Call) -> str:
        found = enroll_chosen(
            call.ctx, _choose(call), call.values["track"], call.now, interrupts=self.interrupts, dry_run=self.dry_run
        )
        return _describe_enrolled(found, is_done=not self.dry_run)


def _describe_enrolled(found: EnrollmentCounts, *, is_done: bool) -> str:
    verb = ("entered", "did") if is_done else ("would enter", "would")
    entering = sum(found.entering.values())
    coming = _list({f"from {track}" if track else "from no track": n for track, n in found.entering.items()})
    said = f"{_leads(entering, verb[0])} {found.track}" + (f": {coming}." if coming else ".")
    return said + _describe_left_out(found.left_out, verb[1])


@dataclass(frozen=True, slots=True)
class _Pause:
    """Pause mail to the leads, or count what that would do."""

    dry_run: bool = False

    def __call__(self, call: Call) -> str:
        until = read_pause_end(call)
        found = pause_chosen(call.ctx, _choose(call), until, call.now, dry_run=self.dry_run)
        verb = ("would be", "would") if self.dry_run else ("are", "are")
        said = f"{_leads(found.paused, verb[0])} paused until {until:%Y-%m-%d}."
        return said + _describe_left_out(found.left_out, verb[1])


def _describe_left_out(left_out: Counter[str], verb: str) -> str:
    return f" {_leads(left_out.total(), verb)} not: {_list(left_out)}." if left_out else ""


def _leads(count: int, verb: str) -> str:
    if count == 1:
        return f"1 lead {'is' if verb == 'are' else verb}"
    return f"{count:,} leads {verb}"


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {what}" for what, n in sorted(counts.items(), key=lambda one: -one[1]))


def _export(call: Call) -> str:
    chosen_filter(call)
    return "The file is being written."


def _save(call: Call) -> str:
    query, name = addresses.query_of(addresses.parse_query(call.object)), call.values["name"][:80]
    with call.ctx.database.write() as tx:
        if filter_queries.count_filters(tx, call.user.id) >= MAX_FILTERS:
            raise InvalidState(f"You saved {MAX_FILTERS} filters. Delete one that you do not need.")
        is_shared = call.values["who"] == EVERYBODY_SEES
        filter_queries.replace_filter(tx, call.user.id, name, query, call.real_now, is_shared=is_shared)
    return f"The filter is saved as {name}."


def _delete(call: Call) -> str:
    with call.ctx.database.write() as tx:
        filter_queries.delete_filter(tx, int(call.object))
    return "The filter is deleted."


_SELLING: Final = MARKETING | {Role.SALES_MANAGER}
_TRACK: Final = (Field("track", "Track", FieldKind.CHOICE),)
_UNTIL: Final = (Field("until", "No mail until", FieldKind.DATE),)
_NAME: Final = (Field("name", "Name"), Field("who", "Who sees it", FieldKind.CHOICE, (_ONLY_ME, EVERYBODY_SEES)))
_FILTER: Final = ObjectKind.FILTER


def _on_all(name: str, label: str, roles: frozenset[Role], run: _Enroll | _Pause, fields: tuple[Field, ...]) -> Action:
    return Action(
        name, label, roles, _FILTER, run, fields, preview=replace(run, dry_run=True), in_own_transactions=True
    )


FILTER_ACTIONS: Final = (
    _on_all("pause_leads", "Pause them", _SELLING, _Pause(), _UNTIL),
    _on_all("enroll_leads", "Enroll them, then back", MARKETING, _Enroll(interrupts=True), _TRACK),
    _on_all("move_leads", "Move them to a track", MARKETING, _Enroll(interrupts=False), _TRACK),
    Action("export_leads", "Export as CSV", _SELLING, _FILTER, _export),
    Action("save_filter", "Save this filter", _SELLING, _FILTER, _save, _NAME),
    Action("delete_filter", "Delete", _SELLING, ObjectKind.SAVED_FILTER, _delete, is_grave=True),
)
