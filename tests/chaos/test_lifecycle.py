"""A small run of the lifecycle experiment: two workers, a restore and a clock that goes back break no law."""

from __future__ import annotations

import os
import secrets
from math import inf
from pathlib import Path
from random import Random

import pytest

from nurture.db.engine import Database
from tests.chaos.databases import PostgresSource
from tests.chaos.lifecycle import lifecycle_run
from tests.chaos.lifecycle_laws import Calls, judge_state
from tests.chaos.worker import Note
from tests.doubles.sendgrid import SendGridDouble
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.observe import write

SEED = os.environ.get("SEED") or str(secrets.randbits(32))


def test_two_workers_and_a_restore_keep_the_laws_of_tracks(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    source = PostgresSource(request.getfixturevalue("_postgres"), 1, planned=False)
    with SendGridDouble(tmp_path / "sendgrid.log") as double:
        found = lifecycle_run(source, double, tmp_path, Random(SEED), rounds=4)
    assert found.wrong == [], f"repeat with SEED={SEED}"
    assert (found.sent > 0, found.restores) == (True, 1)


def test_the_laws_see_a_custody_that_no_entry_of_the_journal_explains(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_context(sqlite_db, tmp_path)
    add_lead(ctx, title="Head")
    run_at(ctx, START)
    assert judge_state(ctx, START) == []
    write(ctx, "UPDATE custody SET ref = 'keep', version = version + 1")
    assert "lead 1 is on keep, by its journal on welcome" in judge_state(ctx, START)


def test_the_laws_see_calls_twice_and_after_a_stop_or_a_no() -> None:
    key = "touch:1:a:1"
    calls = Calls({key: "welcome"}, {key: "a@people.example"})
    work = [Note("last check", 5.0, (key,))]
    assert calls.judge([(key, 5.1)], work, [("welcome", 5.05, inf)], {"a@people.example": 5.05}) == []
    found = calls.judge([(key, 5.1), (key, 5.2)], work, [("", 4.0, inf)], {"a@people.example": 4.5})
    assert found == [
        f"sent twice: {key}",
        *[f"called 0.500 s after a no: {key}", f"called 1.000 s after all mail was stopped: {key}"] * 2,
    ]
