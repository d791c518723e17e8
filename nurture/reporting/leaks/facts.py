"""Reduce a lead of an export to what the figures need: no name, no address, only hashes to compare."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from functools import cache, lru_cache
from sys import intern
from typing import Final, NamedTuple

from nurture.formats.lead_row import LeadRow
from nurture.formats.status_mapping import LeadStatus, map_status
from nurture.formats.tables import read_words
from nurture.journey.ownership.match.domains import company_domain, site_domain
from nurture.journey.ownership.match.names import fold_letters, parse_name
from nurture.reporting.leaks.touch_columns import TouchReading

NOBODY: Final = 0
"""The hash of what is not known."""

_CONVERTED: Final = frozenset({"converted", "closed converted"})
_WON: Final = (LeadStatus.WON, LeadStatus.CUSTOMER)
_MIN_NAME_WORDS: Final = 2
_BETWEEN_WORDS: Final = re.compile(r"[^\w-]+|_+")
_fold: Final = lru_cache(maxsize=65_536)(fold_letters)


class Touch(StrEnum):
    """What the files say about contact with a lead. Each lead has one; together they are all leads."""

    RECORDED = "touched, with a date or a count"
    BY_STATUS = "worked or won by its status or a deal, no touch recorded"
    GIVEN_UP = "given up or put off by its status, no touch recorded"
    NEVER = "never touched"
    UNKNOWN = "not known"


class OwnerKind(StrEnum):
    """Who owns a lead."""

    PERSON = "a person"
    NOBODY = "nobody"
    QUEUE = "a queue or a system user"
    LEFT = "somebody who left"
    UNKNOWN = "not known"


class Ending(StrEnum):
    """What the status of a lead says about its sale."""

    OPEN = "open"
    WON = "won or a customer"
    CONVERTED = "converted"
    LOST = "lost or unqualified"


class LeadFacts(NamedTuple):
    """One lead of the files, and where it stands there.

    *rows* are the rows that name its address or id. *address*, *external_id*, *name*, *person* (name and company) and
    *company* are hashes, NOBODY if unknown. *by_status*: no column of its file records touches. *place* is where
    the policy puts it, *rule* by which rule; *blocked* why it may not be mailed there. *rep* is the one whom the router
    picked, *territory* the routing rule by which its owner is the wrong one.
    """

    file: int
    line: int
    rows: int
    address: int
    external_id: int
    name: int
    person: int
    company: int
    owner: str
    owner_kind: OwnerKind
    created_at: datetime | None
    touch: Touch
    by_status: bool
    first_touch_at: datetime | None
    ending: Ending
    place: str = ""
    rule: str = ""
    blocked: str = ""
    rep: str = ""
    territory: str = ""

    @property
    def is_untouched(self) -> bool:
        """Return whether nobody touched the lead, and its sale did not end."""
        return self.touch is Touch.NEVER and self.ending is Ending.OPEN


class DealFacts(NamedTuple):
    """One deal: *outcome* is won, lost, open or unknown. *leads* are hashes of whom it names, the first one first."""

    file: int
    line: int
    outcome: str
    amount: float | None
    currency: str
    leads: tuple[int, ...]


def make_facts(
    file: int, row: LeadRow, touch: TouchReading | None, *, is_converted: bool, has_owner: bool
) -> LeadFacts:
    """Return the facts of a *row*; *touch* None: no column of its file records touches.

    *is_converted*: its flag for customers only says that the lead was converted. *has_owner*: a column names owners.
    """
    company = _company(row)
    whole = f"{row.first_name or ''} {row.last_name or ''}".strip() or row.full_name or ""
    name = " ".join(" ".join(map(_fold, whole.split())).split())
    is_whole = len(name.split()) >= _MIN_NAME_WORDS
    ending = _ending(row, is_converted=is_converted)
    return LeadFacts(
        file,
        row.line,
        len(row.parts or (row,)),
        _hash("address", row.email),
        _hash("id", row.external_id),
        _hash("name", name if is_whole else ""),
        _hash("person", f"{name}\n{company}" if is_whole and company else ""),
        _hash("company", company),
        intern((row.owner or "").strip()),
        _owner_kind(row, touch, has_owner=has_owner),
        row.created_at,
        _touch(row, touch, ending),
        touch is None,
        touch.first_at if touch is not None else None,
        ending,
    )


def hash_lead(kind: str, text: str | None) -> int:
    """Return the hash of an "address", an "id" or a "name" that a deal gives, as `LeadFacts` has it."""
    plain = " ".join(fold_letters(text or "").split()) if kind == "name" else text
    return _hash(kind, plain)


def index_leads(leads: Sequence[LeadFacts]) -> dict[int, int]:
    """Return the position of each lead by what a deal may name: its address, its id, its name if no other has it."""
    found: dict[int, int] = {}
    names = Counter(one.name for one in leads)
    for position, lead in enumerate(leads):
        for key in (lead.address, lead.external_id, lead.name if names[lead.name] == 1 else NOBODY):
            if key != NOBODY:
                found.setdefault(key, position)
    return found


def _hash(kind: str, text: str | None) -> int:
    return hash((kind, text)) or 1 if text else NOBODY


def _company(row: LeadRow) -> str:
    """Return what tells the company: the domain of its address or site, else its name."""
    domain = company_domain(row.email or "") or site_domain(row.website or "")
    return domain or (f"name {parse_name(row.company).key}" if row.company else "")


def _ending(row: LeadRow, *, is_converted: bool) -> Ending:
    text = " ".join((row.status_text or "").casefold().replace("-", " ").split())
    status = map_status(row.status_text or "") or row.status
    if (row.customer and not is_converted) or (status in _WON and text not in _CONVERTED and row.status_text):
        return Ending.WON
    if row.status in _WON or row.customer:
        return Ending.CONVERTED
    return Ending.LOST if row.status in (LeadStatus.LOST, LeadStatus.UNQUALIFIED) else Ending.OPEN


def _touch(row: LeadRow, touch: TouchReading | None, ending: Ending) -> Touch:
    if touch is not None and touch.touched:
        return Touch.RECORDED
    if ending in (Ending.WON, Ending.CONVERTED) or row.status is LeadStatus.WORKING:
        return Touch.BY_STATUS
    if ending is Ending.LOST or row.status is LeadStatus.NURTURE:
        return Touch.GIVEN_UP
    is_clear = row.status is LeadStatus.OPEN if touch is None else touch.touched is False
    return Touch.NEVER if is_clear else Touch.UNKNOWN


def _owner_kind(row: LeadRow, touch: TouchReading | None, *, has_owner: bool) -> OwnerKind:
    owner = (row.owner or "").strip()
    if not owner:
        return OwnerKind.NOBODY if has_owner else OwnerKind.UNKNOWN
    is_inactive = touch is not None and touch.owner_active is False
    return OwnerKind.LEFT if is_inactive else _kind_by_name(owner)


@lru_cache(maxsize=4096)
def _kind_by_name(owner: str) -> OwnerKind:
    folded = fold_letters(owner)
    words = set(_BETWEEN_WORDS.split(folded))
    if words & _folded("owner_left"):
        return OwnerKind.LEFT
    is_queue = words & _folded("queue_owner") or " ".join(folded.split()) in _folded("queue_owner_name")
    return OwnerKind.QUEUE if is_queue else OwnerKind.PERSON


@cache
def _folded(kind: str) -> frozenset[str]:
    return frozenset(map(fold_letters, read_words(kind)))
