"""Test that clicks are safe before visitors are redirected, whatever the database and the disk do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.journey.engagement import click_buffer
from nurture.journey.engagement.click_buffer import ClickRecorder
from nurture.journey.engagement.click_filtering import EngagementEvent
from nurture.mail.providers.maildir.provider import MaildirProvider
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at

NOW = START + timedelta(hours=4)
GUIDE = "https://www.example.com/guide"


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    """Return a context whose one message is sent: message 1."""
    made = make_context(db, tmp_path)
    made.spool = tmp_path / "spool"
    add_lead(made, title="Head of planning")
    run_at(made, START, START + timedelta(hours=2))
    return made


def click(second: int = 0, message_id: int = 1) -> EngagementEvent:
    at = NOW + timedelta(seconds=second)
    return EngagementEvent(SignalKind.CLICKED, message_id, at, link=GUIDE, ip="0badcafe", agent="Mozilla/5.0 (X11)")


def clicks(ctx: AppContext) -> list[int]:
    with ctx.database.read() as tx:
        wanted = text("SELECT count(*), count(applied_at) FROM signal WHERE kind = 'clicked'")
        return list(tx.execute(wanted).one())


def test_a_click_is_committed_when_record_returns_and_applied_soon_after(ctx: AppContext) -> None:
    recorder = ClickRecorder(ctx, VirtualClock(NOW), timeout=30)
    recorder.record(click())
    assert clicks(ctx)[0] == 1
    recorder.close()
    assert clicks(ctx) == [1, 1]


def test_many_concurrent_clicks_are_each_written_once(ctx: AppContext) -> None:
    recorder = ClickRecorder(ctx, VirtualClock(NOW), timeout=30)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(recorder.record, [click(second) for second in [*range(60), *range(60)]]))
    recorder.close()
    assert clicks(ctx) == [60, 60]
    assert not ctx.spool.exists()


def test_a_click_that_is_both_in_a_file_and_in_the_database_counts_once(ctx: AppContext) -> None:
    recorder = ClickRecorder(ctx, VirtualClock(NOW), timeout=0)  # a visitor that cannot wait leaves a file
    for second in range(5):
        recorder.record(click(second))
    recorder.close()
    assert clicks(ctx) == [5, 5]
    assert click_buffer.list_spooled(ctx.spool) == []


def test_a_closed_recorder_starts_again(ctx: AppContext) -> None:
    recorder = ClickRecorder(ctx, VirtualClock(NOW), timeout=30)
    for second in range(3):
        recorder.record(click(second))
        recorder.close()
    assert clicks(ctx) == [3, 3]


def test_a_click_on_an_unknown_message_stops_no_other(ctx: AppContext) -> None:
    recorder = ClickRecorder(ctx, VirtualClock(NOW), timeout=30)
    recorder.record(click(message_id=999_999))
    recorder.record(click())
    recorder.close()
    assert clicks(ctx) == [1, 1]


def test_a_file_that_cannot_be_read_is_put_aside_and_stops_no_other(ctx: AppContext) -> None:
    click_buffer.spool_click(ctx.spool, click())
    (ctx.spool / "20260101T000000-x.json").write_text("half a fi")
    (ctx.spool / "20260101T000001-x.json").write_text("[1]")
    ClickRecorder(ctx, VirtualClock(NOW)).close()
    assert clicks(ctx) == [1, 1]
    assert click_buffer.list_spooled(ctx.spool) == []
    assert len(list(ctx.spool.glob("*.bad"))) == 2


def test_spool_files_are_private(ctx: AppContext) -> None:
    click_buffer.spool_click(ctx.spool, click())
    (file,) = click_buffer.list_spooled(ctx.spool)
    assert file.stat().st_mode & 0o077 == 0
    assert ctx.spool.stat().st_mode & 0o077 == 0


def test_an_error_is_raised_where_neither_database_nor_disk_takes_a_click(empty_db: Database, tmp_path: Path) -> None:
    ctx = AppContext(empty_db, MaildirProvider(tmp_path / "maildir"), spool=tmp_path / "spool-is-a-file")
    ctx.spool.write_text("")
    recorder = ClickRecorder(ctx, VirtualClock(NOW), timeout=30)
    with pytest.raises(OSError, match="spool-is-a-file"):
        recorder.record(click())
    recorder.close()
