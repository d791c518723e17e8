"""A short answer that only names a month, a quarter or a year says when the lead decides."""

from __future__ import annotations

from datetime import date

import pytest

from nurture.domain.replies import ReplyClass
from nurture.mail.inbound.classify import classify_mail
from nurture.mail.inbound.message import parse_mail
from nurture.mail.inbound.named_day import parse_named_day, parse_only_day
from tests.mail.inbound.replying import mail

TODAY = date(2026, 2, 10)
ANA = "Ana Reis <ana@example.com>"


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("March", date(2026, 3, 1)),
        ("In May", date(2026, 5, 1)),
        ("may, thanks!", date(2026, 5, 1)),
        ("Probably in early September", date(2026, 9, 1)),
        ("We decide in May", date(2026, 5, 1)),
        ("June or July", date(2026, 6, 1)),
        ("December or January", date(2026, 12, 1)),
        ("May 2027", None),  # too far ahead
        ("January 2027", date(2027, 1, 1)),
        ("Q2", date(2026, 4, 1)),
        ("Q1 2027", date(2027, 1, 1)),
        ("Q2 or Q3", date(2026, 4, 1)),
        ("Q3 2026", date(2026, 7, 1)),
        ("Anfang Mai", date(2026, 5, 1)),
        ("im März", date(2026, 3, 1)),
        ("en août", date(2026, 8, 1)),
        ("em maio", date(2026, 5, 1)),
        ("in mei", date(2026, 5, 1)),
    ],
)
def test_an_answer_of_a_time_alone_is_that_time(text: str, day: date | None) -> None:
    assert parse_only_day(text, ANA, TODAY) == day


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ok",
        "February",
        "Q1",
        "Q1 or Q2",
        "Q2 or February",
        "March?",
        "Stop in May",
        "I left in May",
        "Thanks, April",
        "5",
        "The plan of March is wrong",
    ],
)
def test_other_short_answers_are_no_time(text: str) -> None:
    assert parse_only_day(text, ANA, TODAY) is None


@pytest.mark.parametrize(
    ("text", "today"),
    [("Q4", date(2026, 11, 9)), ("In Q4, thanks", date(2026, 12, 31)), ("T2", date(2026, 4, 1))],
)
def test_this_quarter_without_a_year_waits_for_a_person(text: str, today: date) -> None:
    assert parse_only_day(text, ANA, today) is None
    assert parse_only_day(text, ANA, date(2026, 9, 30) if "4" in text else date(2026, 3, 31)) is not None


@pytest.mark.parametrize(
    ("text", "today", "day"),
    [
        ("Not now, Q4", date(2026, 10, 5), date(2026, 12, 1)),
        ("Not now, Q4", date(2026, 12, 5), None),
        ("Not now, Q4", date(2026, 9, 5), date(2026, 10, 1)),
        ("Not in Q4, rather Q1", date(2026, 12, 5), date(2027, 1, 1)),
        ("Not now, Q1 next year", date(2026, 2, 10), date(2027, 1, 1)),
        ("Not now, maybe in December", date(2026, 12, 5), None),
        ("Not now, maybe in March next year", date(2026, 2, 10), date(2027, 3, 1)),
    ],
)
def test_a_quarter_or_month_that_runs_is_never_that_of_a_year_later(text: str, today: date, day: date | None) -> None:
    assert parse_named_day(text, today) == day


def test_the_name_of_the_sender_is_no_month() -> None:
    assert parse_only_day("April", "April Jones <a.jones@example.com>", TODAY) is None
    assert parse_only_day("April", ANA, TODAY) == date(2026, 4, 1)


def test_a_reply_of_a_month_alone_is_not_now_until_that_month() -> None:
    found = classify_mail(parse_mail(mail("May\n\nOn Mon, Feb 9, 2026 Ada wrote:\n> When do you decide?")), TODAY)
    assert (found.kind, found.returns_on) == (ReplyClass.NOT_NOW, date(2026, 5, 1))


def test_a_month_that_is_another_word_counts_with_a_year() -> None:
    assert parse_named_day("We may talk in May 2026", TODAY) == date(2026, 5, 1)
    assert parse_named_day("We may talk later", TODAY) is None
