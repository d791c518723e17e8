"""Kill the worker that plans a broadcast: between two batches, and inside one before it is committed."""

import os
import signal
from multiprocessing import get_context
from pathlib import Path

import pytest
from sqlalchemy import event

from nurture.db.engine import Database
from nurture.journey.broadcasts import plan
from nurture.journey.message_kinds import MESSAGE_KINDS
from nurture.runtime.context import AppContext
from nurture.simulation.engine import DiscardingProvider
from tests.journey.broadcasts.world import TEN, make_broadcast, send, states
from tests.journey.builders import START, run_at
from tests.journey.observe import add_leads, one

LEADS, BATCH = 30, 8


def _plan_until_killed(url: str, statement: str, times: int) -> None:
    """Plan in this process, and kill it before it executes *statement* for the last of *times* times."""
    ctx = AppContext(Database(url), DiscardingProvider(), batch_size=BATCH, message_kinds=MESSAGE_KINDS)
    seen = 0

    def count(_c: object, _u: object, executed: str, *_: object) -> None:
        nonlocal seen
        seen += statement in executed
        if seen == times:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(ctx.database.engine, "before_cursor_execute", count)
    plan.plan_due(ctx, TEN)


@pytest.mark.parametrize(
    ("statement", "times", "kept"), [("UPDATE broadcast", 2, BATCH), ("UPDATE message", 3, 2 * BATCH)]
)
def test_a_worker_killed_while_it_plans_loses_nothing_and_repeats_nothing(
    db: Database, tmp_path: Path, statement: str, times: int, kept: int
) -> None:
    ctx = make_broadcast(db, tmp_path)
    add_leads(ctx, LEADS, city="Kiel", title="Buyer")
    run_at(ctx, START)
    send(ctx)
    url = db.url.render_as_string(hide_password=False)
    worker = get_context("forkserver").Process(target=_plan_until_killed, args=(url, statement, times))
    worker.start()
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL
    assert len(states(ctx)) == one(ctx, "SELECT last_lead_id FROM broadcast") == kept
    ctx.batch_size = BATCH
    assert plan.plan_due(ctx, TEN).planned == LEADS - kept
    assert list(states(ctx).values()) == ["planned"] * LEADS
