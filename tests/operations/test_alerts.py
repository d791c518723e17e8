"""Problems are found in what is stored, reported once when they begin, and once when they are over."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import update

from nurture.db import last_rounds
from nurture.db.engine import Database
from nurture.db.tables.delivery import message
from nurture.journey.stages import STAGES
from nurture.mail.notifiers.apprise_notifier import AppriseNotifier
from nurture.operations.alerts import OVER_AFTER, tell_by, update_alerts
from nurture.operations.problems import DELIVERY_PACE, MAX_BACKUP_AGE, Problem, find_problems
from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import Breaker
from nurture.outbox.lease_queue import LEASE
from nurture.runtime.context import AppContext
from tests.doubles.chat_server import ChatServer
from tests.journey.builders import START, add_lead, make_context, run_at

MINUTE, HOUR, PACE = timedelta(minutes=1), timedelta(hours=1), timedelta(minutes=5)
INBOX = Problem("inbox", "The mailbox cannot be read: no answer", "Look.")


class Reports:
    """What the operator was reported."""

    def __init__(self, *, reached: bool = True) -> None:
        self.titles: list[str] = []
        self.reached = reached

    def __call__(self, title: str, text: str) -> bool:
        assert text
        self.titles.append(title)
        return self.reached


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def _problems(ctx: AppContext, now: datetime, folder: Path) -> list[str]:
    with ctx.database.read() as tx:
        return [one.key for one in find_problems(tx, now, PACE, folder) if one.key != "disk"]


def test_a_problem_is_reported_once_and_once_when_it_is_over(db: Database) -> None:
    reported = Reports()
    for minute in range(30):
        update_alerts(db, [INBOX], reported, START + minute * MINUTE)
    assert reported.titles == ["nurture: The mailbox cannot be read"]
    over = START + 29 * MINUTE + OVER_AFTER
    assert update_alerts(db, [], reported, over - MINUTE) == (0, 0)
    for minute in range(30):
        update_alerts(db, [], reported, over + minute * MINUTE)
    assert reported.titles[1:] == ["nurture: over: The mailbox cannot be read"]
    assert update_alerts(db, [INBOX], reported, over + HOUR) == (1, 0)


def test_a_problem_that_comes_and_goes_is_reported_once(db: Database) -> None:
    reported = Reports()
    for minute in range(60):
        update_alerts(db, [INBOX] if minute % 9 == 0 else [], reported, START + minute * MINUTE)
    assert len(reported.titles) == 1


def test_what_could_not_be_reported_is_reported_later_and_its_end_only_if_its_beginning_was(db: Database) -> None:
    deaf = Reports(reached=False)
    assert update_alerts(db, [INBOX], deaf, START) == (0, 0)
    reached = Reports()
    assert update_alerts(db, [INBOX], reached, START + MINUTE) == (1, 0)
    other = Problem("disk", "The disk is nearly full", "Make room.")
    update_alerts(db, [INBOX, other], deaf, START + 2 * MINUTE)
    update_alerts(db, [], reached, START + HOUR)
    assert reached.titles == ["nurture: The mailbox cannot be read", "nurture: over: The mailbox cannot be read"]


def test_another_process_that_looks_meanwhile_tells_nothing_again(db: Database) -> None:
    inner = Reports()

    def slow(title: str, text: str) -> bool:
        update_alerts(db, [INBOX], inner, START)
        return bool(title and text)

    assert update_alerts(db, [INBOX], slow, START) == (1, 0)
    assert inner.titles == []


def test_an_alert_arrives_by_an_apprise_url(db: Database) -> None:
    with ChatServer() as chat:
        url = SecretStr(f"json://127.0.0.1:{chat.port}/?rto=1")
        tell = tell_by([AppriseNotifier("alert 1", url, "NURTURE_ALERT")], lambda: START, "nurture.example.com")
        assert update_alerts(db, [INBOX], tell, START) == (1, 0)
        (received,) = chat.received
        assert received["title"] == "nurture: The mailbox cannot be read"
        assert "Look." in received["message"]
        assert "nurture.example.com" in received["message"]


def test_a_healthy_installation_has_no_problems(ctx: AppContext, tmp_path: Path) -> None:
    add_lead(ctx, title="Head")
    run_at(ctx, START, START + HOUR)
    with ctx.database.write() as tx:
        for name in ("advance", last_rounds.INBOX, last_rounds.LEDGER, last_rounds.BACKUP):
            last_rounds.note_failure(tx, name, START, "earlier")
            last_rounds.note_success(tx, name, START + HOUR)
    assert _problems(ctx, START + HOUR, tmp_path) == []


def test_stages_that_do_not_run_are_late_after_three_rounds(ctx: AppContext, tmp_path: Path) -> None:
    with ctx.database.write() as tx:
        last_rounds.note_success(tx, "advance", START)
    assert _problems(ctx, START + 3 * PACE, tmp_path) == []
    assert _problems(ctx, START + 4 * PACE, tmp_path) == ["late:advance"]


def test_failures_of_inbox_audit_and_backup_are_problems_until_they_succeed(ctx: AppContext, tmp_path: Path) -> None:
    with ctx.database.write() as tx:
        last_rounds.note_success(tx, last_rounds.BACKUP, START - 2 * MAX_BACKUP_AGE)
        for name in (last_rounds.INBOX, last_rounds.LEDGER):
            last_rounds.note_success(tx, name, START - HOUR)
            last_rounds.note_failure(tx, name, START, "why")
    assert _problems(ctx, START, tmp_path) == ["inbox", "audit", "backup"]


def test_pauses_are_problems_and_explain_mail_that_does_not_leave(ctx: AppContext, tmp_path: Path) -> None:
    add_lead(ctx, title="Head")
    run_at(ctx, START, START + HOUR)
    with ctx.database.write() as tx:
        tx.execute(update(message).values(state="planned", send_at=START))
    later = START + 2 * HOUR
    assert _problems(ctx, later, tmp_path) == ["mail-stuck"]
    with ctx.database.write() as tx:
        circuit_breakers.trip(tx, Breaker("provider", "smtp", "it is down", START + HOUR, later))
    assert _problems(ctx, later, tmp_path) == ["paused:provider:smtp"]
    assert _problems(ctx, START + HOUR + MINUTE, tmp_path) == ["mail-stuck"], "a first probe may end it"


def test_mail_of_a_dead_worker_is_a_problem_after_three_rounds_of_delivery_in_which_none_ended(
    ctx: AppContext, tmp_path: Path
) -> None:
    add_lead(ctx, title="Head")
    run_at(ctx, START, START + HOUR)
    dies = START + 2 * HOUR
    with ctx.database.write() as tx:
        tx.execute(update(message).values(state="claimed", send_at=START, lease_token="dead", lease_until=dies + LEASE))
        last_rounds.note_success(tx, "deliver", dies)
    assert _problems(ctx, dies + LEASE + 3 * DELIVERY_PACE, tmp_path) == []
    assert _problems(ctx, dies + LEASE + 3 * DELIVERY_PACE + MINUTE, tmp_path) == ["mail-stuck"]
    with ctx.database.write() as tx:
        last_rounds.note_success(tx, "deliver", dies + LEASE + 3 * DELIVERY_PACE)
    assert _problems(ctx, dies + LEASE + 3 * DELIVERY_PACE + MINUTE, tmp_path) == [], "a round ended: a limit holds it"


def test_mail_waits_for_the_next_run_of_a_scheduler_without_being_stuck(ctx: AppContext, tmp_path: Path) -> None:
    add_lead(ctx, title="Head")
    run_at(ctx, START, START + HOUR)
    with ctx.database.write() as tx:
        tx.execute(update(message).values(state="planned", send_at=START + HOUR))
        last_rounds.note_successes(tx, (*STAGES, last_rounds.RUN), START + HOUR)
    assert _problems(ctx, START + HOUR + 2 * PACE, tmp_path) == []
    with ctx.database.write() as tx:
        last_rounds.note_success(tx, "deliver", START + HOUR + MINUTE)
    assert _problems(ctx, START + HOUR + 2 * PACE, tmp_path) == ["mail-stuck"]


def test_messages_with_an_unknown_result_are_a_problem(ctx: AppContext, tmp_path: Path) -> None:
    add_lead(ctx, title="Head")
    run_at(ctx, START, START + HOUR)
    with ctx.database.write() as tx:
        tx.execute(update(message).values(state="unknown"))
    assert _problems(ctx, START + HOUR, tmp_path) == ["unknown"]
