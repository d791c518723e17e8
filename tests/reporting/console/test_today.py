"""The numbers and tasks of the page Today, on both databases."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.journey.delivery import stopping
from nurture.journey.handoff import responses
from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import Breaker
from nurture.reporting.console.lead_list import list_leads
from nurture.reporting.console.today import Number, Task, Today, load_today
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.observe import add_leads, record_signal, recorded_statements, write

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def _today(ctx: AppContext, now: datetime) -> Today:
    with ctx.database.read() as tx:
        return load_today(ctx, tx, now)


def _numbers(found: Today) -> dict[str, tuple[int, int]]:
    return {one.name: (one.value, one.before) for one in found.numbers}


def _task(found: Today, kind: str) -> Task:
    (task,) = [one for one in found.tasks if one.kind == kind]
    return task


def _people(ctx: AppContext, number: Number, now: datetime) -> set[int]:
    with ctx.database.read() as tx:
        return {one.id for one in list_leads(ctx, tx, number.people, now).leads}


def test_numbers_stand_beside_those_of_the_week_before_and_lead_to_their_people(ctx: AppContext) -> None:
    first = [add_lead(ctx, title="Head") for _ in range(2)]
    run_at(ctx, START, START + HOUR)
    record_signal(ctx, first[0], SignalKind.CLICKED, START + 2 * HOUR)
    week_later = START + 7 * DAY
    second = [add_lead(ctx, at=week_later, title="Head") for _ in range(3)]
    run_at(ctx, week_later, week_later + HOUR)
    for lead in second[:2]:
        record_signal(ctx, lead, SignalKind.CLICKED, week_later + HOUR)
    record_signal(ctx, second[2], SignalKind.REPLIED, week_later + HOUR)
    now = week_later + 2 * HOUR
    run_at(ctx, now)
    found = _today(ctx, now)
    assert _numbers(found) == {
        "nurtured": (4, 2),
        "sent_today": (5, 2),
        "sent": (5, 2),
        "clicked": (2, 1),
        "replied": (1, 0),
        "handed_off": (1, 0),
        "waiting": (1, 0),
    }
    numbers = {one.name: one for one in found.numbers}
    assert _people(ctx, numbers["clicked"], now) == set(second[:2])
    assert _people(ctx, numbers["waiting"], now) == _people(ctx, numbers["handed_off"], now) == {second[2]}
    assert _people(ctx, numbers["sent_today"], now) >= set(second)
    assert _people(ctx, numbers["nurtured"], now) == {*first, *second[:2]}


def test_a_lead_that_waited_a_week_ago_counts_there_though_a_rep_has_it_now(ctx: AppContext) -> None:
    add_lead(ctx, demo_requested=True)
    run_at(ctx, START)
    responses.accept(ctx, 1, START + 7 * DAY)
    assert _numbers(_today(ctx, START + 7 * DAY + HOUR))["waiting"] == (0, 1)


def test_what_needs_somebody_is_listed_with_what_its_action_takes(ctx: AppContext) -> None:
    add_lead(ctx, demo_requested=True)
    add_lead(ctx, email=None)
    run_at(ctx, START)
    with ctx.database.write() as tx:
        circuit_breakers.trip(tx, Breaker("domain", "house.example", "12 of 100 bounced", START, None))
    stopping.stop(ctx, "welcome", "a wrong price", "Sam", START)
    found = _today(ctx, START + 3 * DAY)
    assert {one.kind for one in found.tasks} == {"pause", "stop", "offers", "queue"}
    assert (_task(found, "pause").target, _task(found, "pause").urgent) == ("house.example", True)
    assert (_task(found, "stop").target, _task(found, "stop").title) == ("welcome", "Track welcome is stopped")
    offers = _task(found, "offers")
    assert (offers.count, offers.since, offers.detail, offers.urgent) == (1, START, "1 after the deadline", True)
    queue = _task(found, "queue")
    assert (queue.target, queue.title) == ("no-address", "1 lead in the queue no-address")
    assert queue.detail == "it has no email address; worked by Ana"
    assert [one.urgent for one in found.tasks] == sorted((one.urgent for one in found.tasks), reverse=True)


def test_leads_without_consent_are_a_task_of_their_own(ctx: AppContext) -> None:
    add_lead(ctx)
    write(ctx, "UPDATE custody SET kind = 'queue', ref = 'no-consent-basis', version = version + 1")
    task = _task(_today(ctx, START), "consent")
    assert (task.title, task.target, task.count) == ("1 lead without consent", "no-consent-basis", 1)


def test_who_has_waited_longest_for_a_person_stands_first_with_where_and_since_when(ctx: AppContext) -> None:
    offered = add_lead(ctx, demo_requested=True, full_name="Dana Miller", company="Quay")
    run_at(ctx, START)
    queued = add_lead(ctx, at=START + HOUR, email=None, full_name="Kim Poe")
    run_at(ctx, START + HOUR)
    found = _today(ctx, START + 3 * DAY)
    assert [(one.lead_id, one.name, one.where, one.since) for one in found.waits] == [
        (offered, "Dana Miller", "offered to Ana", START),
        (queued, "Kim Poe", "in the queue no-address, worked by Ana", START + HOUR),
    ]
    assert (found.waiting, found.waits[0].is_late, found.waits[0].company) == (2, True, "Quay")


def test_nothing_to_do_is_an_empty_list(ctx: AppContext) -> None:
    found = _today(ctx, START)
    assert not found.tasks
    assert set(_numbers(found).values()) == {(0, 0)}


@pytest.mark.parametrize("leads", [10, 200])
def test_the_number_of_statements_is_that_of_few_leads(ctx: AppContext, leads: int) -> None:
    add_leads(ctx, leads, title="Head")
    run_at(ctx, START, START + HOUR)
    _today(ctx, START + HOUR)
    with recorded_statements(ctx.database) as statements:
        _today(ctx, START + HOUR)
    assert len(statements) <= 18, statements
