"""Delivery reports and complaints are read; only a failure that concerns the address is hard."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.delivery.delivery_status import DeliveryEventType as Kind
from nurture.domain.replies import ReplyClass
from nurture.mail.inbound.bounce_report import (
    BounceReport,
    parse_bounce_report,
    parse_feedback_report,
    parse_plain_bounce,
)
from nurture.mail.inbound.classify import classify_mail
from nurture.mail.inbound.message import parse_mail
from tests.mail.inbound.replying import mail, report

TODAY = date(2026, 2, 10)
MIA = ("mia@people.example",)


def parsed(fields: str, returned: str = "Subject: Hello") -> BounceReport:
    text = f"Reporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; Mia@people.example\n{fields}"
    return parse_bounce_report(parse_mail(report("delivery-status", text, returned=returned)).report_text)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ("Action: failed\nStatus: 5.1.1", BounceReport(MIA, True, Kind.BOUNCED, "5.1.1")),
        ("Action: failed\nStatus: 5.2.2", BounceReport(MIA, False, Kind.BLOCKED, "5.2.2")),
        ("Action: delayed\nStatus: 4.4.1", BounceReport(MIA, False, Kind.DEFERRED, "4.4.1")),
        ("Action: delivered\nStatus: 2.1.5", BounceReport(MIA, False, Kind.DELIVERED, "2.1.5")),
        (
            "Action: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550 unavailable: it said:\n 550 5.7.1 block\n list",
            BounceReport(MIA, False, Kind.BLOCKED, "5.7.1"),
        ),
        (
            "Action: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550 5.4.1 Recipient address rejected: Access denied",
            BounceReport(MIA, False, Kind.BLOCKED, "5.4.1", is_ambiguous=True),
        ),
        (
            "Action: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550 no such user",
            BounceReport(MIA, True, Kind.BOUNCED, "5.0.0"),
        ),
        ("Status: 5.1.1", BounceReport(MIA, False)),
    ],
)
def test_a_report_is_judged_by_its_innermost_code_and_words(fields: str, found: BounceReport) -> None:
    assert parsed(fields) == found


def test_the_returned_mail_does_not_decide() -> None:
    subject = "Subject: Your user account does not exist"
    assert not parsed("Action: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 554 no", subject).is_hard
    assert parsed("Action: failed\nStatus: 5.1.1", "Subject: Our spam policy").is_hard


def test_recipients_with_different_outcomes_are_no_bounce() -> None:
    two = "Action: failed\nStatus: 5.1.1\n\nFinal-Recipient: rfc822; bo@people.example\nAction: failed\nStatus: 5.2.2"
    assert parsed(two) == BounceReport((*MIA, "bo@people.example"), False)


@pytest.mark.parametrize(
    ("feedback_type", "event_type"),
    [
        ("abuse", Kind.COMPLAINED),
        ("Fraud", Kind.COMPLAINED),
        ("opt-out", Kind.UNSUBSCRIBED),
        ("opt-out-list", Kind.UNSUBSCRIBED),
        ("not-spam", Kind.UNKNOWN),
        ("auth-failure", Kind.UNKNOWN),
        ("virus", Kind.UNKNOWN),
        ("brand-new", Kind.UNKNOWN),
    ],
)
def test_a_complaint_says_what_the_reader_did(feedback_type: str, event_type: Kind) -> None:
    fields = f"Feedback-Type: {feedback_type}\nVersion: 1\nOriginal-Rcpt-To: <Mia@people.example>"
    assert parse_feedback_report(fields) == BounceReport(MIA, False, event_type)
    redacted = fields.replace("Mia@people.example", "redacted")
    assert parse_feedback_report(redacted) == BounceReport((), False, event_type)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "<Mia@people.example>:\nIt said: 550 5.1.1 no such user\n\n--- A copy of the message.\n\nSubject: blocked?",
            BounceReport(MIA, True, Kind.BOUNCED, "5.1.1"),
        ),
        (
            "mia@people.example\n  554 your host is on our blacklist\n\nReceived: from 5.1.1",
            BounceReport(MIA, False, Kind.BLOCKED),
        ),
        ("mia@people.example is not delivered yet (450 4.2.1 try later); it is tried again for 5 days.", None),
        ("Your message is in our queue of 2026.", None),
    ],
)
def test_a_failure_that_is_reported_in_plain_words_is_read(text: str, found: BounceReport | None) -> None:
    assert parse_plain_bounce(text) == found
    raw = mail(text.replace("\n", "\r\n"), sender="MAILER-DAEMON@mx.example")
    assert classify_mail(parse_mail(raw), TODAY).bounce_report is None  # with an envelope sender it is no report
    raw = raw.replace(b"Return-Path: <mia@people.example>", b"Return-Path: <>")
    read = classify_mail(parse_mail(raw), TODAY)
    assert (read.kind is ReplyClass.BOUNCE, read.bounce_report) == (found is not None, found)


@given(st.text(alphabet=st.sampled_from("Final-Recipient: action failed status 5.1\n;@<>smtp"), max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    parse_bounce_report(text)
    parse_feedback_report(text)
    parse_plain_bounce(text)
