"""Mails are parsed into what classification needs: their report, its kind, and the headers of the returned mail."""

from __future__ import annotations

import pytest

from nurture.mail.inbound.message import parse_fields, parse_mail
from tests.mail.inbound.replying import TO, report


@pytest.mark.parametrize("kind", ["delivery-status", "disposition-notification", "feedback-report"])
def test_a_report_has_its_kind_and_its_machine_readable_part(kind: str) -> None:
    read = parse_mail(report(kind, "X-Field: value"))
    assert read.report_type == kind
    assert "X-Field: value" in read.report_text.splitlines()
    assert f"Reply-To: {TO}" in read.report_text.splitlines()


def test_the_part_counts_before_the_parameter_of_the_content_type() -> None:
    raw = report("feedback-report", "Feedback-Type: abuse")
    assert parse_mail(raw.replace(b"report-type=feedback-report", b"report-type=x")).report_type == "feedback-report"
    assert parse_mail(raw.replace(b"message/feedback-report", b"text/other")).report_type == "feedback-report"
    assert parse_mail(report("delivery-status", "x: y", part="message/global-delivery-status")).report_type == (
        "delivery-status"
    )


def test_only_a_report_is_a_report() -> None:
    raw = report("delivery-status", "Action: failed")
    assert parse_mail(raw.replace(b"multipart/report", b"multipart/mixed")).report_type == ""
    headers = b'Content-Type: multipart/report; report-type=delivery-status; boundary="B"\r\n'
    assert parse_fields({"headers": headers, "text": b"Action: failed"}, {}).report_type == "delivery-status"
