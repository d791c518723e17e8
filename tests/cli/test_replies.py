"""Unreadable mail is listed, reported by the doctor, and can be retried."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nurture.app import open_app
from nurture.journey.engagement import inbound_mail_queries
from tests.cli.conftest import CliSession

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)


@pytest.fixture
def unread(seeded_cli: CliSession) -> CliSession:
    """A set-up with an unreadable mail."""
    with open_app() as app, app.database.write() as tx:
        inbound_mail_queries.store(tx, [inbound_mail_queries.NewMail("imap", AT, None, "", b"{}")])
        inbound_mail_queries.mark_failed(tx, {1: "it took more than 30 s"})
    return seeded_cli


def test_mail_that_could_not_be_read_is_listed_with_its_reason(unread: CliSession) -> None:
    assert "it took more than 30 s" in " ".join(unread.ok("leads", "replies").out.split())
    (one,) = unread.ok("leads", "replies", "--json").json
    assert (one["source"], one["error"]) == ("imap", "it took more than 30 s")


def test_an_unreadable_mail_can_be_retried(unread: CliSession) -> None:
    assert "1 message queued to be read again" in unread.ok("leads", "replies", "--retry").out
    assert "All inbound mail was read." in unread.ok("leads", "replies").out


def test_the_doctor_reports_it(unread: CliSession) -> None:
    result = " ".join(unread.run("doctor").out.split())
    assert "1 email could not be read and may contain replies" in result
    assert "nurture leads replies" in result


def test_no_unreadable_mail_is_reported_in_one_sentence(seeded_cli: CliSession) -> None:
    assert seeded_cli.ok("leads", "replies").out.strip() == "All inbound mail was read."
    assert "could not be read" not in seeded_cli.run("doctor").out
