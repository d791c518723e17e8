"""The page Today: numbers with those of the week before, and what needs somebody."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from nurture.db.rollups import SENT
from nurture.db.transaction import Transaction
from nurture.domain.delivery.stops import StopAction, name_stopped
from nurture.domain.lead import Custodian, Queue, name_in_list
from nurture.journey.delivery.queries import count_unknown
from nurture.journey.handoff.waiting.lists import WaitingList, WaitingQueue, load_waiting
from nurture.journey.leads import stop_queries
from nurture.outbox import circuit_breakers
from nurture.reporting.console import today_queries
from nurture.reporting.console.lead_list_queries import LeadFilter
from nurture.reporting.console.today_queries import OpenOffers, WaitingOffer
from nurture.reporting.wording import pluralize
from nurture.runtime.context import AppContext

WEEK: Final = timedelta(days=7)
MAX_WAITS: Final = 5


@dataclass(frozen=True, slots=True)
class Number:
    """A number and that of the week before, with the filter that lists the people behind it."""

    name: str
    title: str
    value: int
    before: int
    people: LeadFilter


@dataclass(frozen=True, slots=True)
class Task:
    """Something that needs somebody.

    *kind* is queue, consent, offers, pause, stop, unknown or outcomes; *target* is what its action takes: a queue, a
    provider or domain, a track. *since* is when it began, None if that is not known; an *urgent* one is over its time.
    """

    kind: str
    target: str
    title: str
    detail: str
    count: int
    since: datetime | None
    urgent: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """A lead that waits for a person since *since*, and *where*: in a queue or with a rep. *is_late*: for too long."""

    lead_id: int
    name: str
    company: str
    where: str
    since: datetime
    is_late: bool


@dataclass(frozen=True, slots=True)
class Today:
    """What the page shows at *at*. A day and a week are of UTC; the week is that day and the six before it.

    *waits* are the leads that have waited longest for a person, of *waiting* in all.
    """

    at: datetime
    numbers: tuple[Number, ...]
    tasks: tuple[Task, ...]
    """The urgent ones first, then the oldest."""
    waits: tuple[Wait, ...]
    waiting: int


def load_today(ctx: AppContext, tx: Transaction, now: datetime) -> Today:
    """Return the numbers and the tasks at *now* (UTC), in a constant number of statements."""
    definitions = ctx.definitions.find_current(tx)
    policy = definitions.policy if definitions is not None else None
    queued = WaitingList((), ())
    if policy is not None:
        queued = load_waiting(tx, policy, ctx.holidays, now, person=None, limit=MAX_WAITS)
    offers = today_queries.load_open_offers(tx, now)
    tasks = sorted(_tasks(tx, queued, offers), key=_order)
    names = {one.id: one.name for one in policy.reps} if policy is not None else {}
    waits = (*_queue_waits(queued), *_offer_waits(today_queries.list_oldest_offers(tx, MAX_WAITS), names, now))
    longest = tuple(sorted(waits, key=lambda one: one.since)[:MAX_WAITS])
    return Today(now, tuple(_numbers(tx, now)), tuple(tasks), longest, queued.count + offers.number)


def _queue_waits(found: WaitingList) -> Iterator[Wait]:
    owners = {one.name: one.owners for one in found.queues}
    for one in found.leads:
        where, company = (
            f"in the queue {one.queue}, worked by {owners[one.queue]}",
            str(one.fields.get("company") or ""),
        )
        yield Wait(one.lead_id, name_in_list(one.fields), company, where, one.entered_at, found.is_late(one))


def _offer_waits(found: Sequence[WaitingOffer], names: Mapping[str, str], now: datetime) -> Iterator[Wait]:
    for one in found:
        where, company = f"offered to {names.get(one.rep, one.rep)}", str(one.fields.get("company") or "")
        yield Wait(one.lead_id, name_in_list(one.fields), company, where, one.offered_at, one.expires_at <= now)


def _numbers(tx: Transaction, now: datetime) -> Iterator[Number]:
    today = now.astimezone(UTC).date()
    this_week = today - timedelta(days=6)
    begins = _start(this_week)
    counted = today_queries.count_measures(tx, this_week - WEEK, today)
    answers = today_queries.count_answers(tx, begins - WEEK, begins)
    on_tracks = today_queries.count_on_tracks(tx)
    came = today_queries.net_entries(tx, Custodian.TRACK, this_week)
    waiting, waited = today_queries.count_waiting_for_sales(tx, begins)
    sent = counted[SENT]
    yield Number("nurtured", "In nurture", on_tracks, on_tracks - came, LeadFilter(custodian=Custodian.TRACK.value))
    sent_today = LeadFilter(did="emailed", since=_start(today))
    yield Number("sent_today", "Emails today", sent.get(today, 0), sent.get(today - WEEK, 0), sent_today)
    yield Number("sent", "Emails this week", *_weeks(sent, this_week), LeadFilter(did="emailed", since=begins))
    for kind, title in (("clicked", "People who clicked"), ("replied", "People who replied")):
        yield Number(kind, title, *answers.get(kind, (0, 0)), LeadFilter(did=kind, since=begins))
    handed_off = _weeks(counted["hand_off"], this_week)
    yield Number("handed_off", "Handed to sales", *handed_off, LeadFilter(did="handed_off", since=begins))
    yield Number("waiting", "Waiting for sales", waiting, waited, LeadFilter(waiting=True))


def _start(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _weeks(by_day: Mapping[date, int], this_week: date) -> tuple[int, int]:
    new = sum(number for day, number in by_day.items() if day >= this_week)
    return new, sum(by_day.values()) - new


def _order(task: Task) -> tuple[bool, bool, float, str, str]:
    at = task.since.timestamp() if task.since is not None else 0.0
    return not task.urgent, task.since is None, at, task.kind, task.target


def _tasks(tx: Transaction, queued: WaitingList, offers: OpenOffers) -> Iterator[Task]:
    yield from _pauses(tx)
    yield from _stops(tx)
    yield from _offers(offers)
    yield from _queues(queued.queues)
    if count := count_unknown(tx):
        title = f"{pluralize(count, 'email')} with an unknown result"
        yield Task("unknown", "", title, "Nobody knows whether they were sent.", count, None, urgent=True)
    if count := today_queries.count_unresolved_reports(tx):
        title = f"{pluralize(count, 'outcome')} reported twice, differently"
        yield Task("outcomes", "", title, "A person decides which report is right.", count, None, urgent=False)


def _pauses(tx: Transaction) -> Iterator[Task]:
    for one in circuit_breakers.list_active(tx):
        title = {"database": "All sending is paused", "domain": f"Email from {one.name} is paused"}.get(
            one.kind, f"{one.name} is paused"
        )
        yield Task("pause", one.name, title, one.reason, 1, one.since, urgent=True)


def _stops(tx: Transaction) -> Iterator[Task]:
    for one in stop_queries.load_stops(tx).values():
        if one.action is not StopAction.RETIRE:
            everything = "All mail" if one.action is StopAction.STOP_ALL else "All mail to leads"
            what = name_stopped(one.track) or everything
            title, detail = f"{what} is stopped", f"{one.reason} ({one.decided_by})"
            yield Task("stop", one.track, title[0].upper() + title[1:], detail, 1, one.at, urgent=not one.track)


def _offers(found: OpenOffers) -> Iterator[Task]:
    if found.number:
        title = f"{pluralize(found.number, 'offer')} to reps not answered"
        detail = f"{found.late} after the deadline" if found.late else "all within the agreed time"
        yield Task("offers", "", title, detail, found.number, found.oldest, urgent=found.late > 0)


def _queues(queues: Iterable[WaitingQueue]) -> Iterator[Task]:
    for one in queues:
        counts = one.counts
        if one.name == Queue.NO_CONSENT_BASIS:
            kind, title = "consent", f"{pluralize(counts.waiting, 'lead')} without consent"
        else:
            kind, title = "queue", f"{pluralize(counts.waiting, 'lead')} in the queue {one.name}"
        late = f"{counts.late} late; " if counts.late else ""
        detail = f"{late}{one.description + '; ' if one.description else ''}worked by {one.owners}"
        yield Task(kind, one.name, title, detail, counts.waiting, counts.oldest, urgent=counts.late > 0)
