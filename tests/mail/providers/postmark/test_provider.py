"""Emails leave in batches with a receipt each; an unknown outcome is never taken for another."""

from __future__ import annotations

import logging
import pickle
import traceback
from dataclasses import replace

import pytest
from pydantic import SecretStr

from nurture.domain.delivery.receipts import Accepted, NotSent, Rejected, Unknown
from nurture.errors import Misconfigured
from nurture.mail.providers.base import SuppressionListProvider
from nurture.mail.providers.postmark.provider import MAX_BATCH, PostmarkProvider
from nurture.mail.providers.postmark.responses import PAUSE
from tests.doubles.api_server import Fault
from tests.doubles.postmark import TOKEN, PostmarkDouble
from tests.mail.providers.postmark import sending
from tests.mail.providers.postmark.sending import EMAIL, NOW, emails, opened, sent

double = sending.double

SECRET = "hunter2-hunter2-hunter2"


def kinds(receipts: list[object]) -> list[type]:
    return [type(one) for one in receipts]


def test_one_email_is_one_request(double: PostmarkDouble) -> None:
    (receipt,) = sent(double)
    assert receipt == Accepted(double.sent[0].message_id)
    assert double.calls == [("POST", "/email")]


def test_a_batch_is_one_request_for_five_hundred_emails(double: PostmarkDouble) -> None:
    receipts = sent(double, emails(MAX_BATCH + 2))
    assert [one.message["To"] for one in double.sent] == [f"n{n}@example.org" for n in range(MAX_BATCH + 2)]
    assert receipts == [Accepted(one.message_id) for one in double.sent]
    assert double.calls == [("POST", "/email/batch")] * 2


def test_large_emails_are_divided_among_requests(double: PostmarkDouble) -> None:
    large = [replace(one, text="x" * 9_000_000) for one in emails(6)]
    assert kinds(list(sent(double, large))) == [Accepted] * 6
    assert double.calls == [("POST", "/email/batch"), ("POST", "/email")]


def test_each_email_of_a_batch_has_its_own_result(double: PostmarkDouble) -> None:
    double.inactive["n1@example.org"] = "HardBounce"
    batch = emails(5)
    batch[2] = replace(batch[2], to=replace(batch[2].to, email="zoë@example.org"))
    batch[3] = replace(batch[3], text="", written_html="")
    receipts = sent(double, batch)
    assert kinds(list(receipts)) == [Accepted, Rejected, Rejected, Rejected, Accepted]
    assert [one.reason for one in receipts if isinstance(one, Rejected)] == [
        "Postmark has suppressed the address after a bounce, a complaint or an opt-out (406)",
        "the recipient's address has non-ASCII letters before the @; Postmark accepts none",
        'Postmark refused it (300): "Provide either email TextBody or HtmlBody or both"',
    ]


def test_a_sender_without_signature_blocks_only_its_own_email(double: PostmarkDouble) -> None:
    double.senders = {"example.net"}
    first, second = emails(2)
    other = replace(second, sender=replace(second.sender, email="ann@example.net"))
    refused, accepted = sent(double, [first, other])
    assert isinstance(refused, NotSent)
    assert (refused.blocks_sender, refused.blocks_all) == (True, False)
    assert "Sender Signatures" in refused.reason
    assert "mara@" not in refused.reason
    assert isinstance(accepted, Accepted)
    double.senders, double.unconfirmed = None, {"example.com"}
    (unconfirmed,) = sent(double)
    assert isinstance(unconfirmed, NotSent)
    assert unconfirmed.blocks_sender


def test_running_out_of_credits_stops_the_rest(double: PostmarkDouble) -> None:
    double.credits = 3
    receipts = sent(double, emails(MAX_BATCH + 5))
    assert kinds(list(receipts)) == [Accepted] * 3 + [NotSent] * (MAX_BATCH + 2)
    assert all(one.blocks_all for one in receipts if isinstance(one, NotSent))
    assert len(double.calls) == 1


@pytest.mark.parametrize("code", [405, 412, 413])
def test_an_account_that_may_not_send_blocks_all(double: PostmarkDouble, code: int) -> None:
    double.account_error = code
    (receipt,) = sent(double)
    assert isinstance(receipt, NotSent)
    assert receipt.blocks_all


@pytest.mark.parametrize("stream", ["elsewhere", "inbound"])
def test_a_wrong_message_stream_blocks_all_and_names_the_setting(double: PostmarkDouble, stream: str) -> None:
    for count in (1, 2):
        receipt, *_ = sent(double, emails(count), stream=stream)
        assert isinstance(receipt, NotSent)
        assert receipt.blocks_all
        assert "NURTURE_POSTMARK_STREAM" in receipt.reason


def test_a_refused_token_blocks_all_and_is_never_shown(
    double: PostmarkDouble, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with opened(double, token=SECRET) as provider:
        receipts = provider.send(emails(3), NOW)
        with pytest.raises(Misconfigured, match="NURTURE_POSTMARK_TOKEN") as refused:
            provider.check(EMAIL, NOW)
        shown = "".join(traceback.TracebackException.from_exception(refused.value, capture_locals=True).format())
        assert SECRET not in repr(provider) + shown + caplog.text + repr(receipts)
        with pytest.raises(TypeError, match="key"):
            pickle.dumps(provider)
    assert all(isinstance(one, NotSent) and one.blocks_all for one in receipts)


@pytest.mark.parametrize("token", ["", " ", "a b", "ä"])
def test_a_token_that_is_no_header_value_is_refused(token: str) -> None:
    with pytest.raises(Misconfigured, match="NURTURE_POSTMARK_TOKEN"):
        PostmarkProvider(SecretStr(token))


@pytest.mark.parametrize("url", ["", "api.postmarkapp.com", "https://u:p@a.example"])
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured, match="NURTURE_POSTMARK_URL"):
        PostmarkProvider(SecretStr(TOKEN), url=url)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    "fault",
    [
        Fault(what="reset", after=True),
        Fault(what="hang", after=True),
        Fault(what="reset"),
        Fault(what="status", status=500, after=True, body={"ErrorCode": 500, "Message": "oops"}),
        Fault(what="status", status=502, body="<html>Bad Gateway</html>"),
        Fault(what="status", status=503, body="<html>Service Unavailable</html>"),
        Fault(what="status", status=200, after=True, body="<html>OK</html>"),
        Fault(what="status", status=200, after=True, body=[]),
    ],
    ids=lambda fault: f"{fault.what}-{fault.status}-{fault.after}",
)
def test_without_a_readable_answer_the_outcome_is_unknown_and_nothing_is_sent_again(
    double: PostmarkDouble, fault: Fault, count: int
) -> None:
    double.add_fault(fault)
    with opened(double, read_timeout=0.4) as provider:
        receipts = provider.send(emails(count), NOW)
    assert kinds(list(receipts)) == [Unknown] * count
    assert len(double.sent) == (count if fault.after else 0)
    assert len(double.calls) == 1


def test_after_an_unknown_outcome_no_further_request_is_made(double: PostmarkDouble) -> None:
    double.add_fault(Fault(what="reset", after=True))
    receipts = sent(double, emails(MAX_BATCH + 3))
    assert kinds(list(receipts)) == [Unknown] * MAX_BATCH + [NotSent] * 3
    assert receipts[-1] == NotSent("the request before this one failed", NOW + PAUSE)
    assert len(double.sent) == MAX_BATCH


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, {"ErrorCode": 429, "Message": "Rate limit exceeded"}),
        (429, None),
        (503, {"ErrorCode": 100, "Message": "Maintenance"}),
        (200, {"ErrorCode": 100, "Message": "Maintenance"}),
    ],
)
def test_a_rate_limit_or_maintenance_pauses_all(double: PostmarkDouble, status: int, body: object) -> None:
    double.add_fault(Fault(what="status", status=status, body=body))
    (receipt,) = sent(double)
    assert isinstance(receipt, NotSent)
    assert (receipt.blocks_all, receipt.retry_at) == (True, NOW + PAUSE)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, "<html>", NotSent),
        (301, "", NotSent),
        (403, "<html>", NotSent),
        (413, "<html>", Rejected),
        (422, {"ErrorCode": 402, "Message": "Invalid JSON"}, Rejected),
        (422, {"ErrorCode": 300, "Message": "Invalid 'From' address: 'ann@example.com'."}, NotSent),
    ],
)
def test_a_refusal_that_is_not_about_one_email_rejects_no_batch(
    double: PostmarkDouble, status: int, body: object, kind: type
) -> None:
    fault = Fault(what="status", status=status, body=body)
    double.add_fault(fault, fault)
    (one,) = sent(double)
    assert type(one) is kind
    assert "ann@" not in repr(one)
    assert kinds(list(sent(double, emails(2)))) == [NotSent, NotSent]


def test_a_refused_connection_is_not_sent() -> None:
    with opened("http://127.0.0.1:9") as provider:
        receipts = provider.send(emails(2), NOW)
        assert kinds(list(receipts)) == [NotSent, NotSent]
        with pytest.raises(Misconfigured, match="NURTURE_POSTMARK_URL"):
            provider.check(EMAIL, NOW)


def test_an_email_that_cannot_be_encoded_takes_no_request(double: PostmarkDouble) -> None:
    (receipt,) = sent(double, [replace(EMAIL, text="\ud83d")])
    assert isinstance(receipt, Rejected)
    assert double.calls == []


def test_the_check_asks_for_server_and_stream_and_sends_nothing(double: PostmarkDouble) -> None:
    with opened(double) as provider:
        provider.check(EMAIL, NOW)
        assert [method for method, _ in double.calls] == ["GET", "GET"]
        double.archived.add("broadcast")
        with pytest.raises(Misconfigured, match="NURTURE_POSTMARK_STREAM"):
            provider.check(EMAIL, NOW)
        double.delivery_type = "Sandbox"
        with pytest.raises(Misconfigured, match="sandbox"):
            provider.check(EMAIL, NOW)
    with opened(double, stream="else where/x") as provider:
        double.delivery_type = "Live"
        with pytest.raises(Misconfigured, match="knows no message stream"):
            provider.check(EMAIL, NOW)
    assert double.sent == []


def test_the_suppressions_of_the_stream_are_listed(double: PostmarkDouble) -> None:
    double.inactive = {"a@example.org": "HardBounce", "b@example.org": "SpamComplaint", "c@example.org": "Manual"}
    with opened(double) as provider:
        assert isinstance(provider, SuppressionListProvider)
        found = provider.list_suppressions()
    assert [(one.email, one.source) for one in found] == [
        ("a@example.org", "bounce"), ("b@example.org", "complaint"), ("c@example.org", "provider"),
    ]  # fmt: skip
    assert all(one.at is not None and one.at.utcoffset() is not None for one in found)
