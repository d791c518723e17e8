"""What is past its retention goes, in bounded transactions; what proofs need stays, and counts stay right."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from nurture.db.engine import Database
from nurture.db.rollups import recount
from nurture.db.tables.inbound import provider_event, reply
from nurture.operations.cleanup import clean_up
from nurture.reporting.audit import run_audit
from nurture.runtime.context import AppContext
from nurture.runtime.retention import Retention
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.observe import one, recorded_statements, rows, write

DAY = timedelta(days=1)
KEPT = Retention(raw_events=7 * DAY, events=30 * DAY, replies=60 * DAY, journal=90 * DAY)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    made = replace(make_context(db, tmp_path), retention=KEPT)
    for _ in range(3):
        add_lead(made, title="Head")
    run_at(made, START, START + timedelta(hours=1), START + 4 * DAY, START + 8 * DAY)
    return made


def _add_events(ctx: AppContext, times: list[datetime]) -> None:
    names = tuple(column.name for column in provider_event.c if column.name not in ("id", "message_id", "event_key"))
    words = {"natural_key": "", "provider": "sendgrid", "event_type": "open", "raw_event_type": "open"}
    with ctx.database.write() as tx:
        first: int = one(ctx, "SELECT coalesce(max(id), 0) FROM provider_event")
        tx.insert(
            provider_event,
            names,
            [
                tuple({**words, "natural_key": f"k{n}", "at": at, "received_at": at}.get(name, "") for name in names)
                for n, at in enumerate(times, first)
            ],
        )


def _add_reply(ctx: AppContext, at: datetime, text: str) -> None:
    values = {"natural_key": f"{at}", "lead_id": one(ctx, "SELECT min(id) FROM lead"), "kind": "no_mail", "text": text}
    more = {"received_at": at, "sent_at": at, "sender": "kim@example.com", "evidence": "stop", "contact": ""}
    with ctx.database.write() as tx:
        tx.execute(reply.insert().values(**values, **more, attachments=["offer.pdf"]))


def _deleted(ctx: AppContext, now: datetime, *, dry_run: bool = False) -> dict[str, int]:
    return {found.name: found.rows for found in clean_up(ctx, now, dry_run=dry_run).cleaned if found.rows}


def test_old_provider_events_are_deleted_and_newer_ones_kept(ctx: AppContext) -> None:
    _add_events(ctx, [START + n * DAY for n in range(100)])
    now = START + 100 * DAY
    assert _deleted(ctx, now, dry_run=True)["provider events"] == 70
    assert one(ctx, "SELECT count(*) FROM provider_event") == 100
    assert _deleted(ctx, now)["provider events"] == 70
    assert one(ctx, "SELECT count(*) FROM provider_event") == 30
    assert "provider events" not in _deleted(ctx, now)


def test_a_clock_that_went_back_leaves_no_event_behind_and_takes_none_too_many(ctx: AppContext) -> None:
    _add_events(ctx, [START + n * DAY - timedelta(hours=30 * (n % 2)) for n in range(100)])
    _deleted(ctx, START + 100 * DAY)
    left = one(ctx, "SELECT count(*) FROM provider_event")
    expected = sum(START + n * DAY - timedelta(hours=30 * (n % 2)) >= START + 70 * DAY for n in range(100))
    assert left == expected


def test_an_old_reply_loses_its_text_and_keeps_its_class_and_evidence(ctx: AppContext) -> None:
    _add_reply(ctx, START, "Please stop. Kim, +49 30 123")
    _add_reply(ctx, START + 50 * DAY, "Call me")
    assert _deleted(ctx, START + 70 * DAY) == {"texts of replies": 1}
    kept = rows(ctx, "SELECT kind, evidence, text, sender FROM reply ORDER BY id")
    assert kept == [("no_mail", "stop", "", ""), ("no_mail", "stop", "Call me", "kim@example.com")]
    assert _deleted(ctx, START + 70 * DAY) == {}


def test_the_journal_keeps_who_had_a_lead_and_the_counts_stay_right(ctx: AppContext) -> None:
    moves = rows(ctx, "SELECT * FROM journal WHERE custody_to IS NOT NULL ORDER BY id")
    counts = rows(ctx, "SELECT measure, sum(n) FROM daily_count GROUP BY 1 ORDER BY 1")
    now = START + 200 * DAY
    assert _deleted(ctx, now)["planner decisions in the journal"] > 0
    assert one(ctx, "SELECT count(*) FROM journal WHERE stage = 'advance' AND custody_to IS NULL") == 0
    assert rows(ctx, "SELECT * FROM journal WHERE custody_to IS NOT NULL ORDER BY id") == moves
    with ctx.database.write() as tx:
        assert [found.rows for found in recount(tx)] == [0, 0, 0]
    assert rows(ctx, "SELECT measure, sum(n) FROM daily_count GROUP BY 1 ORDER BY 1") == counts
    assert run_audit(ctx, START + 8 * DAY).ok


@pytest.mark.parametrize("entries", ["custody_to IS NOT NULL", "at >= '2026-01-06T00:00:00+00:00'"])
def test_the_database_refuses_to_delete_other_entries_of_the_journal(ctx: AppContext, entries: str) -> None:
    write(ctx, "UPDATE clock SET journal_since = '2026-01-06T00:00:00+00:00'")
    assert one(ctx, f"SELECT count(*) FROM journal WHERE {entries}") > 0
    with pytest.raises(IntegrityError, match="append-only"):
        write(ctx, f"DELETE FROM journal WHERE {entries}")


def test_counts_of_the_days_after_a_cleanup_are_still_corrected(ctx: AppContext) -> None:
    late = START + 200 * DAY
    clean_up(ctx, late)
    add_lead(ctx, title="Head")
    run_at(ctx, late, late + DAY)
    write(ctx, "UPDATE daily_count SET n = n + 1")
    early = f"SELECT sum(n) FROM daily_count WHERE day < '{(late - 90 * DAY).date()}'"
    before = one(ctx, early)
    with ctx.database.write() as tx:
        assert recount(tx)[0].rows > 0
        assert recount(tx)[0].rows == 0
    assert one(ctx, early) == before


def test_kinds_without_a_retention_are_kept_forever(ctx: AppContext) -> None:
    _add_events(ctx, [START])
    _add_reply(ctx, START, "Call me")
    ctx.retention = Retention(None, None, None, None)
    found = clean_up(ctx, START + 9_000 * DAY).cleaned
    assert {(cleaned.rows, cleaned.before) for cleaned in found} == {(0, None)}


def test_a_click_without_its_request_keeps_its_verdict(ctx: AppContext) -> None:
    message_id = one(ctx, "SELECT min(id) FROM message WHERE state = 'accepted'")
    write(
        ctx,
        "INSERT INTO signal (lead_id, source, kind, occurred_at, recorded_at, natural_key, verdict, verdict_reason,"
        " message_id, link, click_filter_key, applied_at) SELECT lead_id, '', 'clicked', accepted_at, accepted_at,"
        " 'c1', 'bot', 'fast', id, 'x', 'old rules', accepted_at FROM message WHERE id = :id",
        id=message_id,
    )
    write(
        ctx,
        "INSERT INTO tracking_request SELECT s.id, s.message_id, s.occurred_at, 'GET', '', 'a', 'b', '', false, false"
        " FROM signal s WHERE s.natural_key = 'c1'",
    )
    assert _deleted(ctx, START + 60 * DAY) == {"requests of clicks and opens": 1}
    assert rows(ctx, "SELECT verdict, click_filter_key FROM signal WHERE natural_key = 'c1'") == [("bot", None)]


def test_finding_old_rows_takes_few_statements_however_many_there_are(ctx: AppContext) -> None:
    _add_events(ctx, [START + n * timedelta(minutes=1) for n in range(20_000)])
    with recorded_statements(ctx.database) as few:
        clean_up(ctx, START + DAY, dry_run=True)
    assert len(few) < 100
    with recorded_statements(ctx.database) as all_:
        _deleted(ctx, START + 44 * DAY)
    assert len(all_) < 200


def test_two_cleanups_at_once_delete_each_row_once(ctx: AppContext) -> None:
    _add_events(ctx, [START] * 12_000)
    now = START + 31 * DAY
    with ThreadPoolExecutor(2) as pool:
        both = [found.result() for found in [pool.submit(clean_up, ctx, now) for _ in range(2)]]
    assert one(ctx, "SELECT count(*) FROM provider_event") == 0
    assert max(report.cleaned[1].rows for report in both) <= 12_000
