"""Find the ids of leads by filters, from the newest on, without reading all leads.

A filter through which few leads pass is read from its own index; one through which many pass is asked of each lead,
from the newest on, until the page is full.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Select, Text, and_, cast, exists, func, literal, or_, select, union_all

from nurture.db.tables.accounts import lead_account
from nurture.db.tables.delivery import message
from nurture.db.tables.handoff import IS_OPEN, offer
from nurture.db.tables.leads import IN_QUEUE, address, custody, journal, lead
from nurture.db.tables.signals import IS_ANSWER, signal
from nurture.db.tables.tracks import IS_ACTIVE, enrollment
from nurture.db.transaction import Transaction
from nurture.domain.lead import SALES_QUEUES, Custodian
from nurture.reporting.console.handoff_queries import OFFERS
from nurture.reporting.console.track_queries import ENDS

WINDOW: Final = 100_000
"""How many leads one search by words, consent or silence looks at: about 0.1 s."""

MESSAGE_WINDOW: Final = 300_000
"""Of how many of the newest messages the recipients are listed."""

MAX_COUNT: Final = 10_000
"""Up to how many leads are counted."""

_FEW: Final = 50_000
"""How many leads may pass a filter that is read from its own index."""

_ESCAPED_IN_JSON: Final = frozenset('"\\')

MAX_REFERENCED: Final = 20
DID: Final = ("enrolled", "emailed", "clicked", "replied", "answered", "handed_off", "recycled", *ENDS, *OFFERS)
"""What leads did or got; `answered` is clicked or replied, `lost` left a track for neither sales nor another one,
`recycled` came back from sales to a track."""

NO_CONSENT: Final = "none"
"""Asks for leads without consent or another legal basis."""

WITH_SALES: Final = "sales"
"""Asks for leads that a rep has or was offered, as custodian."""

CLASSIFIED, NOT_CLASSIFIED = "any", "none"
"""Ask for leads by whether any rule classified them, as readiness."""

_HAS_DUE: Final = custody.c.due_at.is_not(None)
"""Written as in `ix_custody_due`, without which SQLite does not use that index."""

_of_source: Final = lead.alias("of_source")
_of_country: Final = lead.alias("of_country")
_NAMES: Final = ("first_name", "last_name", "full_name", "company")


@dataclass(frozen=True, slots=True)
class LeadFilter:
    """Which leads to list: those for which everything holds that is not empty.

    *text* are words, each of which is in the name, the company or the address; `field:value` asks for a field, and an
    id, an address or an external id finds its lead. *did* is one of DID, from *since* on; with *track* and *step* it is
    of them, else these say where the lead is now. So does *rep*, if *did* is not what became of an offer; *rule* and
    *reason* are those of the offer. *waiting*: for sales, in a queue or as an open offer. *account* is the id of a
    company. *way* is the number of the way, from 0, that a lead took at the fork *step* of *track*. *readiness* is the
    rule that classified the lead.
    """

    text: str = ""
    custodian: str = ""
    track: str = ""
    step: str = ""
    queue: str = ""
    source: str = ""
    did: str = ""
    since: datetime | None = None
    waiting: bool = False
    account: int | None = None
    rep: str = ""
    reps: frozenset[str] | None = None
    country: str = ""
    consent: str = ""
    fit: str = ""
    active_days: int | None = None
    quiet_days: int | None = None
    until: datetime | None = None
    readiness: str = ""
    rule: str = ""
    reason: str = ""
    way: int | None = None


class _Plan(NamedTuple):
    """How the leads are read. *is_slow*: only some pass of those that are looked at, so that one looks at a part."""

    query: Select[tuple[int]]
    is_slow: bool


class FoundIds(NamedTuple):
    """The ids of one page. *is_partial*: no lead below *floor* was looked at, and the page is not full."""

    ids: Sequence[int]
    next_before: int | None
    is_partial: bool
    plan: _Plan
    floor: int


class _Filter(NamedTuple):
    """The rows of a table that let leads through: the column with their ids, and the conditions."""

    lead_id: ColumnElement[int]
    where: tuple[ColumnElement[bool], ...]

    def ids(self) -> Select[tuple[int]]:
        return select(self.lead_id).where(*self.where)

    def of_lead(self) -> ColumnElement[bool]:
        return exists().where(self.lead_id == lead.c.id, *self.where)


def find_ids(tx: Transaction, chosen: LeadFilter, now: datetime, before: int | None, limit: int) -> FoundIds:
    """Return the ids of a page below *before*, the newest first; *fit* is not asked here."""
    newest = tx.execute(select(func.coalesce(func.max(lead.c.id), 0))).scalar_one()
    before = newest + 1 if before is None else before
    plan = _plan(tx, chosen, now)
    floor = before - WINDOW if plan.is_slow else 0
    query = plan.query.where(lead.c.id < before)
    if floor > 0:
        query = query.where(lead.c.id >= floor)
    ids = list(tx.execute(query.order_by(lead.c.id.desc()).limit(limit + 1)).scalars())
    is_partial = floor > 1 and len(ids) <= limit
    next_before = ids[limit - 1] if len(ids) > limit else floor if is_partial else None
    return FoundIds(ids[:limit], next_before, is_partial, plan, floor)


def count_leads(tx: Transaction, found: FoundIds) -> int | None:
    """Return how many leads pass, at most MAX_COUNT; None if that takes a look at more leads than one search."""
    if found.floor > 1:
        return None
    return tx.execute(select(func.count()).select_from(found.plan.query.limit(MAX_COUNT).subquery())).scalar_one()


def filter_ids(tx: Transaction, chosen: LeadFilter, now: datetime, lead_ids: Sequence[int]) -> list[int]:
    """Return those of a few leads that *chosen* lets through."""
    query = _select_leads(None, list(_filters(tx, chosen, now)), list(_conditions(tx, chosen, now)))
    return list(tx.execute(query.where(lead.c.id.in_(lead_ids)).order_by(lead.c.id)).scalars())


def load_fields(tx: Transaction, lead_ids: Sequence[int]) -> list[tuple[int, dict[str, Any]]]:
    """Return (id, fields) of these leads, the newest first."""
    asked = tx.ids("asked", lead_ids)
    query = select(lead.c.id, lead.c.fields).join(asked, asked.c.id == lead.c.id).order_by(lead.c.id.desc())
    return [(row[0], row[1]) for row in tx.execute(query)]


def _plan(tx: Transaction, chosen: LeadFilter, now: datetime) -> _Plan:
    """Read the leads from the first filter through which few pass; without one, ask each lead, from the newest on."""
    filters, asked = list(_filters(tx, chosen, now)), list(_conditions(tx, chosen, now))
    is_recent = _is_read_by_time(chosen)
    few = filters[0] if is_recent and filters else next((one for one in filters if not _passes_many(tx, one)), None)
    others = [one for one in filters if one is not few]
    is_slow = bool(asked) if few is None or is_recent else False
    return _Plan(_select_leads(few, others, asked), is_slow or (few is None and len(filters) > 1))


def _select_leads(
    few: _Filter | None, others: Sequence[_Filter], asked: Sequence[ColumnElement[bool]]
) -> Select[tuple[int]]:
    query = select(lead.c.id).outerjoin(address, address.c.id == lead.c.address_id) if asked else select(lead.c.id)
    if few is not None:
        query = query.where(lead.c.id.in_(few.ids()))
    return query.where(*asked, *(one.of_lead() for one in others))


def _conditions(tx: Transaction, chosen: LeadFilter, now: datetime) -> Iterator[ColumnElement[bool]]:
    """Yield what no index answers, and each lead is asked."""
    for word in chosen.text.split():
        yield _has_word(tx, word)
    if chosen.consent:
        is_none = chosen.consent == NO_CONSENT
        yield lead.c.consent_basis.is_(None) if is_none else lead.c.consent_basis == chosen.consent
    if chosen.readiness in (CLASSIFIED, NOT_CLASSIFIED):
        yield lead.c.readiness != "" if chosen.readiness == CLASSIFIED else lead.c.readiness == ""
    elif chosen.readiness:
        yield lead.c.readiness == chosen.readiness
    if chosen.did and not _is_read_by_time(chosen):
        yield _did(tx, chosen).of_lead()
    if chosen.way is not None:
        yield exists().where(enrollment.c.lead_id == lead.c.id, enrollment.c.track == chosen.track)
        yield exists().where(journal.c.lead_id == lead.c.id, _took_way(tx, chosen), *_within(chosen, journal.c.at))
    if chosen.quiet_days is not None:
        since = now - timedelta(days=chosen.quiet_days)
        yield ~exists().where(signal.c.lead_id == lead.c.id, signal.c.occurred_at >= since, IS_ANSWER)


def _is_read_by_time(chosen: LeadFilter) -> bool:
    """Return whether *did* is read from an index by time; else each lead is asked, of which there may be many."""
    return bool(chosen.did) and chosen.did != "enrolled" and chosen.since is not None


def _within(chosen: LeadFilter, at: ColumnElement[Any]) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that *at* is from *since* on, and before *until*."""
    since = (at >= chosen.since,) if chosen.since is not None else ()
    return (*since, at < chosen.until) if chosen.until is not None else since


def _took_way(tx: Transaction, chosen: LeadFilter) -> ColumnElement[bool]:
    """Return whether an entry of the journal names the way."""
    way = [chosen.track, chosen.step, chosen.way]
    if tx.is_sqlite:  # where documents are texts without spaces
        return cast(journal.c.detail, Text).contains(orjson.dumps(way).decode(), autoescape=True)
    return func.jsonb_contains(journal.c.detail, literal({"ways": [way]}, journal.c.detail.type))


def _passes_many(tx: Transaction, first: _Filter) -> bool:
    some = first.ids().limit(_FEW + 1).subquery()
    return tx.execute(select(func.count()).select_from(some)).scalar_one() > _FEW


def _has_word(tx: Transaction, word: str) -> ColumnElement[bool]:
    name, colon, value = word.partition(":")
    if colon and name and value:
        return _in_any(tx, value, [lead.c.fields[name].as_string()])
    shown = [lead.c.fields[key].as_string() for key in _NAMES]
    return or_(_contains(tx, address.c.email, word), _in_any(tx, word, shown))


def _in_any(tx: Transaction, word: str, columns: Sequence[ColumnElement[Any]]) -> ColumnElement[bool]:
    """Return whether one of *columns* contains *word*; the whole text is asked first, so that little JSON is parsed."""
    contains = or_(*(_contains(tx, one, word) for one in columns))
    if set(word) & _ESCAPED_IN_JSON:
        return contains
    return and_(_contains(tx, cast(lead.c.fields, Text), word), contains)


def _contains(tx: Transaction, column: ColumnElement[Any], word: str) -> ColumnElement[bool]:
    """Return whether *column* contains *word* in any case; LIKE of SQLite ignores the case of ASCII."""
    return (column.contains if tx.is_sqlite else column.icontains)(word, autoescape=True)


def _filters(tx: Transaction, chosen: LeadFilter, now: datetime) -> Iterator[_Filter]:
    """Yield the filters, the one through which fewest leads pass as a rule first."""
    if chosen.account is not None:
        yield _Filter(lead_account.c.lead_id, (lead_account.c.account_id == chosen.account,))
    if _is_read_by_time(chosen):
        yield _did(tx, chosen)
    if chosen.reps is not None:
        yield _with_reps(chosen.reps, or_waits=True)
    if chosen.active_days is not None:
        since = now - timedelta(days=chosen.active_days)
        yield _Filter(signal.c.lead_id, (IS_ANSWER, signal.c.occurred_at >= since))
    if chosen.rep and chosen.did not in OFFERS:
        yield _with_reps({chosen.rep})
    if chosen.waiting:
        yield _Filter(custody.c.lead_id, (_WAITING,))
    if chosen.queue:
        yield _Filter(custody.c.lead_id, (IN_QUEUE, custody.c.ref == chosen.queue))
    if chosen.track and not chosen.did and chosen.way is None:
        is_at = (enrollment.c.step == chosen.step,) if chosen.step else ()
        yield _Filter(enrollment.c.lead_id, (IS_ACTIVE, enrollment.c.track == chosen.track, *is_at))
    if chosen.custodian:
        has_due = () if chosen.custodian == Custodian.CLOSED.value else (_HAS_DUE,)
        kinds = _SALES if chosen.custodian == WITH_SALES else (chosen.custodian,)
        yield _Filter(custody.c.lead_id, (custody.c.kind.in_(kinds), *has_due))
    if chosen.source:
        yield _Filter(_of_source.c.id, (_of_source.c.source == chosen.source,))
    if chosen.country:
        yield _Filter(_of_country.c.id, (_of_country.c.country == chosen.country,))


def of_account(account_id: int, reps: Collection[str] | None) -> Select[tuple[int]]:
    """Return the ids of the people of a company; with *reps* only of theirs, and of those who wait for sales."""
    members = select(lead_account.c.lead_id).where(lead_account.c.account_id == account_id)
    if reps is None:
        return members
    return members.where(lead_account.c.lead_id.in_(_with_reps(reps, or_waits=True).ids()))


def _with_reps(reps: Collection[str], *, or_waits: bool = False) -> _Filter:
    """Let leads through that these reps work or are offered; *or_waits*: and leads in the queues of sales."""
    named = sorted(reps)
    of_rep = offer.c.rep.concat("").in_(named)  # keeps SQLite off the index by rep, which has every old offer
    held_by = (
        select(custody.c.lead_id).where(_HAS_DUE, custody.c.kind == Custodian.REP.value, custody.c.ref.in_(named)),
        select(custody.c.lead_id)
        .join(offer, and_(offer.c.lead_id == custody.c.lead_id, IS_OPEN))
        .where(_HAS_DUE, custody.c.kind == Custodian.OFFER.value, of_rep),
    )
    waits = (select(custody.c.lead_id).where(IN_QUEUE, custody.c.ref.in_(SALES_QUEUES)),) if or_waits else ()
    held = union_all(*held_by, *waits).subquery()
    return _Filter(held.c.lead_id, ())


_SALES: Final = (Custodian.OFFER.value, Custodian.REP.value)
_WAITING: Final = or_(
    and_(IN_QUEUE, custody.c.ref.in_(SALES_QUEUES)),
    and_(custody.c.kind == Custodian.OFFER.value, _HAS_DUE),
)


def _did(tx: Transaction, chosen: LeadFilter) -> _Filter:
    if chosen.did == "enrolled":
        where, at, of = [], enrollment.c.entered_at, enrollment
    elif chosen.did == "emailed":
        first = tx.execute(select(func.coalesce(func.max(message.c.id), 0))).scalar_one() - MESSAGE_WINDOW
        where = [message.c.id > first, message.c.kind == "touch", message.c.accepted_at.is_not(None)]
        at, of = message.c.accepted_at, message
    elif chosen.did == "handed_off":
        where = [journal.c.custody_to.is_not(None), journal.c.event == "hand_off"]
        at, of = journal.c.at, journal
    elif chosen.did == "recycled":
        where = [journal.c.custody_from.in_(_SALES), journal.c.custody_to == Custodian.TRACK.value]
        at, of = journal.c.at, journal
    elif chosen.did in ENDS:
        where = [ENDS[chosen.did]]
        at, of = enrollment.c.ended_at, enrollment
    elif chosen.did in OFFERS:
        asked = {offer.c.rep: chosen.rep, offer.c.rule: chosen.rule, offer.c.reason: chosen.reason}
        where = [OFFERS[chosen.did], *(column == value for column, value in asked.items() if value)]
        at, of = offer.c.offered_at, offer
    else:
        where = [IS_ANSWER, *((signal.c.kind == chosen.did,) if chosen.did != "answered" else ())]
        at, of = signal.c.occurred_at, signal
    where += _within(chosen, at)
    if chosen.track and of is not offer:
        where.append(of.c.track == chosen.track)
    if chosen.step and of is not offer:
        where.append(of.c.step == chosen.step)
    return _Filter(of.c.lead_id, tuple(where))
