"""Test the loop that runs every stage when something is due for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from queue import Queue

import pytest
from sqlalchemy import text, update

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.db.tables.delivery import message
from nurture.domain.signals import SignalKind
from nurture.journey.leads import signal_queries
from nurture.journey.leads.due_queries import find_due_stages
from nurture.journey.stage_loop import FIRST_RETRY, Round, StageLoop, StageWorker
from nurture.journey.stages import STAGES, Stage
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.observe import custody, new_signal, record_signal, recorded_statements

HOUR = timedelta(hours=1)
PACE = 3_600.0
LIMIT = 30


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def _due(ctx: AppContext, hours: int = 0) -> set[str]:
    with ctx.database.read() as tx:
        return set(find_due_stages(tx, START + hours * HOUR))


def test_each_stage_is_due_when_it_has_something_to_do(ctx: AppContext) -> None:
    assert _due(ctx) == set()
    lead = add_lead(ctx, title="Head")
    assert _due(ctx) == {"intake"}
    run_at(ctx, START)
    assert _due(ctx) == set()
    assert "advance" in _due(ctx, 1)
    run_at(ctx, START + HOUR, START + HOUR)
    assert _due(ctx, 1) == set()
    with ctx.database.write() as tx:
        tx.execute(text("UPDATE message SET state = 'planned'"))
    assert _due(ctx, 1) == {"deliver"}
    record_signal(ctx, lead, SignalKind.REPLIED, START + HOUR)
    assert _due(ctx, 1) == {"advance", "deliver"}


@pytest.mark.parametrize("state", ["claimed", "sending"])
def test_delivery_is_due_when_the_lease_of_a_dead_worker_is_over(ctx: AppContext, state: str) -> None:
    add_lead(ctx, title="Head")
    run_at(ctx, START, START + HOUR, START + HOUR)
    with ctx.database.write() as tx:
        tx.execute(update(message).values(state=state, lease_token="dead", lease_until=START + 2 * HOUR))
    assert "deliver" not in _due(ctx, 1)
    assert "deliver" in _due(ctx, 3)


def test_the_look_at_what_is_due_is_one_statement_that_scans_no_table(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_context(sqlite_db, tmp_path)
    with recorded_statements(ctx.database) as statements:
        _due(ctx)
    [statement] = [one for one in statements if not one.startswith(("BEGIN", "COMMIT", "ROLLBACK"))]
    with ctx.database.read() as tx:
        plan = tx.connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, ("",) * statement.count("?"))
        steps = [row[-1] for row in plan]
    assert steps
    assert not [step for step in steps if step.startswith("SCAN") and "INDEX" not in step and "CONSTANT" not in step]


class _Running:
    """A running loop, and its rounds in the order of their start."""

    def __init__(self, ctx: AppContext) -> None:
        self.loop = StageLoop(ctx, VirtualClock(START), PACE)
        self.rounds: Queue[Round] = Queue()

    def next_with_counts(self, stage: str) -> Counter[str]:
        """Return the counts of the next round of *stage* that did something."""
        while True:
            begun = self.rounds.get(timeout=LIMIT)
            if begun.stage == stage and (counts := begun.result.result(LIMIT)).total():
                return counts

    def after_the_first_round_of_each(self) -> None:
        first = [self.rounds.get(timeout=LIMIT) for _ in STAGES]
        assert {one.stage for one in first} == set(STAGES)
        for one in first:
            one.result.result(LIMIT)


def test_a_new_lead_is_classified_long_before_the_pace(ctx: AppContext) -> None:
    running = _Running(ctx)
    with running.loop.running(running.rounds.put, LIMIT):
        running.after_the_first_round_of_each()
        lead = add_lead(ctx, title="Head")
        assert running.next_with_counts("intake") == {"nurture": 1}
    assert custody(ctx, lead)[0] == "track"


def test_a_paused_stage_rests_unless_it_is_asked(ctx: AppContext) -> None:
    running = _Running(ctx)
    with running.loop.running(running.rounds.put, LIMIT):
        running.after_the_first_round_of_each()
        intake = running.loop.workers["intake"]
        intake.is_paused = True
        lead = add_lead(ctx, title="Head")
        intake.wake_if_due(frozenset({"intake"}), intake.next_at)
        assert not intake.wake.is_set()
        assert custody(ctx, lead)[0] == "intake"
        assert intake.request().result.result(LIMIT) == {"nurture": 1}


class _BrokenCrm:
    """A CRM that can nothing."""

    name = "csv"


def test_a_stage_that_fails_does_not_stop_the_others_and_its_round_has_the_error(ctx: AppContext) -> None:
    running = _Running(replace(ctx, crm=_BrokenCrm()))
    with running.loop.running(running.rounds.put, LIMIT):
        rounds = {one.stage: one for one in (running.rounds.get(timeout=LIMIT) for _ in STAGES)}
        with pytest.raises(Exception, match="_BrokenCrm"):
            rounds["crm"].result.result(LIMIT)
        assert rounds["deliver"].result.result(LIMIT).total() == 0
        assert running.loop.workers["intake"].request().result.result(LIMIT).total() == 0


def test_work_that_arrives_while_a_stage_is_busy_or_was_woken_for_nothing_does_not_wait(ctx: AppContext) -> None:
    running = _Running(ctx)
    with running.loop.running(running.rounds.put, LIMIT):
        running.after_the_first_round_of_each()
        intake = running.loop.workers["intake"]
        for _ in range(3):
            assert intake.request().result.result(LIMIT).total() == 0
            assert intake.blocked_until == 0.0
            add_lead(ctx, title="Head")
            assert running.next_with_counts("intake") == {"nurture": 1}


def _worker() -> StageWorker:
    return StageWorker("deliver", Stage(lambda *_: Counter()), PACE)


def test_a_failing_stage_is_tried_again_ever_later_and_at_most_at_its_pace() -> None:
    worker, pauses = _worker(), []
    for _ in range(20):
        worker.note_end(Counter(), still_due=False)
        normal = worker.next_at
        worker.failures = len(pauses)
        worker.note_end(None, still_due=True)
        pauses.append(round(PACE - (normal - worker.next_at)))
    assert pauses[:3] == [FIRST_RETRY, 2 * FIRST_RETRY, 4 * FIRST_RETRY]
    assert pauses == sorted(pauses)
    assert pauses[-1] == PACE


def test_a_stage_that_could_do_nothing_about_what_is_due_is_not_woken_at_once_again() -> None:
    worker = _worker()
    worker.note_end(Counter(accepted=0), still_due=True)
    worker.wake_if_due(frozenset({"deliver"}), worker.blocked_until - 1)
    assert not worker.wake.is_set()
    worker.wake_if_due(frozenset({"deliver"}), worker.blocked_until)
    assert worker.wake.is_set()
    worker.wake.clear()
    worker.note_end(Counter(accepted=1), still_due=True)
    worker.wake_if_due(frozenset({"deliver"}), 0.0)
    assert worker.wake.is_set()


def test_a_click_recorded_but_not_applied_wakes_the_signals(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START)
    with ctx.database.write() as tx:
        signal_queries.record_signals(tx, [new_signal(lead, SignalKind.CLICKED, START, step="01-hello")])
    assert "signals" in _due(ctx)
