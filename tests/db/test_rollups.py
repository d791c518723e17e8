"""The daily counts and stage intervals are what the facts say, after any use, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import text

from nurture.db import schema
from nurture.db.engine import Database
from nurture.db.rollups import JournalFact, SentChange, Stay, count_entries, count_sent, count_stays, recount
from nurture.journey.engagement import signals
from nurture.journey.erasure.erase import erase_person
from nurture.journey.leads.signal_queries import NewSignal
from nurture.runtime.context import AppContext
from tests.db.revisions import migrate_to
from tests.db.test_resting_revision import add_lead as add_old_lead
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.observe import one, rows

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def _recount(ctx: AppContext) -> list[int]:
    with ctx.database.write() as tx:
        return [found.rows for found in recount(tx)]


def test_touches_and_events_are_counted_by_day_step_version_and_source(ctx: AppContext) -> None:
    for _ in range(3):
        add_lead(ctx, title="Head")
    run_at(ctx, START, START + HOUR, START + 4 * DAY)
    counts = "SELECT CAST(day AS text), track, version, step, source, n FROM daily_count WHERE measure = 'sent'"
    source = one(ctx, "SELECT DISTINCT source FROM lead")
    assert ("2026-01-05", "welcome", 1, "01-hello", source, 3) in rows(ctx, counts)
    assert _recount(ctx) == [0, 0, 0]
    assert one(ctx, "SELECT sum(n) FROM stage_interval") > 0


def test_signals_are_counted_when_they_are_applied(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    for key, verdict in (("a", "human"), ("b", "human"), ("c", "bot")):
        new = NewSignal(lead, "clicked", START, START, key, "link", verdict, track="welcome", step="01-hello")
        signals.record(ctx, [new], START + HOUR)
    assert one(ctx, "SELECT sum(n) FROM daily_count WHERE measure = 'signal clicked'") == 2
    waits = "SELECT next_stage, length, sum(n) FROM stage_interval WHERE stage = 'signal' GROUP BY 1, 2"
    assert rows(ctx, waits) == [("applied", 3_600, 3)]
    assert _recount(ctx) == [0, 0, 0]


def test_erasing_a_lead_leaves_its_counts(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START, START + HOUR)
    before = rows(ctx, "SELECT measure, n FROM daily_count ORDER BY 1, 2")
    erase_person(ctx, str(lead), START + 2 * HOUR)
    after = rows(ctx, "SELECT measure, n FROM daily_count ORDER BY 1, 2")
    assert set(before) <= set(after)
    assert _recount(ctx) == [0, 0, 0]


def test_the_upgrade_counts_the_facts_that_are_there(empty_db: Database) -> None:
    migrate_to(empty_db, "0013_message_mention")
    with empty_db.write() as tx:
        add_old_lead(tx, 1, "track", "welcome")
        columns = "id, lead_id, at, stage, event, reason, track, step, custody_from, custody_to"
        for row in (
            "1, 1, '2026-01-05T08:00:00+00:00', 'intake', 'imported', '', NULL, NULL, NULL, 'intake'",
            "2, 1, '2026-01-06T09:30:00+00:00', 'enroll', 'enrolled', '', 'welcome', NULL, 'intake', 'track'",
        ):
            tx.execute(text(f"INSERT INTO journal ({columns}) VALUES ({row})"))
        columns = "lead_id, kind, occurred_at, recorded_at, natural_key, verdict, verdict_reason, source, applied_at"
        at, later = "'2026-01-07T09:00:00+00:00'", "'2026-01-07T09:00:40+00:00'"
        for key, verdict, applied_at in (("a", "human", later), ("b", "bot", later), ("c", "human", "NULL")):
            row = f"1, 'clicked', {at}, {at}, '{key}', '{verdict}', '', 'link', {applied_at}"
            tx.execute(text(f"INSERT INTO signal ({columns}) VALUES ({row})"))
    schema.upgrade(empty_db)
    with empty_db.write() as tx:
        measures = tx.execute(text("SELECT measure, n FROM daily_count ORDER BY measure")).tuples().all()
        assert measures == [("enrolled", 1), ("imported", 1), ("signal clicked", 1)]
        stays = "SELECT stage, next_stage, length, n, seconds FROM stage_interval ORDER BY stage"
        assert tx.execute(text(stays)).tuples().all() == [
            ("intake", "track", 24 * 3600, 1, 25 * 3600 + 1800),
            ("signal", "applied", 30, 2, 80),
        ]
        assert [found.rows for found in recount(tx)] == [0, 0, 0]


def test_wrong_counts_are_found_and_corrected(ctx: AppContext) -> None:
    add_lead(ctx, title="Head")
    run_at(ctx, START, START + HOUR)
    with ctx.database.write() as tx:
        tx.execute(text("UPDATE daily_count SET n = n + 1 WHERE measure = 'sent'"))
        tx.execute(text("DELETE FROM stage_interval"))
        tx.execute(text("UPDATE lead_count SET n = n + 1 WHERE kind = 'track'"))
    daily, leads, stays = _recount(ctx)
    assert (daily, leads) == (1, 1)
    assert stays > 0
    assert _recount(ctx) == [0, 0, 0]


def test_writers_of_the_same_counts_never_deadlock(ctx: AppContext) -> None:
    """They count the same in opposite orders, in more connections than there are shards."""
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START, START + HOUR)
    message, track, version, step = rows(
        ctx, "SELECT id, track, track_version, step FROM message WHERE kind = 'touch'"
    )[0]
    workers = 10
    together = Barrier(workers, timeout=60)
    before = rows(ctx, "SELECT sum(n) FROM daily_count"), rows(ctx, "SELECT coalesce(sum(n), 0) FROM stage_interval")

    def write(number: int, at: datetime) -> None:
        with ctx.database.write() as tx:
            steps = (
                lambda: count_sent(tx, [SentChange(message, at, 1)]),
                lambda: count_stays(tx, [Stay("track", "queue", START, at)]),
                lambda: count_entries(tx, [tuple(JournalFact(lead, at, track, version, step, "touch"))], {}),
            )
            for count in steps if number % 2 else reversed(steps):
                count()

    def write_days(number: int) -> None:
        for day in range(5):
            if not ctx.database.is_sqlite:  # its single writer would wait here for the others
                together.wait()
            write(number, START + day * DAY)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(write_days, range(workers)))
    counts, stays = workers * 5 * 2, workers * 5
    assert rows(ctx, "SELECT sum(n) FROM daily_count")[0][0] == before[0][0][0] + counts
    assert rows(ctx, "SELECT sum(n) FROM stage_interval")[0][0] == before[1][0][0] + stays
