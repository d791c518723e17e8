"""The rules of the SendGrid double: every limit that a client can exceed."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.doubles.sendgrid import REF, SendGridDouble
from tests.doubles.sendgrid_requests import make_mail, make_personalization, post

pytestmark = pytest.mark.quick

EVERYTHING: dict[str, Any] = {
    "reply_to": {"email": "reply@example.com", "name": "Whoever, writes; back"},
    "attachments": [{"content": "aGk=", "filename": "hi.txt", "type": "text/plain", "disposition": "inline"}],
    "headers": {
        "List-Unsubscribe": "<https://nurture.example.com/u/abc>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    },
    "categories": ["track", "step"],
    "custom_args": {"track": "webinar"},
    "send_at": 1,
    "batch_id": "b1",
    "asm": {"group_id": 7, "groups_to_display": list(range(25))},
    "ip_pool_name": "marketing",
    "mail_settings": {"footer": {"enable": False, "text": "", "html": ""}},
    "tracking_settings": {
        "click_tracking": {"enable": False, "enable_text": False},
        "open_tracking": {"enable": False},
        "subscription_tracking": {"enable": False},
        "ganalytics": {"enable": False},
    },
}
ALLOWED: dict[str, dict[str, Any]] = {
    "everything that is documented": make_mail(**EVERYTHING),
    "an address of 320 characters": make_personalization(
        to=[{"email": f"{'a' * 68}@" + ".".join(["b" * 61] * 4) + ".cde"}]
    ),
    "1000 recipients": make_mail(personalizations=[{"to": [{"email": f"lead{n}@example.com"}]} for n in range(1000)]),
    "a subject of emoji": make_mail(subject="🚀" * 20),
    "a name in any script": make_personalization(to=[{"email": "ada@example.com", "name": "Ada Löß 🚀"}]),
    "10 categories of 255 characters": make_mail(categories=[f"{n}{'c' * 254}" for n in range(10)]),
    "a subject in each personalization": make_mail(
        subject=None, personalizations=[{"to": [{"email": "a@example.com"}], "subject": "For you"}]
    ),
    "a template instead of content": make_mail(template_id="d-1", content=None, subject=None),
    "10000 bytes of substitutions": make_personalization(substitutions={"-a-": "x" * 9997}),
    "a moment in the past": make_mail(send_at=1),
}


@pytest.mark.parametrize("payload", ALLOWED.values(), ids=ALLOWED)
def test_allowed_payloads_are_accepted(double: SendGridDouble, payload: dict[str, Any]) -> None:
    had = len(double.accepted())
    answer = post(double, payload)
    assert (answer.status, answer.body) == (202, b"")
    assert len(double.accepted()) == had + len(payload["personalizations"])


def _settings(kind: str, name: str, **inner: Any) -> dict[str, Any]:
    return make_mail(**{kind: {name: inner}})


SOON = 96 * 3600
"""Seconds. The payloads are built at collection, which may be an hour before the tests run."""

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown field": (make_mail(preheader="x"), "preheader"),
    "an unknown field of a personalization": (make_personalization(categories=["a"]), "personalizations.0.categories"),
    "no personalizations": (make_mail(personalizations=None), "personalizations"),
    "empty personalizations": (make_mail(personalizations=[]), "personalizations"),
    "personalizations that are no list": (make_mail(personalizations={}), "personalizations"),
    "1001 personalizations": (
        make_mail(personalizations=[{"to": [{"email": f"l{n}@example.com"}]} for n in range(1001)]),
        "personalizations",
    ),
    "1001 recipients": (
        make_personalization(
            to=[{"email": f"t{n}@example.com"} for n in range(500)],
            cc=[{"email": f"c{n}@example.com"} for n in range(500)],
            bcc=[{"email": "b@example.com"}],
        ),
        "personalizations",
    ),
    "a recipient twice": (make_personalization(cc=[{"email": "ADA@example.com"}]), "personalizations"),
    "a recipient in two personalizations": (
        make_mail(personalizations=[{"to": [{"email": "ada@example.com"}]}] * 2),
        "personalizations",
    ),
    "no recipient": (make_mail(personalizations=[{"subject": "x"}]), "personalizations.0.to"),
    "an empty list of recipients": (make_personalization(to=[]), "personalizations.0.to"),
    "an address without a domain": (make_personalization(to=[{"email": "ada"}]), "personalizations.0.to.0.email"),
    "an address with a space": (
        make_personalization(to=[{"email": "a b@example.com"}]),
        "personalizations.0.to.0.email",
    ),
    "an address with a line break": (
        make_personalization(to=[{"email": "a@example.com\r\nBcc: b@example.com"}]),
        "personalizations.0.to.0.email",
    ),
    "an address that ends in a line break": (
        make_personalization(to=[{"email": "a@example.com\n"}]),
        "personalizations.0.to.0.email",
    ),
    "an address with its name": (
        make_personalization(to=[{"email": "A <a@example.com>"}]),
        "personalizations.0.to.0.email",
    ),
    "an address outside ASCII": (
        make_personalization(to=[{"email": "ada@bücher.example"}]),
        "personalizations.0.to.0.email",
    ),
    "an address with two dots": (
        make_personalization(to=[{"email": "a..b@example.com"}]),
        "personalizations.0.to.0.email",
    ),
    "an empty address": (make_personalization(to=[{"email": ""}]), "personalizations.0.to.0.email"),
    "no address": (make_personalization(to=[{"name": "Ada"}]), "personalizations.0.to.0.email"),
    "an address of 321 characters": (
        make_personalization(to=[{"email": f"{'a' * 69}@" + ".".join(["b" * 61] * 4) + ".cde"}]),
        "personalizations.0.to.0.email",
    ),
    "a recipient's name with a comma": (
        make_personalization(to=[{"email": "a@example.com", "name": "Lovelace, Ada"}]),
        "personalizations.0.to.0.name",
    ),
    "a cc's name with a semicolon": (
        make_personalization(cc=[{"email": "b@example.com", "name": "a;b"}]),
        "personalizations.0.cc.0.name",
    ),
    "a bcc's name with a comma": (
        make_personalization(bcc=[{"email": "b@example.com", "name": "a,b"}]),
        "personalizations.0.bcc.0.name",
    ),
    "a name with a line break": (
        make_personalization(to=[{"email": "a@example.com", "name": "Ada\r\nBcc: b@example.com"}]),
        "personalizations.0.to.0.name",
    ),
    "a name that is no string": (
        make_personalization(to=[{"email": "a@example.com", "name": None}]),
        "personalizations.0.to.0.name",
    ),
    "no sender": (make_mail(**{"from": None}), "from"),
    "a sender who is a string": (make_mail(**{"from": "team@example.com"}), "from"),
    "a sender outside ASCII": (make_mail(**{"from": {"email": "t@example.com", "name": "Jörg"}}), "from.name"),
    "a sender of one personalization": (
        make_personalization(**{"from": {"email": "no"}}),
        "personalizations.0.from.email",
    ),
    "a bad reply_to": (make_mail(reply_to={"email": "no"}), "reply_to.email"),
    "reply_to and its list": (
        make_mail(reply_to={"email": "a@example.com"}, reply_to_list=[{"email": "b@example.com"}]),
        "reply_to_list",
    ),
    "1001 to reply to": (
        make_mail(reply_to_list=[{"email": f"r{n}@example.com"} for n in range(1001)]),
        "reply_to_list",
    ),
    "somebody twice to reply to": (make_mail(reply_to_list=[{"email": "a@example.com"}] * 2), "reply_to_list"),
    "no subject": (make_mail(subject=None), "subject"),
    "an empty subject": (make_mail(subject=""), "subject"),
    "a subject with a line break": (make_mail(subject="Hi\r\nBcc: b@example.com"), "subject"),
    "an empty subject of one personalization": (make_personalization(subject=""), "personalizations.0.subject"),
    "no content": (make_mail(content=None), "content"),
    "empty content": (make_mail(content=[]), "content"),
    "a part without value": (make_mail(content=[{"type": "text/plain", "value": ""}]), "content.0.value"),
    "a part without type": (make_mail(content=[{"type": "", "value": "x"}]), "content.0.type"),
    "a part with parameters": (
        make_mail(content=[{"type": "text/html; charset=utf-8", "value": "x"}]),
        "content.0.type",
    ),
    "html before text": (
        make_mail(content=[{"type": "text/html", "value": "x"}, {"type": "text/plain", "value": "x"}]),
        "content",
    ),
    "a calendar before html": (
        make_mail(content=[{"type": "text/calendar", "value": "x"}, {"type": "text/html", "value": "x"}]),
        "content",
    ),
    "html twice": (make_mail(content=[{"type": "text/html", "value": "x"}] * 2), "content"),
    "11 categories": (make_mail(categories=[f"c{n}" for n in range(11)]), "categories"),
    "a category twice": (make_mail(categories=["a", "a"]), "categories"),
    "a category of 256 characters": (make_mail(categories=["c" * 256]), "categories"),
    "a category outside ASCII": (make_mail(categories=["für"]), "categories"),
    "a category that is no string": (make_mail(categories=[1]), "categories"),
    "a number as custom argument": (
        make_personalization(custom_args={REF: 7}),
        f"personalizations.0.custom_args.{REF}",
    ),
    "no custom arguments in the object": (make_personalization(custom_args={}), "personalizations.0.custom_args"),
    "none in the message's object": (make_mail(custom_args={}), "custom_args"),
    "custom arguments as a string": (make_mail(custom_args="a"), "custom_args"),
    "10001 bytes of custom arguments, merged": (
        make_mail(
            custom_args={"a": "x" * 5000},
            personalizations=[make_personalization(custom_args={"b": "x" * 5000})["personalizations"][0]],
        ),
        "personalizations.0.custom_args",
    ),
    "a number as header": (make_mail(headers={"X-A": 1}), "headers.X-A"),
    "a header with a space": (make_mail(headers={"X A": "1"}), "headers.X A"),
    "a header outside ASCII": (make_mail(headers={"X-Ä": "1"}), "headers.X-Ä"),
    "a header twice": (make_mail(headers={"X-A": "1", "x-a": "1"}), "headers.x-a"),
    "a header value with CR LF": (
        make_personalization(headers={"X-A": "1\r\nBcc: b@example.com"}),
        "personalizations.0.headers.X-A",
    ),
    "a header value with LF": (make_mail(headers={"X-A": "1\n"}), "headers.X-A"),
    "a substitution that is a number": (
        make_personalization(substitutions={"-a-": 1}),
        "personalizations.0.substitutions.-a-",
    ),
    "a substitution tag with a space": (
        make_personalization(substitutions={"- a-": "x"}),
        "personalizations.0.substitutions",
    ),
    "10001 bytes of substitutions": (
        make_personalization(substitutions={"-a-": "x" * 9998}),
        "personalizations.0.substitutions",
    ),
    "send_at as text": (make_mail(send_at="1"), "send_at"),
    "send_at as true": (make_mail(send_at=True), "send_at"),
    "send_at in more than 72 hours": (make_mail(send_at=int(time.time_ns() // 1e9) + SOON), "send_at"),
    "the same for one personalization": (
        make_personalization(send_at=int(time.time_ns() // 1e9) + SOON),
        "personalizations.0.send_at",
    ),
    "a group that is text": (make_mail(asm={"group_id": "7"}), "asm.group_id"),
    "no group": (make_mail(asm={}), "asm.group_id"),
    "26 groups to display": (
        make_mail(asm={"group_id": 1, "groups_to_display": list(range(26))}),
        "asm.groups_to_display",
    ),
    "a pool of one character": (make_mail(ip_pool_name="p"), "ip_pool_name"),
    "a pool of 65 characters": (make_mail(ip_pool_name="p" * 65), "ip_pool_name"),
    "a batch that is a number": (make_mail(batch_id=1), "batch_id"),
    "an attachment that is not base64": (
        make_mail(attachments=[{"content": "hi!", "filename": "a"}]),
        "attachments.0.content",
    ),
    "an attachment without a name": (make_mail(attachments=[{"content": "aGk="}]), "attachments.0.filename"),
    "an unknown mail setting": (_settings("mail_settings", "sandbox"), "mail_settings.sandbox"),
    "sandbox mode as text": (
        _settings("mail_settings", "sandbox_mode", enable="yes"),
        "mail_settings.sandbox_mode.enable",
    ),
    "a setting that is no object": (make_mail(mail_settings={"sandbox_mode": True}), "mail_settings.sandbox_mode"),
    "bypasses combined": (
        make_mail(
            mail_settings={"bypass_list_management": {"enable": True}, "bypass_spam_management": {"enable": True}}
        ),
        "mail_settings",
    ),
    "an unknown tracking setting": (_settings("tracking_settings", "opens"), "tracking_settings.opens"),
    "an unknown field of click tracking": (
        _settings("tracking_settings", "click_tracking", enabled=False),
        "tracking_settings.click_tracking.enabled",
    ),
    "click tracking as a number": (
        _settings("tracking_settings", "click_tracking", enable=0),
        "tracking_settings.click_tracking.enable",
    ),
    **{
        f"the reserved header {name}": (make_mail(headers={name: "x"}), f"headers.{name}")
        for name in (
            *("x-sg-id", "X-SG-EID", "Received", "DKIM-Signature", "Content-Type", "Content-Transfer-Encoding"),
            *("To", "From", "Subject", "Reply-To", "CC", "BCC"),
        )
    },
}


@pytest.mark.parametrize(("payload", "field"), REFUSED.values(), ids=REFUSED)
def test_invalid_payloads_are_refused_by_field(double: SendGridDouble, payload: dict[str, Any], field: str) -> None:
    had = len(double.accepted())
    answer = post(double, payload)
    assert answer.status == 400
    assert field in answer.fields
    error = json.loads(answer.body)["errors"][0]
    assert set(error) == {"message", "field", "help"}
    assert len(double.accepted()) == had
    assert field in [name for name, _ in double.refused()[-1].errors]
