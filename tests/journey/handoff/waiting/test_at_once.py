"""Lists of what waits while two workers run at the same time: nobody gets two."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest

from nurture.db.engine import Database
from nurture.db.locks import Lock, acquire
from nurture.journey.handoff import sweep
from nurture.journey.handoff.waiting.checks import check_queue_batch
from nurture.journey.handoff.waiting.emails import Notice, plan_emails, plan_morning_emails
from nurture.journey.handoff.waiting.lists import queue_calendar
from nurture.journey.message_kinds import MESSAGE_KINDS
from nurture.mail.providers.maildir.provider import MaildirProvider
from nurture.runtime.context import AppContext
from tests.journey.builders import add_lead, make_context, run_at
from tests.journey.handoff.waiting.test_lists import DAY, HOUR, MONDAY, waiting_rules
from tests.journey.observe import rows, write
from tests.journey.test_two_workers import start_waiting

WORKERS = 3
LISTS = "SELECT rep, send_key FROM message WHERE kind = 'waiting' ORDER BY id"


@pytest.fixture
def workers(db: Database, database_url: str, tmp_path: Path) -> Iterator[list[AppContext]]:
    """Provide workers with a database connection of their own, and leads that wait for a person."""
    first = make_context(db, tmp_path, MONDAY, waiting_rules())
    for minutes in range(6):
        add_lead(first, email=None, at=MONDAY + timedelta(minutes=minutes))
    others = [Database(database_url) for _ in range(WORKERS - 1)]
    provider = MaildirProvider(tmp_path / "maildir")
    yield [first, *(AppContext(one, provider, message_kinds=MESSAGE_KINDS) for one in others)]
    for one in others:
        one.close()


def test_workers_that_sweep_at_the_same_time_plan_one_list_for_each_person(workers: list[AppContext]) -> None:
    first = workers[0]
    run_at(first, MONDAY, MONDAY + timedelta(minutes=10))
    for day in (1, 2, 3, 7, 8):  # late from the seventh day on: owner and deputy
        start = Barrier(WORKERS)

        def work(number: int, day: int = day, start: Barrier = start) -> None:
            start.wait(20)
            sweep.hand_off(workers[number], MONDAY + day * DAY + timedelta(seconds=number))

        before = rows(first, LISTS)
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(work, range(WORKERS)))
        new = [rep for rep, _ in rows(first, LISTS)[len(before) :]]
        assert sorted(new) == (["lena"] if day < 7 else ["ana", "lena"])
        run_at(first, MONDAY + day * DAY + HOUR)


def test_the_list_of_the_morning_and_a_reminder_at_the_same_time_are_one(workers: list[AppContext]) -> None:
    first, second = workers[:2]
    entered = MONDAY + timedelta(minutes=10)
    run_at(first, entered, *(entered + days * DAY for days in range(1, 7)))
    late = entered + 7 * DAY
    before = len(rows(first, LISTS))
    check_queue_batch(first, late, 100)
    write(first, "UPDATE message SET state = 'accepted', accepted_at = send_at WHERE state = 'planned'")
    assert plan_morning_emails(second, late + timedelta(minutes=1)) == 0
    assert [key for _, key in rows(first, LISTS)[before:]] == ["waiting:ana:2026-01-12", "waiting:lena:2026-01-12"]


def test_a_worker_waits_for_another_one_that_plans_lists(postgres_db: Database, tmp_path: Path) -> None:
    ctx = make_context(postgres_db, tmp_path, MONDAY, waiting_rules())
    lead = add_lead(ctx, email=None, at=MONDAY)
    sweep_at = MONDAY + DAY
    write(ctx, "UPDATE custody SET kind = 'queue', ref = 'no-address', version = version + 1")
    with ThreadPoolExecutor(1) as other, ctx.database.write() as tx:
        acquire(tx, Lock.WAITING_LISTS)
        policy = ctx.definitions.current(tx).policy
        planned = plan_emails(tx, {"lena": Notice(lead)}, queue_calendar(policy, ctx.holidays, sweep_at), sweep_at)
        assert planned == 1
        morning = start_waiting(ctx, other, lambda: plan_morning_emails(ctx, sweep_at - timedelta(seconds=1)))
        tx.connection.commit()
        assert morning.result(20) == 0
