"""Read the rows of a list of opt-outs: every address of a line, and whether the row says no at all."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Final, NamedTuple

from nurture.domain.consent.suppression import SuppressionScope, SuppressionSource, normalize_ref, parse_source
from nurture.errors import FileUnreadable, InvalidState, NotFound
from nurture.formats.cells import EMPTY_VALUES
from nurture.formats.columns import find_columns, is_address_column, match_field
from nurture.formats.csv_reader import CsvRows, Row
from nurture.formats.dates import DateOrderEvidence, DateReader, choose_orders, is_date_like
from nurture.formats.opt_outs import (
    ALLOWED,
    COMPLAINED,
    DENIED,
    OPTED_OUT,
    REFUSALS,
    SUBSCRIBED,
    UNDELIVERABLE,
    find_meaning,
    find_unclear_name,
    is_soft_bounce,
    read_refusal,
    read_status,
)
from nurture.formats.rejected_rows import BadRow
from nurture.formats.status_mapping import read_consent
from nurture.journey.consent.suppression import ALL_MAIL, SuppressionTarget, TargetIndex, parse_address
from nurture.runtime.context import AppContext

WITHDRAWAL: Final = "withdrawal"
"""The kind of a withdrawal of consent in an export."""

_COLUMNS: Final = "suppression_column"
_MAX_SOURCE: Final = 64
_SMTP_REFUSAL: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}|[45]\d\d")
_DOMAIN_RULE: Final = re.compile(r"\*?@[\w.-]+|\*\.[\w.-]+")
_SEPARATORS: Final = re.compile(r"[;,|\n]")
_SOURCES: Final = {
    COMPLAINED: SuppressionSource.COMPLAINT,
    UNDELIVERABLE: SuppressionSource.BOUNCE,
    OPTED_OUT: SuppressionSource.IMPORT,
}


class ParsedOptOut(NamedTuple):
    """An opt-out of a row; with *withdrawn_by*, the withdrawal of consent that this source reported."""

    normal: str
    target: SuppressionTarget
    source: SuppressionSource
    at: datetime | None
    withdrawn_by: str = ""


class _Flag(NamedTuple):
    """A column that says whether the row is an opt-out at all."""

    position: int
    name: str
    field: str
    topic: str


def has_address(cells: Sequence[str]) -> bool:
    """Return whether a line has an address, and thus is no header."""
    return any("@" in cell for cell in cells)


class SuppressionReader:
    """Parses rows as opt-outs, by column name. *left_out* counts rows that say no opt-out, by column.

    *undated* counts dates that could not be read; *extra_rows* the lines that are yielded twice: with their readable
    addresses, and as rejected.
    """

    def __init__(self, ctx: AppContext, file: CsvRows) -> None:
        self.undated = 0
        self.extra_rows = 0
        self.left_out: Counter[str] = Counter()
        self._ctx = ctx
        self._file = file
        self._targets: TargetIndex | None = None
        self._headless = has_address(file.header)
        self.header: Sequence[str] = file.header
        self._columns: dict[str, int] = {}
        self._flags: list[_Flag] = []
        if self._headless:
            self._addresses = list(range(len(file.header)))
            first = next(index for index, cell in enumerate(file.header) if "@" in cell)
            self.header = ["email" if index == first else f"column {index + 1}" for index in self._addresses]
        else:
            self._find_columns()
        self._dates = self._date_readers()

    def _find_columns(self) -> None:
        """Find the known columns. Raises FileUnreadable if none contains addresses."""
        header = self._file.header
        self._columns = find_columns(header, _COLUMNS)
        self._addresses = [index for index, name in enumerate(header) if is_address_column(name)]
        if not self._addresses:  # as providers name it in their lists of bounces and opt-outs
            self._addresses = [0] if len(header) == 1 else [*find_columns(header, "suppressed_address").values()]
        if not self._addresses:
            shown = ", ".join(name[:40] for name in header[:12])
            raise FileUnreadable(
                f"{self._file.path} has no column with addresses (columns: {shown}); name one Email, or "
                "write only addresses, one per line"
            )
        kept = {*self._addresses, *(index for name, index in self._columns.items() if name != "date")}
        found = [_find_flag(index, name) for index, name in enumerate(header) if index not in kept]
        self._flags = [flag for flag in found if flag is not None]

    def _date_readers(self) -> dict[int, DateReader]:
        """Return the reader of each column of dates, with the order of day and month that the file shows."""
        indexes = {flag.position for flag in self._flags if flag.field in REFUSALS}
        indexes |= {self._columns["date"]} if "date" in self._columns else set()
        evidence = {index: DateOrderEvidence() for index in indexes}
        self._file.collect(evidence)
        return {
            index: DateReader(day_first=order, month_words=evidence[index].month_words)
            for index, order in choose_orders(evidence).items()
        }

    def rows(self) -> Iterator[tuple[ParsedOptOut, ...] | BadRow]:
        """Yield the opt-outs of each row; in a list without header the first line is one of them."""
        first: list[Row | BadRow] = [(self._file.header_line, list(self._file.header))] if self._headless else []
        for row in chain(first, self._file):
            if isinstance(row, BadRow) and not (self._headless and has_address(row.cells)):
                yield row
                continue
            # The lines of a list without header may have any number of addresses.
            line, cells = (row.line, row.cells) if isinstance(row, BadRow) else row
            try:
                found, faults = self._parse(cells)
            except (ValueError, InvalidState, NotFound) as error:
                yield BadRow.trimmed(line, str(error), cells)
                continue
            if found:
                yield tuple(found)
            if faults:
                self.extra_rows += bool(found)
                yield BadRow.trimmed(line, "; ".join(faults), cells)

    def _parse(self, cells: Sequence[str]) -> tuple[list[ParsedOptOut], list[str]]:
        """Return the opt-outs of a row, and what is wrong with its addresses. Raises InvalidState."""
        values = {name: cells[index].strip() for name, index in self._columns.items()}
        said, topic = self._read_flags(cells, values)
        if said is None:
            return [], []
        target = self._parse_target(values) if not topic else self._resolve_topic(topic)
        source = self._parse_source(values) if said == "" else _SOURCES[said]
        if values.get("source"):
            source = self._parse_source(values)
        at = self._parse_date(cells)
        is_withdrawal = values.get("kind", "").lower() == WITHDRAWAL
        withdrawn_by = values.get("source", "")[:_MAX_SOURCE] or SuppressionSource.IMPORT if is_withdrawal else ""
        found, faults = [], []
        for text in self._split_addresses(cells):
            try:
                found.append(ParsedOptOut(_parse_address(text), target, source, at, withdrawn_by))
            except InvalidState as error:
                faults.append(str(error))
        if not found and not faults:
            raise InvalidState("there is no email address; write it like name@example.com")
        return found, faults

    def _split_addresses(self, cells: Sequence[str]) -> list[str]:
        if self._headless:
            texts = [text for text in cells if "@" in text] or list(cells[:1])
        else:
            texts = [cells[index] for index in self._addresses]
        parts = [part for text in texts for part in (_SEPARATORS.split(text) if text.count("@") > 1 else [text])]
        parts = [each for part in parts for each in (part.split() if part.count("@") > 1 else [part])]
        return list(dict.fromkeys(part.strip() for part in parts if part.strip()))

    def _read_flags(self, cells: Sequence[str], values: Mapping[str, str]) -> tuple[str | None, str]:
        """Return which refusal the row says, "" if it only lists an address, None if it says none; and the topic."""
        said: dict[str, str] = {}
        status = values.get("status", "")
        if status and (refusal := read_status(status)):
            said[refusal] = ""
        for flag in self._flags:
            text = cells[flag.position].strip()
            if (refusal := _read_flag(flag, text)) is not None:
                said[refusal] = flag.topic if refusal not in said else ""
        for refusal in (COMPLAINED, UNDELIVERABLE, OPTED_OUT):
            if refusal in said:
                return refusal, said[refusal] if len(said) == 1 else ""
        if self._flags:
            self.left_out[self._flags[0].name] += 1
            return None, ""
        if status and (read_consent(status).says == ALLOWED or is_soft_bounce(status)):
            self.left_out[self.header[self._columns["status"]]] += 1
            return None, ""
        return "", ""

    def _resolve_topic(self, topic: str) -> SuppressionTarget:
        known = self._load_targets().topics.get(normalize_ref(topic))
        return SuppressionTarget(SuppressionScope.TOPIC, known) if known else ALL_MAIL

    def _load_targets(self) -> TargetIndex:
        if self._targets is None:
            with self._ctx.database.read() as tx:
                self._targets = TargetIndex.load(self._ctx, tx)
        return self._targets

    def _parse_target(self, values: Mapping[str, str]) -> SuppressionTarget:
        text = values.get("scope", "").lower() or SuppressionScope.GLOBAL.value
        if text not in set(SuppressionScope):
            raise InvalidState(f"{text!r} is not a scope; write global, topic or track")
        target = SuppressionTarget(SuppressionScope(text), values.get("ref", ""))
        if target.scope is SuppressionScope.GLOBAL:
            return SuppressionTarget()
        if not target.ref:
            raise InvalidState(f"the {target.scope} is missing; write it into the column ref")
        return self._load_targets().resolve(target)

    def _parse_source(self, values: Mapping[str, str]) -> SuppressionSource:
        text = values.get("source", "").lower()
        if text in set(SuppressionSource):
            return parse_source(text)
        if "source" in self._columns or "date" not in self._columns:
            return SuppressionSource.IMPORT
        # SendGrid exports: bounces have the server's reply, spam reports the IP address of their origin.
        server_reply = values.get("status", ""), values.get("reason", "")[:8].split(" ")[0].split("-")[0]
        if "status" in self._columns and any(_SMTP_REFUSAL.fullmatch(text) for text in server_reply):
            return SuppressionSource.BOUNCE
        return SuppressionSource.COMPLAINT if "ip" in self._columns else SuppressionSource.IMPORT

    def _parse_date(self, cells: Sequence[str]) -> datetime | None:
        texts = {index: cells[index].strip() for index in self._dates}
        is_date = {self._columns.get("date", -1)}
        for index, text in texts.items():
            if not text or (index not in is_date and not is_date_like(text)):
                continue
            try:
                return self._dates[index](text)
            except ValueError:
                self.undated += 1  # an opt-out with an invalid date still counts
        return None


def _find_flag(index: int, name: str) -> _Flag | None:
    meaning = find_meaning(name)
    match = match_field(name, None)
    field = meaning.field if meaning is not None else match[0] if match is not None else ""
    if field in (*REFUSALS, SUBSCRIBED, "consent_basis"):
        return _Flag(index, name, field, meaning.topic if meaning is not None else "")
    unclear = find_unclear_name(name) if not field else None
    return _Flag(index, name, OPTED_OUT, "") if unclear is not None and not unclear.positive else None


def _read_flag(flag: _Flag, text: str) -> str | None:
    """Return the refusal that a flag says, None if it says none."""
    if not text or text.casefold() in EMPTY_VALUES:
        return None
    if flag.field in REFUSALS:
        says = read_refusal(text, flag.field, flag.name).says
    else:
        says = read_consent(text).says
        says = OPTED_OUT if says == DENIED else says
    return says if says in REFUSALS else None


def _parse_address(text: str) -> str:
    if _DOMAIN_RULE.fullmatch(text):
        raise InvalidState(
            f"{text[:80]!r} is a rule for a domain, and opt-outs are by address; list the addresses, or set "
            "the leads of that domain aside by a rule of the policy"
        )
    return parse_address(text)
