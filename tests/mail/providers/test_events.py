"""Fields of provider events are read, or are None or "" if they are something else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given

from nurture.mail.providers.events import find_smtp_status, id_field, parse_iso_time, text_field
from tests.doubles.sendgrid_events import junk_values


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-03-04T09:30:00Z", datetime(2026, 3, 4, 9, 30, tzinfo=UTC)),
        ("2026-03-04T09:30:00.1234567Z", datetime(2026, 3, 4, 9, 30, 0, 123_456, tzinfo=UTC)),
        ("2026-03-04T09:30:00-05:00", datetime(2026, 3, 4, 9, 30, tzinfo=timezone(-timedelta(hours=5)))),
        ("2026-03-04T09:30:00", None),
        ("2026-03-04", None),
        ("0001-01-01T00:00:00+10:00", None),
        ("9999-12-31T23:59:59-10:00", None),
        ("yesterday", None),
    ],
)
def test_an_iso_time_is_read_if_it_has_an_offset(text: str, at: datetime | None) -> None:
    assert parse_iso_time(text) == at


@given(junk_values)
def test_any_other_value_is_no_time_and_no_text(value: object) -> None:
    if not isinstance(value, str):
        assert parse_iso_time(value) is None
        assert text_field({"x": value}, "x") == ""


@pytest.mark.parametrize(
    ("status", "reply", "found"),
    [
        ("5.1.1", "550 no Mrs Miller here", "5.1.1"),
        ("", "smtp;550 5.1.1 <ann@people.example> unknown", "5.1.1"),
        ("5.0.0", "550 relayed: 550 5.7.1 no", "5.7.1"),
        ("", " 421 later", "421"),
        ("", "no Mrs Miller here", ""),
    ],
)
def test_the_code_of_a_reply_is_kept_and_not_its_text(status: str, reply: str, found: str) -> None:
    assert find_smtp_status(status, reply) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [("ZXZlbnQtMQ==", "ZXZlbnQtMQ=="), (42, "42"), (True, ""), ("ann@people.example", ""), ("a b", ""), (None, "")],
)
def test_an_id_that_could_be_an_address_or_text_is_none(value: object, found: str) -> None:
    assert id_field({"id": value}, "id") == found
