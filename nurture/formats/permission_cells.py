"""Read what the cells of a row say about permission to email: opt-outs, bounces, complaints and consent."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final

from nurture.formats.cells import EMPTY_VALUES
from nurture.formats.columns import normalize_name
from nurture.formats.dates import DateReader, is_date_like
from nurture.formats.opt_outs import (
    ALLOWED,
    COMPLAINED,
    DENIED,
    OPTED_OUT,
    REFUSALS,
    SUBSCRIBED,
    UNDECIDED,
    UNDELIVERABLE,
    Reading,
    StatusKind,
    find_status_kind,
    is_note_refusal,
    is_unconfirmed,
    may_refuse,
    names_opt_in,
    names_reason,
    names_status,
    read_refusal,
    read_status,
)
from nurture.formats.row_plan import ColumnBinding, RowPlan
from nurture.formats.status_mapping import ConsentBasis, ConsentReading, LeadStatus, map_status, read_consent

_MAX_CACHED: Final = 20_000
_MAX_NOTED: Final = 1_000
_PERMISSION_FIELDS: Final = frozenset({*REFUSALS, SUBSCRIBED, "consent_basis", "status"})
_DATE: Final = "date"
_MAX_SHOWN: Final = 5
_MAX_LABEL: Final = 2  # words
_CODES: Final = frozenset("023456789")
"""Statuses that only their system knows; 1 is active, or of no weight, in all that we know."""

_OTHER_STATUS: Final = StatusKind(is_mailing=False, may_be_code=False)

Note = tuple[str, str, str]
"""What is to be reported of a cell: the kind, the column and the text."""


@dataclass(slots=True)
class Permission:
    """What a row says; the fields are those of LeadRow, and *said* those that have a value."""

    consent_basis: ConsentBasis | None = None
    consent_withdrawn: bool | None = None
    consent_wording: str | None = None
    opted_out: bool | None = None
    opted_out_at: datetime | None = None
    opted_out_topics: tuple[str, ...] = ()
    undeliverable: bool | None = None
    complained: bool | None = None
    unclear_opt_out: str | None = None
    says_consent: bool = False
    unclear_consent: str = ""
    notes: list[Note] = field(default_factory=list)
    said: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def refuses(self) -> bool:
        """Return whether the row says that its address must not be mailed."""
        return bool(self.opted_out or self.opted_out_topics or self.undeliverable or self.complained)

    def refuse(self, says: str, topic: str = "", at: datetime | None = None) -> None:
        """Add a refusal or, for "allowed", that there is none."""
        if says == ALLOWED:
            self.opted_out = bool(self.opted_out)
        elif says == OPTED_OUT and topic:
            self.opted_out_topics = (*self.opted_out_topics, topic)
        elif says == OPTED_OUT:
            self.opted_out = True
            self.opted_out_at = max(filter(None, (self.opted_out_at, at)), default=None)
        elif says == UNDELIVERABLE:
            self.undeliverable = True
        elif says == COMPLAINED:
            self.complained = True


_NOT_OF_ROW: Final = ("says_consent", "unclear_consent", "notes", "said")
_ROW_FIELDS: Final = tuple(one.name for one in fields(Permission) if one.name not in _NOT_OF_ROW)


class PermissionReader:
    """Reads the permission cells of the rows of one file. Rows with the same cells are read once."""

    def __init__(self, plan: RowPlan, statuses: Mapping[str, LeadStatus], dates: Mapping[int, DateReader]) -> None:
        columns = [one for one in plan.columns if one.field in _PERMISSION_FIELDS]
        self._refusals = [one for one in columns if one.field in REFUSALS or one.field == SUBSCRIBED]
        self._consents = [one for one in columns if one.field == "consent_basis"]
        named = [(one.index, one.column, True) for one in columns if one.field == "status"]
        named += [(index, name, False) for index, name in plan.custom if names_status(name)]
        self._statuses = [(*one, find_status_kind(one[1])) for one in named]
        self._mapped = statuses
        self._states = [one.index for one in plan.columns if one.field == "region" and names_status(one.column)]
        self._unclear, self._refusal, self._remarks = plan.unclear, plan.refusal, plan.remarks
        self._dates = dates
        others = [one[0] for one in self._statuses] + [one[0] for one in self._unclear]
        self._indexes = sorted({*others, *self._states, *(one.index for one in columns)})
        self._cache: dict[tuple[str, ...], Permission] = {}
        self.noted: Counter[Note] = Counter()

    def read(self, cells: Sequence[str]) -> Permission:
        """Return what the row says."""
        key = tuple([cells[index] for index in self._indexes])
        if self._remarks:  # most remarks occur once
            key += tuple(["x" * is_note_refusal(cells[index].strip()) for index, _ in self._remarks])
        found = self._cache.get(key)
        if found is None:
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            found = self._cache[key] = self._read(cells)
        if found.notes:
            for note in found.notes:
                if note in self.noted or len(self.noted) < _MAX_NOTED:
                    self.noted[note] += 1
        return found

    def _read(self, cells: Sequence[str]) -> Permission:
        found = Permission()
        if self._refusal:
            found.refuse(self._refusal)
        consents = [
            (one.column, text, _short_is_undecided(text, read_consent(text)))
            for one in self._consents
            if (text := cells[one.index].strip())
        ]
        for column in self._refusals:
            text = cells[column.index].strip()
            if text and column.field == SUBSCRIBED:
                self._read_subscription(column, text, found, consents)
            elif text and text.casefold() not in EMPTY_VALUES:
                self._read_refusal(column, text, found)
        for index, name, is_status, about in self._statuses:
            if text := cells[index].strip():
                known = _OTHER_STATUS if is_status and map_status(text) else about
                if (reading := self._read_status(text, known, found)) is not None:
                    consents.append(("" if reading.known else name, text, reading))
        for index in self._states:  # "State" is a region, or the state of a subscription
            text = cells[index].strip()
            if says := read_status(text, whole=True):
                found.refuse(says)
            elif is_unconfirmed(text, _OTHER_STATUS):
                consents.append(("", text, ConsentReading(UNDECIDED)))
        _decide_consent(found, consents)
        for index, name, kind in self._unclear:
            text = cells[index].strip()
            if text and may_refuse(text, kind):
                found.unclear_opt_out = name
        for index, name in self._remarks:
            if is_note_refusal(cells[index].strip()):
                found.unclear_opt_out = name
        values = [(each, getattr(found, each)) for each in _ROW_FIELDS]
        found.said = [(each, value) for each, value in values if value not in (None, ())]
        if found.says_consent and found.consent_basis is None:
            found.said.append(("consent_basis", None))  # instead of a constant
        return found

    def _read_refusal(self, column: ColumnBinding, text: str, found: Permission) -> None:
        says = _by_table(column, text)
        given = Reading(column.field if says else ALLOWED)
        reading = read_refusal(text, column.field, column.column) if says is None else given
        if not reading.known and reading.says and not names_reason(column.column):
            found.notes.append(("refusal", column.column, text))
        if reading.says in REFUSALS or (reading.says == ALLOWED and column.field == OPTED_OUT):
            found.refuse(reading.says, column.topic, self._read_date(column.index, text))
        elif reading.says == ALLOWED:
            setattr(found, column.field, bool(getattr(found, column.field)))

    def _read_status(self, text: str, kind: StatusKind, found: Permission) -> ConsentReading | None:
        """Add what a status refuses; return a reading if it says that there is no consent yet."""
        if says := read_status(text, weak=kind.is_mailing):
            found.refuse(says)
            return None
        is_code = kind.may_be_code and text in _CODES and text not in self._mapped
        return ConsentReading(UNDECIDED, known=not is_code) if is_code or is_unconfirmed(text, kind) else None

    def _read_date(self, index: int, text: str) -> datetime | None:
        if index not in self._dates or not is_date_like(text):
            return None
        try:
            return self._dates[index](text)
        except ValueError:
            return None

    def _read_subscription(
        self, column: ColumnBinding, text: str, found: Permission, consents: list[tuple[str, str, ConsentReading]]
    ) -> None:
        table = _by_table(column, text)
        if table is not None:
            reading = ConsentReading(ALLOWED, ConsentBasis.CONSENT) if table else ConsentReading(DENIED)
        elif is_date_like(text):
            reading = ConsentReading(ALLOWED, ConsentBasis.CONSENT)
        else:
            reading = read_consent(text)
            reading = _short_is_undecided(text, reading) if names_opt_in(column.column) else reading
        if reading.says == DENIED:
            found.refuse(OPTED_OUT)
        elif reading.says in REFUSALS:
            found.refuse(reading.says)
        else:
            consents.insert(0, (column.column, text, reading))  # a consent column has precedence


_DENIALS: Final = frozenset({DENIED, *REFUSALS})


def _short_is_undecided(text: str, reading: ConsentReading) -> ConsentReading:
    """Return *reading*; a short text that is not known, such as "requested" or "NL", is not a yes yet."""
    is_unknown = not reading.known and not reading.says and len(text.split()) <= _MAX_LABEL and not is_date_like(text)
    return reading._replace(says=UNDECIDED) if is_unknown else reading


def _by_table(column: ColumnBinding, text: str) -> bool | None:
    if column.values is None:
        return None
    found = column.values.get(text.casefold())
    return column.values.get(_DATE) if found is None and is_date_like(text) else found


def _decide_consent(found: Permission, consents: Sequence[tuple[str, str, ConsentReading]]) -> None:
    """Set the basis: a No among several columns decides, and so does a limit; twins that disagree give none."""
    twins: dict[str, set[str]] = defaultdict(set)
    for column, text, reading in consents:
        found.says_consent = True
        twins[normalize_name(column)].add(reading.says)
        if not reading.known:
            found.notes.append(("consent", column, text))
            found.unclear_consent = text
        if len(text.split()) > 1 and (found.consent_wording is None or reading.basis is not None):
            found.consent_wording = text
    denied = any(reading.says in _DENIALS for _, _, reading in consents)
    for name, says in twins.items():
        if ALLOWED in says and len(says) > 1:
            column = next(column for column, _, _ in consents if normalize_name(column) == name)
            found.notes.append(("twins", column, ""))
            return
    found.consent_withdrawn = True if denied else None
    if denied or any(reading.says == UNDECIDED for _, _, reading in consents):
        return
    for _, _, reading in consents:  # the preferred column is last
        if reading.basis is not None:
            found.consent_basis = reading.basis


_NOTES: Final = {
    "refusal": "column {!r}: no known yes or no in {}, counted as opt-outs: {}",
    "consent": "column {!r}: no clear yes to email in {}, so no basis: {}",
    "date": "column {!r}: {} without a clear date, left out: {}; write dates like 2026-04-30 14:05, or give `formats` "
    "in a mapping file",
    "zone": "column {!r}: {} in a time zone with several meanings, left out: {}; name the zone of the file, such as "
    "`time_zone: Asia/Kolkata`, in a mapping file",
    "declared": "column {!r}: {} with a value that does not fit the type of the field, left out: {}; correct them, or "
    "the type in fields.yaml",
    "postcode": "column {!r}: {} had lost leading zeros, which were restored: {}",
    "short_postcode": "column {!r}: {} with too few digits for the country: {}; correct the postcodes at the source",
    "twins": "the columns named {!r} disagree in {}: no basis{}",
}


def describe_noted(noted: Mapping[Note, int]) -> list[str]:
    """Return one remark per kind and column: how many cells, and the most frequent texts."""
    groups: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for (kind, column, text), count in noted.items():
        groups[kind, column][text] += count
    remarks = []
    for (kind, column), texts in groups.items():
        count = texts.total()
        unit = ("row" if kind == "twins" else "cell") + ("" if count == 1 else "s")
        shown = ", ".join(f"{text[:60]!r} ({number:,})" for text, number in texts.most_common(_MAX_SHOWN) if text)
        remarks.append(_NOTES[kind].format(column, f"{count:,} {unit}", shown + (", ..." * (len(texts) > _MAX_SHOWN))))
    return remarks
