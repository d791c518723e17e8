"""All transactions take locks and leads in the order of `nurture.db.locks`."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from sqlalchemy import event, text

from nurture.db.engine import Database
from nurture.db.locks import _FIRST, Lock, acquire
from nurture.domain.lead import Closing
from nurture.journey.broadcasts import release
from nurture.journey.consent import opt_in, suppression
from nurture.journey.consent.suppression import ALL_MAIL
from nurture.journey.engagement import signals
from nurture.journey.erasure import erase
from nurture.journey.handoff import follow_up, reassign, responses
from nurture.journey.intake.api import batches
from nurture.journey.intake.import_file import import_file
from nurture.journey.leads.custody import lock_leads
from nurture.journey.outcomes import outcomes
from nurture.journey.outcomes.outcomes import OutcomeReport
from nurture.runtime.context import AppContext
from tests.db.test_ids import bring_everything
from tests.journey.builders import START, add_lead, close_lead, make_context, publish_approved, run_at, sample_rules
from tests.journey.engagement.test_replies import DAY, HOUR, NOW
from tests.journey.erasure.test_erase import create_full_history
from tests.journey.intake.lead_files import row, write_file
from tests.journey.observe import custody, one, rows

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class Order:
    """The locks of each transaction, in order, and violations of the lock order."""

    def __init__(self) -> None:
        self.seen: set[Lock] = set()
        self.wrong: list[str] = []
        self._locks: dict[int, list[Lock]] = defaultdict(list)
        self._leads: dict[int, set[int] | None] = {}

    def ends(self, tx: Any) -> None:
        self._locks.pop(id(tx), None)
        self._leads.pop(id(tx), None)

    def executes(self, tx: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        me = id(tx)
        if "pg_advisory_xact_lock" in statement:
            (number,) = parameters.values()
            lock = Lock(number - _FIRST)
            later = [one for one in self._locks[me] if one > lock]
            if later or (me in self._leads and lock not in (Lock.SENDING, Lock.WAITING_LISTS)):
                self.wrong.append(f"{lock!r} after {later} or leads")
            self._locks[me].append(lock)
            self.seen.add(lock)
        elif "custody" in statement and "FOR UPDATE" in statement and "SKIP LOCKED" not in statement:
            self._holds(me, parameters, statement)

    def _holds(self, me: int, parameters: Any, statement: str) -> None:
        listed = [value for value in parameters.values() if isinstance(value, str) and value.startswith("[")]
        leads = {one[0] for one in orjson.loads(listed[0])} if listed else None
        if me not in self._leads:
            self._leads[me] = leads
            return
        held = self._leads[me]
        if held is not None and (leads is None or not leads <= held):
            self.wrong.append(f"leads {leads} after leads {held}: {statement[:200]}")


@contextmanager
def watched(database: Database) -> Iterator[Order]:
    order = Order()
    listeners = [("before_cursor_execute", order.executes), ("commit", order.ends), ("rollback", order.ends)]
    for name, listener in listeners:
        event.listen(database.engine, name, listener)
    yield order
    for name, listener in listeners:
        event.remove(database.engine, name, listener)


BROADCAST: Final = {
    "broadcasts/spring/broadcast.yaml": f"""
name: spring
audience: {{field: company, exists: yes}}
topic: Webinars
when: {NOW + HOUR:%Y-%m-%d %H:%M}
zone: UTC
not_after: {NOW + DAY:%Y-%m-%d %H:%M}
""",
    "broadcasts/spring/invitation.md": "---\nsubject: Spring\npreheader: News\n---\nHello.\n",
}


@pytest.fixture
def ctx(postgres_db: Database, tmp_path: Path) -> AppContext:
    rules = sample_rules() | BROADCAST
    rules["tracks/welcome/01-hello.md"] += "\n[yours](https://www.example.com/for/{{ lead.company | urlencode }})\n"
    rules["sending.yaml"] = "default: {per_hour: 1000}\n"
    ctx = make_context(postgres_db, tmp_path, rules=rules)
    ctx.reply_domain, ctx.base_url, ctx.installation_id = ("in.example.com", "https://go.example.com", "0badcafe")
    return ctx


def test_a_violation_of_the_order_is_found(ctx: AppContext) -> None:
    leads = [add_lead(ctx) for _ in range(2)]
    with watched(ctx.database) as order:
        with ctx.database.write() as tx:
            lock_leads(tx, leads)
            lock_leads(tx, leads[:1])
        assert order.wrong == []
        with ctx.database.write() as tx:
            lock_leads(tx, leads[1:])
            lock_leads(tx, leads[:1])
            acquire(tx, Lock.INTAKE)
        with ctx.database.write() as tx:
            acquire(tx, Lock.SIGNALS)
            acquire(tx, Lock.EVENTS)
    assert len(order.wrong) == 3


def test_every_use_case_keeps_the_order(ctx: AppContext, tmp_path: Path) -> None:
    with watched(ctx.database) as order:
        lead = create_full_history(ctx, tmp_path)
        bring_everything(ctx, tmp_path)
        release.release(ctx, "spring", "mara", NOW)
        run_at(ctx, NOW + 2 * HOUR)
        given, back, other, *_ = [id_ for (id_,) in rows(ctx, "SELECT id FROM offer WHERE state = 'offered'")]
        responses.accept(ctx, given, NOW + 3 * HOUR)
        lead_of = "SELECT lead_id FROM offer WHERE id = :id"
        follow_up.record_follow_up(ctx, one(ctx, lead_of, id=given), "call", NOW + 3 * HOUR)
        responses.reject(ctx, back, "bad-fit", NOW + 3 * HOUR)
        rep = one(ctx, "SELECT rep FROM offer WHERE id = :id", id=other)
        reassign.reassign(ctx, other, {"ana": "ben", "ben": "ana"}[rep], NOW + 3 * HOUR, force=True)
        reports = [OutcomeReport(one(ctx, lead_of, id=id_), Closing.WON, NOW, 5.0) for id_ in (other, given)]
        outcomes.record_outcomes(ctx, reports, "crm", NOW + 4 * HOUR)
        policy = sample_rules()["sales/policy.yaml"].replace("accept_within: 1 day", "accept_within: 2 days")
        changed = {"sales/policy.yaml": policy, "sending.yaml": "default: {per_hour: 1000}\n"}
        publish_approved(ctx, sample_rules() | BROADCAST | changed, NOW + 5 * HOUR)
        suppression.suppress(ctx, ["a7@people.example", "new@people.example"], NOW + 5 * HOUR)
        opt_in.opt_in(ctx, "a7@people.example", ALL_MAIL, "asked for it on the phone", NOW + 6 * HOUR)
        close_lead(ctx, reports[1].lead_id, Closing.WON, NOW + 6 * HOUR)
        signals.apply_pending_signals(ctx, NOW + 6 * HOUR)
        run_at(ctx, NOW + 7 * HOUR, NOW + 2 * DAY)
        erase.erase_person(ctx, str(lead), NOW + 2 * DAY)
        add_lead(ctx, email=None, at=NOW + 2 * DAY)
        run_at(ctx, NOW + 2 * DAY, NOW + 7 * DAY)
    assert order.wrong == []
    assert order.seen == set(Lock) - {Lock.SCHEMA}


def _waits(ctx: AppContext, workers: ThreadPoolExecutor, action: Callable[[], object], count: int) -> Future[object]:
    """Start *action*, and return when *count* transactions wait for another."""
    doing = workers.submit(action)
    until = time.monotonic() + 20
    while one(ctx, WAITING) < count:
        assert not doing.done(), doing.result()
        assert time.monotonic() < until
        time.sleep(0.01)
    return doing


@pytest.fixture
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_an_import_waits_for_an_erasure_of_the_same_lead(
    ctx: AppContext, workers: ThreadPoolExecutor, tmp_path: Path
) -> None:
    lead = add_lead(ctx, email="mia@people.example", source="crm", external_id="c1", title="Head")
    file = write_file(tmp_path, [row("mia@people.example", Lead_ID="c1", Company="Quayside")])
    with ctx.database.write() as tx:
        tx.execute(text("LOCK TABLE tracking_request IN SHARE MODE"))  # by then it has locked the lead
        erases = _waits(ctx, workers, lambda: erase.erase_person(ctx, str(lead), NOW), 1)
        imports = _waits(ctx, workers, lambda: import_file(ctx, file, NOW, source="crm"), 2)
    erases.result()
    imports.result()
    assert custody(ctx, lead) == ("closed", "discarded")
    assert rows(ctx, "SELECT lead_id <> :lead FROM identity WHERE external_id = 'c1'", lead=lead) == [(True,)]
    assert rows(ctx, "SELECT fields FROM lead WHERE id = :lead", lead=lead) == [({},)]


def test_signals_that_come_twice_at_once_in_another_order_do_not_block_each_other(
    ctx: AppContext, workers: ThreadPoolExecutor
) -> None:
    add_lead(ctx, email="mia@people.example")
    items: Sequence[dict[str, object]] = [
        {
            "lead": {"email": "mia@people.example"},
            "kind": "visited",
            "value": f"{number:04}",
            "occurred_at": START.isoformat(),
        }
        for number in range(900)
    ]
    with ctx.database.write() as tx:
        tx.execute(text("LOCK TABLE signal IN SHARE MODE"))  # both reach the write
        there = _waits(ctx, workers, lambda: batches.post_signals(ctx, items, NOW), 1)
        back = _waits(ctx, workers, lambda: batches.post_signals(ctx, items[::-1], NOW), 2)
    there.result()
    back.result()
    assert one(ctx, "SELECT count(*) FROM signal") == 900
