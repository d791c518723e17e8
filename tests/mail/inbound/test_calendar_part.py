"""Invitations and the answers to them are read from calendar parts, as programs write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.mail.inbound.calendar_part import parse_calendar
from nurture.mail.inbound.message import parse_mail
from tests.mail.inbound.replying import mail

TEN_IN_BERLIN = datetime(2026, 12, 3, 9, tzinfo=UTC)
ZONE = (
    "BEGIN:VTIMEZONE\r\nTZID:W. Europe Standard Time\r\nBEGIN:STANDARD\r\nDTSTART:16010101T030000\r\n"
    "END:STANDARD\r\nEND:VTIMEZONE\r\n"
)


def calendar(method: str, event: str, before: str = "") -> str:
    return (
        f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:{method}\r\n{before}BEGIN:VEVENT\r\nUID:1\r\n{event}"
        "BEGIN:VALARM\r\nSUMMARY:Alarm\r\nEND:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )


@pytest.mark.parametrize(
    ("start", "at", "words"),
    [
        ("DTSTART:20261203T090000Z", TEN_IN_BERLIN, "Thursday 3 December 2026, 09:00 (UTC)"),
        (
            "DTSTART;TZID=Europe/Berlin:20261203T100000",
            TEN_IN_BERLIN,
            "Thursday 3 December 2026, 10:00 (Europe/Berlin)",
        ),
        (
            'DTSTART;TZID="W. Europe Standard Time":20261203T100000',
            TEN_IN_BERLIN,
            "Thursday 3 December 2026, 10:00 (W. Europe Standard Time)",
        ),
        ("DTSTART;TZID=My zone:20261203T100000", None, "Thursday 3 December 2026, 10:00 (My zone)"),
        ("DTSTART:20261203T100000", None, "Thursday 3 December 2026, 10:00"),
        ("DTSTART;VALUE=DATE:20261203", None, "Thursday 3 December 2026"),
        ("DTSTART:soon", None, ""),
        ("DTSTART;TZID=../../etc/passwd:20261203T100000", None, "Thursday 3 December 2026, 10:00 (../../etc/passwd)"),
        ("DTSTART;TZID=Europe/Berlin:00010101T000000", None, "Monday 1 January 1, 00:00 (Europe/Berlin)"),
    ],
)
def test_the_start_is_known_where_its_zone_is(start: str, at: datetime | None, words: str) -> None:
    found = parse_calendar(calendar("REQUEST", f"{start}\r\nSUMMARY:Call\r\n", ZONE))
    assert (found.method, found.summary, found.starts_at, found.starts) == ("REQUEST", "Call", at, words)


def test_a_folded_and_escaped_subject_is_joined() -> None:
    text = calendar("REQUEST", "SUMMARY;LANGUAGE=en:Call\\, about pla\r\n nning\\nand prices\r\n")
    assert parse_calendar(text).summary == "Call, about planning and prices"


@pytest.mark.parametrize("answer", ["ACCEPTED", "DECLINED", "TENTATIVE"])
def test_an_answer_says_whether_the_person_comes(answer: str) -> None:
    attendee = f'ATTENDEE;CN="Berg; Mia: Stock";PARTSTAT={answer}:mailto:mia@people.example\r\n'
    found = parse_calendar(calendar("REPLY", attendee))
    assert (found.method, found.answer) == ("REPLY", answer)


def test_the_calendar_part_of_a_mail_is_found_beside_its_text() -> None:
    part = calendar("REQUEST", "SUMMARY:Gespräch\r\n")
    body = (
        f"--B\r\nContent-Type: text/plain\r\n\r\nSee you\r\n--B\r\nContent-Type: text/calendar\r\n\r\n{part}--B--\r\n"
    )
    read = parse_mail(mail(body, kind='multipart/alternative; boundary="B"'))
    assert (read.text, read.calendar and read.calendar.summary) == ("See you", "Gespräch")
    assert parse_mail(mail("See you")).calendar is None


@given(st.text(alphabet=st.sampled_from('BEGIN:VEVENT\r\nDTSTART;TZID=0123456789 \\"UMMARY'), max_size=400))
def test_any_text_can_be_read(text: str) -> None:
    parse_calendar(text)
    parse_calendar(calendar("REPLY", text))
