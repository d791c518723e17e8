"""Choose the leads behind each figure of the leak report, and read their rows again from the files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final, NamedTuple

from nurture.domain.fields import Fields
from nurture.domain.lead import Custodian, Queue
from nurture.errors import NotFound, suggest
from nurture.formats.lead_row import LeadRow
from nurture.formats.outcome_file import OutcomeRows
from nurture.formats.rejected_rows import BadRow
from nurture.journey.intake.fold import fold_file
from nurture.reporting.leaks.business_case import WorkedLeads, find_worked
from nurture.reporting.leaks.exports import DEALS, Exports, open_lead_rows
from nurture.reporting.leaks.facts import NOBODY, DealFacts, Ending, LeadFacts, OwnerKind, Touch
from nurture.runtime.batches import gc_paused

HAND_OFF: Final = f"{Custodian.QUEUE} {Queue.HAND_OFF}"
DISCARDED: Final = f"{Custodian.CLOSED} discarded"
WON_DEALS: Final = "won-deals"
_SLOW: Final = timedelta(days=1)


@dataclass(frozen=True)
class LeadLists:
    """The leads of the files, chosen by figure. *after* is how long a lead may wait for its first touch."""

    exports: Exports
    now: datetime
    after: timedelta

    @cached_property
    def worked(self) -> WorkedLeads:
        """Return the leads that sales worked, and those that were won."""
        return find_worked(self.exports.leads, self.exports.deals)

    @cached_property
    def _touched_people(self) -> frozenset[int]:
        return frozenset(one.person for one in self.exports.leads if one.touch is not Touch.NEVER) - {NOBODY}

    @cached_property
    def _names(self) -> Counter[int]:
        return Counter(one.person for one in self.exports.leads)

    @cached_property
    def _owners_by_company(self) -> dict[int, set[str]]:
        owners: defaultdict[int, set[str]] = defaultdict(set)
        for one in self.exports.leads:
            if one.company != NOBODY and one.owner_kind is OwnerKind.PERSON and one.ending is not Ending.LOST:
                owners[one.company].add(one.owner.casefold())
        return owners

    def select(self, name: str) -> list[LeadFacts]:
        """Return the leads of the list *name*, in the order of the files. Raises NotFound."""
        if name not in LISTS or name == WON_DEALS:
            raise NotFound(f"There is no list {name}.", suggest(name, LISTS))
        if name in _WHOLE_LISTS:
            return list(_WHOLE_LISTS[name](self))
        test = _TESTS[name]
        return [one for one in self.exports.leads if test(self, one)]

    def is_overdue(self, lead: LeadFacts) -> bool:
        """Return whether a lead waits for longer than *after*, or nobody knows for how long."""
        return lead.created_at is None or self.now - lead.created_at > self.after

    def leaked(self) -> Iterator[LeadFacts]:
        """Yield the leads of the business case, each person once: never touched, overdue, and not to be discarded."""
        people: set[int] = set()
        for one in self.exports.leads:
            if one.is_untouched and self.is_overdue(one) and one.place != DISCARDED:
                if one.person in self._touched_people or one.person in people:
                    continue
                people |= {one.person} - {NOBODY}
                yield one

    def won_deals(self) -> list[DealFacts]:
        """Return the deals that were won."""
        return [one for one in self.exports.deals if one.outcome == "won"]

    def _has_several_owners(self, lead: LeadFacts) -> bool:
        return (
            lead.owner_kind is OwnerKind.PERSON
            and lead.ending is not Ending.LOST
            and len(self._owners_by_company.get(lead.company, ())) > 1
        )

    def companies_with_several_owners(self) -> int:
        """Return how many companies have leads with more than one owner."""
        return sum(len(owners) > 1 for owners in self._owners_by_company.values())


def _is_open_with(kind: OwnerKind) -> Callable[[LeadLists, LeadFacts], bool]:
    return lambda _, one: one.ending is Ending.OPEN and one.owner_kind is kind


def _is_slow(_: LeadLists, one: LeadFacts) -> bool:
    touched, created = one.first_touch_at, one.created_at
    return touched is not None and created is not None and touched - created > _SLOW


_TESTS: Final[dict[str, Callable[[LeadLists, LeadFacts], bool]]] = {
    "never-touched": lambda _, one: one.is_untouched,
    "not-known": lambda _, one: one.touch is Touch.UNKNOWN,
    "slow": _is_slow,
    "no-owner": _is_open_with(OwnerKind.NOBODY),
    "queue-owner": _is_open_with(OwnerKind.QUEUE),
    "owner-left": _is_open_with(OwnerKind.LEFT),
    "wrong-territory": lambda _, one: _is_open_with(OwnerKind.PERSON)(_, one) and bool(one.territory),
    "same-address": lambda _, one: one.rows > 1,
    "same-person": lambda lists, one: one.person != NOBODY and lists._names[one.person] > 1,  # noqa: SLF001
    "company-owners": lambda lists, one: lists._has_several_owners(one),  # noqa: SLF001
    "ready": lambda _, one: one.is_untouched and one.place == HAND_OFF,
    "nurture": lambda _, one: one.is_untouched and one.place.startswith(Custodian.TRACK),
    "discard": lambda _, one: one.is_untouched and one.place == DISCARDED,
}
_WHOLE_LISTS: Final[dict[str, Callable[[LeadLists], Sequence[LeadFacts] | Iterator[LeadFacts]]]] = {
    "leaked": LeadLists.leaked,
    "worked": lambda lists: lists.worked.worked,
    "won": lambda lists: lists.worked.won,
}
LISTS: Final[dict[str, str]] = {
    "never-touched": "Open leads that nobody touched",
    "leaked": "The leads of the business case: never touched, overdue, not to be discarded, each person once",
    "not-known": "Leads of which the files do not say whether somebody touched them",
    "slow": "Leads whose first touch came more than a day after them",
    "no-owner": "Open leads without an owner",
    "queue-owner": "Open leads that a queue or a system user owns",
    "owner-left": "Open leads whose owner left",
    "wrong-territory": "Open leads that belong to other reps by the policy",
    "same-address": "Leads that stand in several rows, by address or id",
    "same-person": "People with several addresses at one company",
    "company-owners": "Leads of companies that several owners share",
    "ready": "Never touched, and ready for sales by the policy",
    "nurture": "Never touched, and for a track by the policy",
    "discard": "Never touched, and no buyers by the policy",
    "worked": "Leads that sales worked: the whole of the win rate",
    "won": "Leads that were won: the part of the win rate",
    WON_DEALS: "Won deals: the source of the deal value",
}
"""Each list and what it holds."""

LEAD_COLUMNS: Final = (
    "file",
    "line",
    "email",
    "name",
    "company",
    "owner",
    "status",
    "created",
    "first touch",
    "policy",
)
DEAL_COLUMNS: Final = ("file", "line", "lead", "outcome", "amount", "currency", "closed")


class ListedRows(NamedTuple):
    """A list as a table."""

    name: str
    title: str
    columns: Sequence[str]
    rows: list[tuple[object, ...]]


def read_list(lists: LeadLists, name: str, declared: Fields) -> ListedRows:
    """Return the list *name* with who stands behind it, read again from the files. Raises NotFound, FileUnreadable."""
    if name == WON_DEALS:
        return ListedRows(name, LISTS[name], DEAL_COLUMNS, list(_read_deals(lists)))
    chosen = {(one.file, one.line): one for one in lists.select(name)}
    with gc_paused():
        return ListedRows(name, LISTS[name], LEAD_COLUMNS, list(_read_leads(lists, chosen, declared)))


def _read_leads(
    lists: LeadLists, chosen: dict[tuple[int, int], LeadFacts], declared: Fields
) -> Iterator[tuple[object, ...]]:
    for number, export in enumerate(lists.exports.files):
        if export.kind == DEALS or not any(file == number for file, _ in chosen):
            continue
        file, _ = open_lead_rows(export.path, declared, lists.now)
        with file:
            for row in fold_file(file):
                if isinstance(row, LeadRow) and (facts := chosen.get((number, row.line))) is not None:
                    yield _to_cells(export.path.name, row, facts)


def _to_cells(file: str, row: LeadRow, facts: LeadFacts) -> tuple[object, ...]:
    name = f"{row.first_name or ''} {row.last_name or ''}".strip() or row.full_name or ""
    created, touched = (at.strftime("%Y-%m-%d") if at else "" for at in (facts.created_at, facts.first_touch_at))
    decided = f"belongs to others by {facts.territory}" if facts.territory else f"{facts.place} ({facts.rule})"
    policy = decided.replace(" ()", "") + (f", waits in {facts.blocked}" if facts.blocked else "")
    who = row.email or row.external_id or "", name, row.company or "", facts.owner, row.status_text or ""
    return file, row.line, *who, created, touched, policy


def _read_deals(lists: LeadLists) -> Iterator[tuple[object, ...]]:
    won = {(one.file, one.line): one for one in lists.won_deals()}
    for number, export in enumerate(lists.exports.files):
        if export.kind != DEALS:
            continue
        rows = OutcomeRows(export.path, ("outcome",), deals=True)
        with rows.file:
            for one in rows:
                if not isinstance(one, BadRow) and (deal := won.get((number, one[0].line))) is not None:
                    closed = one[0].closed_at.strftime("%Y-%m-%d") if one[0].closed_at else ""
                    named = one[0].lead, one[0].outcome, deal.amount, deal.currency
                    yield export.path.name, deal.line, *named, closed
