"""Read exports of leads and of deals, as any CRM writes them, into facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from sys import intern
from typing import Final, NamedTuple

from nurture.domain.fields import Fields
from nurture.errors import FileUnreadable
from nurture.formats.column_mapping import ColumnMapping
from nurture.formats.columns import detect_system, find_columns, looks_like_header, match_field, normalize_name
from nurture.formats.csv_reader import CsvRows, open_rows
from nurture.formats.lead_file import LeadFile
from nurture.formats.lead_row import LeadRow
from nurture.formats.outcome_file import OutcomeRows
from nurture.formats.rejected_rows import BadRow
from nurture.formats.row_plan import make_plan
from nurture.journey.intake.fold import fold_file
from nurture.journey.outcomes.import_file import is_open_stage, parse_closing
from nurture.reporting.leaks.facts import (
    NOBODY,
    DealFacts,
    Ending,
    LeadFacts,
    OwnerKind,
    Touch,
    hash_lead,
    index_leads,
    make_facts,
)
from nurture.reporting.leaks.replay import PolicyReplay
from nurture.reporting.leaks.touch_columns import TouchColumns, TouchReading
from nurture.runtime.batches import gc_paused
from nurture.runtime.import_run import BATCH_SIZE

_PERSON: Final = frozenset({"first_name", "last_name"})
_COMPANY_CURRENCY: Final = "amountincompanycurrency"
_TOUCHES_FIRST: Final = tuple(Touch)
_ENDINGS_FIRST: Final = (Ending.WON, Ending.CONVERTED, Ending.LOST, Ending.OPEN)


@dataclass
class ExportFile:
    """One file: *kind* is leads or deals. *people* are its leads without copies, *rejected* rows cannot be read.

    *columns* are the columns that were used, by what they say; *fields* what they say. *not_counted* look like touches
    and are none. *unread* counts cells that cannot be read, by column, *unknown* status words or stages.
    """

    path: Path
    kind: str
    system: str = ""
    rows: int = 0
    people: int = 0
    rejected: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)
    not_counted: tuple[str, ...] = ()
    unread: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    notes: tuple[str, ...] = ()

    @property
    def fields(self) -> frozenset[str]:
        """Return what its columns say."""
        return frozenset(self.columns.values())


@dataclass
class Exports:
    """What the files say: a lead stands here once, though several rows or files name its address."""

    files: list[ExportFile] = field(default_factory=list)
    leads: list[LeadFacts] = field(default_factory=list)
    deals: list[DealFacts] = field(default_factory=list)

    def some_leads_have(self, *fields: str) -> bool:
        """Return whether a file of leads has a column that says one of *fields*."""
        return any(not one.fields.isdisjoint(fields) for one in self.files if one.kind == LEADS)


LEADS: Final = "leads"
DEALS: Final = "deals"


class ExportRow(NamedTuple):
    """One row of a file of leads, which may stand for several rows of one person."""

    row: LeadRow
    touch: TouchReading | None


def read_exports(paths: Sequence[Path], replay: PolicyReplay, declared: Fields, now: datetime) -> Exports:
    """Read the files at *paths*, each as leads or deals by its columns. Raises FileUnreadable, also without leads."""
    found = Exports()
    with gc_paused():
        for number, path in enumerate(paths):
            rows = open_rows(path, _is_header)
            if is_deals(rows.header):
                rows.close()
                _read_deals(found, number, path)
            else:
                _read_leads(found, number, _to_leads(rows, declared, now), replay)
    if not any(one.kind == LEADS for one in found.files):
        raise FileUnreadable(
            f"{', '.join(map(str, paths))}: no file holds leads; add the export of leads or contacts. A file with a "
            "status and an amount and without first names counts as deals: leave the amount out of an export of leads"
        )
    if len(found.files) > 1:
        found.leads = _merge_copies(found.leads)
        _mark_worked(found)
    return found


def _mark_worked(found: Exports) -> None:
    """Mark leads whom a deal names as worked, whatever their own row says."""
    positions = index_leads(found.leads)
    for position in {positions[key] for deal in found.deals for key in deal.leads if key in positions}:
        if found.leads[position].touch is not Touch.RECORDED:
            found.leads[position] = found.leads[position]._replace(touch=Touch.BY_STATUS)


def is_deals(header: Sequence[str]) -> bool:
    """Return whether a file with these columns lists deals: a stage with an amount, a closing date or a deal's name."""
    found = find_columns(header, "deal_column").keys() | find_columns(header, "outcome_column").keys()
    has_stage = bool(found & {"outcome", "deal_status", "is_won", "status"})
    names_people = any((match_field(name, None) or ("",))[0] in _PERSON for name in header)
    return (
        has_stage and bool(found & {"amount", "closed_at", "deal"}) and not names_people and not _is_lead_list(header)
    )


def _is_lead_list(header: Sequence[str]) -> bool:
    """Return whether columns are those that only leads have, such as the status or the source of a lead."""
    names = {normalize_name(name) for name in header}
    return bool(names & {"leadstatus", "hsleadstatus", "leadowner", "leadid", "lifecyclestage", "donotmodifylead"})


def _is_header(line: Sequence[str]) -> bool:
    found = find_columns(line, "deal_column").keys() | find_columns(line, "outcome_column").keys()
    return looks_like_header(line) or len(found & {"outcome", "amount", "closed_at", "deal"}) > 1


def open_lead_rows(path: Path, declared: Fields, now: datetime) -> tuple[LeadFile, TouchColumns]:
    """Open the file at *path* as leads, and its columns of touches; the caller closes it. Raises FileUnreadable."""
    return _to_leads(open_rows(path, _is_header), declared, now)


def _to_leads(rows: CsvRows, declared: Fields, now: datetime) -> tuple[LeadFile, TouchColumns]:
    try:
        touches = TouchColumns(rows, now, _dated_columns(rows))
        mapping = ColumnMapping(declared={**declared, **touches.declared})
        return LeadFile(rows, make_plan(rows.header, mapping, str(rows.path)), mapping), touches
    except BaseException:
        rows.close()
        raise


def _dated_columns(rows: CsvRows) -> list[int]:
    system = detect_system(rows.header)
    fields = [(index, match_field(name, system)) for index, name in enumerate(rows.header)]
    return [index for index, found in fields if found is not None and found[0] == "created_at"]


def read_rows(file: LeadFile, touches: TouchColumns) -> Iterator[ExportRow | BadRow]:
    """Yield the rows of *file*, each person once."""
    for row in fold_file(file):
        yield row if isinstance(row, BadRow) else ExportRow(row, _read_touch(row, touches))


def _read_touch(row: LeadRow, touches: TouchColumns) -> TouchReading | None:
    if not row.parts:
        found = touches.read(row.custom)
    else:
        read = [touches.read(part.custom) for part in row.parts]
        said = {one.touched for one in read}
        found = TouchReading(
            True if True in said else None if None in said else False,
            min((one.first_at for one in read if one.first_at is not None), default=None),
            any(one.planned for one in read),
            next((one.owner_active for one in reversed(read) if one.owner_active is not None), None),
        )
    return found


def _read_leads(found: Exports, number: int, opened: tuple[LeadFile, TouchColumns], replay: PolicyReplay) -> None:
    file, touches = opened
    with file:
        export = ExportFile(file.path, LEADS, file.plan.system or "")
        used = {one.column: one.field for one in file.plan.columns if not one.field.startswith("touch_column_")}
        export.columns, export.not_counted = {**used, **touches.names}, touches.not_counted
        has_owner = "owner" in export.fields
        is_converted = _only_converted(used)
        rows = read_rows(file, touches)
        while batch := list(islice(rows, BATCH_SIZE)):
            bad = sum(isinstance(one, BadRow) for one in batch)
            good = [one for one in batch if isinstance(one, ExportRow)]
            export.rejected += bad
            export.people += len(good)
            export.rows += bad + sum(len(one.row.parts or (one,)) for one in good)
            decided = {
                one.line: one for one in replay.decide([one.row for one in good], file.path.name, file.webinar_at)
            }
            for one in good:
                touch = one.touch if touches.has_touches or (one.touch and one.touch.owner_active is False) else None
                facts = make_facts(number, one.row, touch, is_converted=is_converted, has_owner=has_owner)
                place = decided.get(one.row.line)
                if place is not None:
                    facts = facts._replace(
                        place=intern(place.place),  # few texts, many leads
                        rule=intern(place.rule),
                        blocked=place.blocked,
                        rep=place.rep,
                        territory=place.territory,
                        owner_kind=OwnerKind.LEFT if place.owner_left else facts.owner_kind,
                    )
                found.leads.append(facts)
        export.unread = touches.unread
        export.unknown = Counter(file.unknown_statuses)
        export.notes = tuple(file.notes)
    found.files.append(export)


def _only_converted(columns: Mapping[str, str]) -> bool:
    """Return whether the flags for customers only say that a lead was converted, which may be into an open deal."""
    names = {normalize_name(column) for column, name in columns.items() if name == "customer"}
    return bool(names) and names <= {"converted", "isconverted"}


def _read_deals(found: Exports, number: int, path: Path) -> None:
    rows = OutcomeRows(path, ("outcome",), deals=True)
    with rows.file as file:
        export = ExportFile(path, DEALS, detect_system(file.header) or "", columns=rows.columns.mapped)
        currency = find_columns(file.header, "currency_column")
        amount = rows.columns.indexes.get("amount")
        in_company_currency = amount is not None and normalize_name(file.header[amount]) == _COMPANY_CURRENCY
        index = -1 if in_company_currency or not currency else next(iter(currency.values()))
        for one in rows:
            export.rows += 1
            if isinstance(one, BadRow):
                export.rejected += 1
                continue
            row, cells = one
            closing = parse_closing(row.outcome, {})
            outcome = "won" if closing == "won" else "lost" if closing is not None else "open"
            if closing is None and not is_open_stage(row.outcome, {}):
                export.unknown[row.outcome] += 1
            said = cells.cells[index].strip().upper() if index >= 0 else ""
            leads = tuple(hash_lead(*each) for each in _names(row.lead, row.other_leads))
            found.deals.append(DealFacts(number, row.line, outcome, row.amount, said, leads))
            if amount is not None and row.amount is None and cells.values.get("amount"):
                export.unread[file.header[amount]] += 1
    found.files.append(export)


def _names(lead: str, others: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the kind and text of each name, id or address of people whom a deal names."""
    if "@" in lead:
        yield from (("address", one) for one in (lead, *others))
        return
    for text in filter(None, (part.strip() for part in lead.replace(";", ",").split(","))):
        yield "id", text
        yield "name", text


def _merge_copies(leads: Sequence[LeadFacts]) -> list[LeadFacts]:
    """Return each address once: the contact that any file has counts."""
    merged: list[LeadFacts] = []
    by_address: dict[int, int] = {}
    for lead in leads:
        known = by_address.setdefault(lead.address, len(merged)) if lead.address != NOBODY else len(merged)
        if known == len(merged):
            merged.append(lead)
        else:
            merged[known] = _merge(merged[known], lead)
    return merged


def _merge(first: LeadFacts, second: LeadFacts) -> LeadFacts:
    created = [one.created_at for one in (first, second) if one.created_at is not None]
    touched = [one.first_touch_at for one in (first, second) if one.first_touch_at is not None]
    owned = second if first.owner_kind in (OwnerKind.NOBODY, OwnerKind.UNKNOWN) and second.owner else first
    return first._replace(
        rows=first.rows + second.rows,
        external_id=first.external_id or second.external_id,
        owner=owned.owner,
        owner_kind=owned.owner_kind,
        territory=owned.territory,
        created_at=min(created, default=None),
        touch=min(first.touch, second.touch, key=_TOUCHES_FIRST.index),
        by_status=first.by_status and second.by_status,
        first_touch_at=min(touched, default=None),
        ending=min(first.ending, second.ending, key=_ENDINGS_FIRST.index),
    )
