"""Emails of a track to somebody on our side, through the outbox, on both databases."""

from __future__ import annotations

from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import InvalidState, NotFound
from nurture.journey.tracks.emails_to_self import Request, send_to_self
from nurture.reporting.console.lead_page import load_lead
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import custody, events, messages, rows

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
ME = "me@firm.example"


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path, rules=sample_rules())


def _mails(folder: Path) -> list[EmailMessage]:
    found = sorted((folder / "maildir" / "new").glob("*.eml"), key=lambda path: path.stat().st_mtime_ns)
    mails = [message_from_bytes(path.read_bytes(), policy=policy.default) for path in found]
    return [one for one in mails if one["To"] == ME]


def test_an_email_as_a_lead_gets_it_goes_to_who_asks_and_changes_nothing_about_the_lead(
    ctx: AppContext, tmp_path: Path
) -> None:
    lead = add_lead(ctx, title="Head", first_name="Ada")
    run_at(ctx, START, START + HOUR, START + HOUR + MINUTE)
    before = (
        custody(ctx, lead),
        events(ctx, lead),
        messages(ctx),
        len(load_lead(ctx, lead, START + 3 * HOUR).timeline),
    )
    assert send_to_self(ctx, Request("welcome", 1, "01-hello", str(lead), ME), START + 2 * HOUR) == 1
    run_at(ctx, START + 2 * HOUR)
    (mail,) = _mails(tmp_path)
    assert mail["Subject"] == "[test] Hello"
    assert (custody(ctx, lead), events(ctx, lead), messages(ctx)) == before[:3]
    assert len(load_lead(ctx, lead, START + 3 * HOUR).timeline) == before[3]
    assert rows(ctx, "SELECT state FROM message WHERE kind = 'to_self'") == [("accepted",)]


def test_a_whole_track_goes_one_a_minute_with_the_delays_in_the_subjects(ctx: AppContext, tmp_path: Path) -> None:
    add_lead(ctx, email=None)
    assert send_to_self(ctx, Request("welcome", 1, "", "long-values", ME), START) == 2
    run_at(ctx, START)
    assert [mail["Subject"] for mail in _mails(tmp_path)] == ["[test, 1 hour] Hello"]
    run_at(ctx, START + MINUTE)
    assert [mail["Subject"] for mail in _mails(tmp_path)] == ["[test, 1 hour] Hello", "[test, 3 days] More"]


def test_what_is_not_published_or_not_there_is_refused_and_nothing_is_sent(ctx: AppContext) -> None:
    with pytest.raises(InvalidState, match="no lead yet"):
        send_to_self(ctx, Request("welcome", 1, "01-hello", "sample", ME), START)
    add_lead(ctx)
    for wrong, message in (
        (Request("nowhere", 1, "01-hello", "sample", ME), "has no version 1"),
        (Request("welcome", 7, "01-hello", "sample", ME), "has no version 7"),
        (Request("welcome", 1, "09", "sample", ME), "has no email 09"),
        (Request("welcome", 1, "01-hello", "99", ME), "no lead 99"),
        (Request("welcome", 1, "01-hello", "all", ME), "no lead all"),
    ):
        with pytest.raises(NotFound, match=message):
            send_to_self(ctx, wrong, START)
    assert rows(ctx, "SELECT id FROM message WHERE kind = 'to_self'") == []
