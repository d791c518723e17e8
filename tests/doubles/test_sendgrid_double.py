"""The double of SendGrid: strict where the API is, wrong where it is told to be, and never forgetful."""

from __future__ import annotations

import asyncio
import http.client
import io
import itertools
import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import trustme

from .sendgrid import KEY, REF, Account, Fault, SendGridDouble, What

_numbers = itertools.count(1)
_SEND = "/v3/mail/send"


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def fields(self) -> list[str | None]:
        return [error["field"] for error in json.loads(self.body)["errors"]]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SendGridDouble]:
    with SendGridDouble(tmp_path_factory.mktemp("sendgrid") / "oracle.log") as double:
        yield double


@pytest.fixture
def double(running: SendGridDouble) -> SendGridDouble:
    running.configure(Account())
    running.tell()
    return running


def _ref() -> str:
    return f"a1b2c3d4:touch:{next(_numbers)}:intro:1"


def _mail(ref: Any = None, **changes: Any) -> dict[str, Any]:
    one = {"to": [{"email": "ada@example.com", "name": "Ada"}], "custom_args": {REF: ref or _ref()}}
    payload = {
        "personalizations": [one],
        "from": {"email": "team@example.com", "name": "The team"},
        "subject": "Good morning",
        "content": [{"type": "text/plain", "value": "Hello"}, {"type": "text/html", "value": "<p>Hello</p>"}],
        **changes,
    }
    return {key: value for key, value in payload.items() if value is not None}


def _to(**changes: Any) -> dict[str, Any]:
    """A mail whose only personalization has *changes*."""
    mail = _mail()
    mail["personalizations"][0].update(changes)
    return mail


def _post(
    double: SendGridDouble,
    payload: object,
    *,
    method: str = "POST",
    path: str = _SEND,
    timeout: float = 10,
    **headers: str,
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", double.port, timeout=timeout)
    given = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    try:
        connection.request(method, path, raw, {name: value for name, value in given.items() if value})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def _refs(double: SendGridDouble) -> list[str | None]:
    return [one.ref for one in double.accepted()]


def _until_logged(double: SendGridDouble, what: What, ref: str) -> None:
    """Another process needs real time to write."""
    ends = time.monotonic() + 10
    while not any(fault.what == what and ref in fault.refs for fault in double.faulted()):
        assert time.monotonic() < ends, f"{what} was never played"


# What is valid is accepted, and written down first


def test_a_valid_mail_is_accepted_with_an_id_and_an_empty_body(double: SendGridDouble) -> None:
    mail, before = _mail(), time.monotonic()
    answer = _post(double, mail)
    after = time.monotonic()
    assert (answer.status, answer.body) == (202, b"")
    last = double.accepted()[-1]
    assert last.ref == mail["personalizations"][0]["custom_args"][REF]
    assert (last.to, last.message_id) == ("ada@example.com", answer.headers["X-Message-Id"])
    assert before < last.read < after
    assert last.body is None
    assert not [name for name in answer.headers if name.lower().startswith("x-ratelimit")]


def test_bodies_are_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    people = [{"to": [{"email": f"{name}@example.com"}]} for name in ("a", "b")]
    with SendGridDouble(tmp_path / "oracle.log", bodies=True) as double:
        assert _post(double, _mail(personalizations=people)).status == 202
        assert [one.body for one in double.accepted()] == [_mail(personalizations=[one]) for one in people]


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
    "everything that is documented": _mail(**EVERYTHING),
    "an address of 320 characters": _to(
        to=[{"email": f"{'a' * 68}@" + ".".join(["b" * 61] * 4) + ".cde"}],
    ),
    "1000 recipients": _mail(
        personalizations=[{"to": [{"email": f"lead{n}@example.com"}]} for n in range(1000)]
    ),
    "a subject of emoji": _mail(subject="🚀" * 20),
    "a name in any script": _to(to=[{"email": "ada@example.com", "name": "Ada Löß 🚀"}]),
    "10 categories of 255 characters": _mail(categories=[f"{n}{'c' * 254}" for n in range(10)]),
    "a subject in each personalization": _mail(
        subject=None, personalizations=[{"to": [{"email": "a@example.com"}], "subject": "For you"}]
    ),
    "a template instead of content": _mail(template_id="d-1", content=None, subject=None),
    "10000 bytes of substitutions": _to(substitutions={"-a-": "x" * 9997}),
    "a moment in the past": _mail(send_at=1),
}


@pytest.mark.parametrize("payload", ALLOWED.values(), ids=ALLOWED)
def test_what_the_api_allows_is_accepted(double: SendGridDouble, payload: dict[str, Any]) -> None:
    had = len(double.accepted())
    answer = _post(double, payload)
    assert (answer.status, answer.body) == (202, b"")
    assert len(double.accepted()) == had + len(payload["personalizations"])


def test_each_personalization_is_a_line_with_the_arguments_merged(double: SendGridDouble) -> None:
    first, second = _ref(), _ref()
    people: list[dict[str, Any]] = [{"to": [{"email": f"{name}@example.com"}]} for name in ("a", "b")]
    people[1]["custom_args"] = {REF: second}
    answer = _post(double, _mail(personalizations=people, custom_args={REF: first}))
    lines = double.accepted()[-2:]
    assert [(line.ref, line.to) for line in lines] == [(first, "a@example.com"), (second, "b@example.com")]
    assert {line.message_id for line in lines} == {answer.headers["X-Message-Id"]}


def test_sandbox_mode_checks_and_sends_nothing(double: SendGridDouble) -> None:
    ref, sandbox = _ref(), {"sandbox_mode": {"enable": True}}
    assert _post(double, _mail(ref, mail_settings=sandbox)).status == 200
    assert ref in double.checked()
    assert ref not in _refs(double)
    assert _post(double, _mail(subject="", mail_settings=sandbox)).status == 400


# What is not valid is refused


def _settings(kind: str, name: str, **inner: Any) -> dict[str, Any]:
    return _mail(**{kind: {name: inner}})


SOON = 72 * 3600 + 600
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown field": (_mail(preheader="x"), "preheader"),
    "an unknown field of a personalization": (_to(categories=["a"]), "personalizations.0.categories"),
    "no personalizations": (_mail(personalizations=None), "personalizations"),
    "empty personalizations": (_mail(personalizations=[]), "personalizations"),
    "personalizations that are no list": (_mail(personalizations={}), "personalizations"),
    "1001 personalizations": (
        _mail(personalizations=[{"to": [{"email": f"l{n}@example.com"}]} for n in range(1001)]),
        "personalizations",
    ),
    "1001 recipients": (
        _to(
            to=[{"email": f"t{n}@example.com"} for n in range(500)],
            cc=[{"email": f"c{n}@example.com"} for n in range(500)],
            bcc=[{"email": "b@example.com"}],
        ),
        "personalizations",
    ),
    "a recipient twice": (_to(cc=[{"email": "ADA@example.com"}]), "personalizations"),
    "a recipient in two personalizations": (
        _mail(personalizations=[{"to": [{"email": "ada@example.com"}]}] * 2),
        "personalizations",
    ),
    "no recipient": (_mail(personalizations=[{"subject": "x"}]), "personalizations.0.to"),
    "an empty list of recipients": (_to(to=[]), "personalizations.0.to"),
    "an address without a domain": (_to(to=[{"email": "ada"}]), "personalizations.0.to.0.email"),
    "an address with a space": (_to(to=[{"email": "a b@example.com"}]), "personalizations.0.to.0.email"),
    "an address with a line break": (
        _to(to=[{"email": "a@example.com\r\nBcc: b@example.com"}]),
        "personalizations.0.to.0.email",
    ),
    "an address that ends in a line break": (
        _to(to=[{"email": "a@example.com\n"}]),
        "personalizations.0.to.0.email",
    ),
    "an address with its name": (_to(to=[{"email": "A <a@example.com>"}]), "personalizations.0.to.0.email"),
    "an address outside ASCII": (_to(to=[{"email": "ada@bücher.example"}]), "personalizations.0.to.0.email"),
    "an address with two dots": (_to(to=[{"email": "a..b@example.com"}]), "personalizations.0.to.0.email"),
    "an empty address": (_to(to=[{"email": ""}]), "personalizations.0.to.0.email"),
    "no address": (_to(to=[{"name": "Ada"}]), "personalizations.0.to.0.email"),
    "an address of 321 characters": (
        _to(to=[{"email": f"{'a' * 69}@" + ".".join(["b" * 61] * 4) + ".cde"}]),
        "personalizations.0.to.0.email",
    ),
    "a recipient's name with a comma": (
        _to(to=[{"email": "a@example.com", "name": "Lovelace, Ada"}]),
        "personalizations.0.to.0.name",
    ),
    "a cc's name with a semicolon": (
        _to(cc=[{"email": "b@example.com", "name": "a;b"}]),
        "personalizations.0.cc.0.name",
    ),
    "a bcc's name with a comma": (
        _to(bcc=[{"email": "b@example.com", "name": "a,b"}]),
        "personalizations.0.bcc.0.name",
    ),
    "a name with a line break": (
        _to(to=[{"email": "a@example.com", "name": "Ada\r\nBcc: b@example.com"}]),
        "personalizations.0.to.0.name",
    ),
    "a name that is no string": (
        _to(to=[{"email": "a@example.com", "name": None}]),
        "personalizations.0.to.0.name",
    ),
    "no sender": (_mail(**{"from": None}), "from"),
    "a sender who is a string": (_mail(**{"from": "team@example.com"}), "from"),
    "a sender outside ASCII": (_mail(**{"from": {"email": "t@example.com", "name": "Jörg"}}), "from.name"),
    "a sender of one personalization": (_to(**{"from": {"email": "no"}}), "personalizations.0.from.email"),
    "a bad reply_to": (_mail(reply_to={"email": "no"}), "reply_to.email"),
    "reply_to and its list": (
        _mail(reply_to={"email": "a@example.com"}, reply_to_list=[{"email": "b@example.com"}]),
        "reply_to_list",
    ),
    "1001 to reply to": (
        _mail(reply_to_list=[{"email": f"r{n}@example.com"} for n in range(1001)]),
        "reply_to_list",
    ),
    "somebody twice to reply to": (_mail(reply_to_list=[{"email": "a@example.com"}] * 2), "reply_to_list"),
    "no subject": (_mail(subject=None), "subject"),
    "an empty subject": (_mail(subject=""), "subject"),
    "a subject with a line break": (_mail(subject="Hi\r\nBcc: b@example.com"), "subject"),
    "an empty subject of one personalization": (_to(subject=""), "personalizations.0.subject"),
    "no content": (_mail(content=None), "content"),
    "empty content": (_mail(content=[]), "content"),
    "a part without value": (_mail(content=[{"type": "text/plain", "value": ""}]), "content.0.value"),
    "a part without type": (_mail(content=[{"type": "", "value": "x"}]), "content.0.type"),
    "a part with parameters": (
        _mail(content=[{"type": "text/html; charset=utf-8", "value": "x"}]),
        "content.0.type",
    ),
    "html before text": (
        _mail(content=[{"type": "text/html", "value": "x"}, {"type": "text/plain", "value": "x"}]),
        "content",
    ),
    "a calendar before html": (
        _mail(content=[{"type": "text/calendar", "value": "x"}, {"type": "text/html", "value": "x"}]),
        "content",
    ),
    "html twice": (_mail(content=[{"type": "text/html", "value": "x"}] * 2), "content"),
    "11 categories": (_mail(categories=[f"c{n}" for n in range(11)]), "categories"),
    "a category twice": (_mail(categories=["a", "a"]), "categories"),
    "a category of 256 characters": (_mail(categories=["c" * 256]), "categories"),
    "a category outside ASCII": (_mail(categories=["für"]), "categories"),
    "a category that is no string": (_mail(categories=[1]), "categories"),
    "a number as custom argument": (_to(custom_args={REF: 7}), f"personalizations.0.custom_args.{REF}"),
    "no custom arguments in the object": (_to(custom_args={}), "personalizations.0.custom_args"),
    "none in the message's object": (_mail(custom_args={}), "custom_args"),
    "custom arguments as a string": (_mail(custom_args="a"), "custom_args"),
    "10001 bytes of custom arguments, merged": (
        _mail(
            custom_args={"a": "x" * 5000},
            personalizations=[_to(custom_args={"b": "x" * 5000})["personalizations"][0]],
        ),
        "personalizations.0.custom_args",
    ),
    "a number as header": (_mail(headers={"X-A": 1}), "headers.X-A"),
    "a header with a space": (_mail(headers={"X A": "1"}), "headers.X A"),
    "a header outside ASCII": (_mail(headers={"X-Ä": "1"}), "headers.X-Ä"),
    "a header twice": (_mail(headers={"X-A": "1", "x-a": "1"}), "headers.x-a"),
    "a header value with CR LF": (
        _to(headers={"X-A": "1\r\nBcc: b@example.com"}),
        "personalizations.0.headers.X-A",
    ),
    "a header value with LF": (_mail(headers={"X-A": "1\n"}), "headers.X-A"),
    "a substitution that is a number": (
        _to(substitutions={"-a-": 1}),
        "personalizations.0.substitutions.-a-",
    ),
    "a substitution tag with a space": (_to(substitutions={"- a-": "x"}), "personalizations.0.substitutions"),
    "10001 bytes of substitutions": (
        _to(substitutions={"-a-": "x" * 9998}),
        "personalizations.0.substitutions",
    ),
    "send_at as text": (_mail(send_at="1"), "send_at"),
    "send_at as true": (_mail(send_at=True), "send_at"),
    "send_at in more than 72 hours": (_mail(send_at=int(time.time_ns() // 1e9) + SOON), "send_at"),
    "the same for one personalization": (
        _to(send_at=int(time.time_ns() // 1e9) + SOON),
        "personalizations.0.send_at",
    ),
    "a group that is text": (_mail(asm={"group_id": "7"}), "asm.group_id"),
    "no group": (_mail(asm={}), "asm.group_id"),
    "26 groups to display": (
        _mail(asm={"group_id": 1, "groups_to_display": list(range(26))}),
        "asm.groups_to_display",
    ),
    "a pool of one character": (_mail(ip_pool_name="p"), "ip_pool_name"),
    "a pool of 65 characters": (_mail(ip_pool_name="p" * 65), "ip_pool_name"),
    "a batch that is a number": (_mail(batch_id=1), "batch_id"),
    "an attachment that is not base64": (
        _mail(attachments=[{"content": "hi!", "filename": "a"}]),
        "attachments.0.content",
    ),
    "an attachment without a name": (_mail(attachments=[{"content": "aGk="}]), "attachments.0.filename"),
    "an unknown mail setting": (_settings("mail_settings", "sandbox"), "mail_settings.sandbox"),
    "sandbox mode as text": (
        _settings("mail_settings", "sandbox_mode", enable="yes"),
        "mail_settings.sandbox_mode.enable",
    ),
    "a setting that is no object": (
        _mail(mail_settings={"sandbox_mode": True}),
        "mail_settings.sandbox_mode",
    ),
    "bypasses combined": (
        _mail(
            mail_settings={
                "bypass_list_management": {"enable": True},
                "bypass_spam_management": {"enable": True},
            }
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
        f"the reserved header {name}": (_mail(headers={name: "x"}), f"headers.{name}")
        for name in (
            *(
                "x-sg-id",
                "X-SG-EID",
                "Received",
                "DKIM-Signature",
                "Content-Type",
                "Content-Transfer-Encoding",
            ),
            *("To", "From", "Subject", "Reply-To", "CC", "BCC"),
        )
    },
}


@pytest.mark.parametrize(("payload", "field"), REFUSED.values(), ids=REFUSED)
def test_what_the_api_refuses_is_refused_by_field(
    double: SendGridDouble, payload: dict[str, Any], field: str
) -> None:
    had = len(double.accepted())
    answer = _post(double, payload)
    assert answer.status == 400
    assert field in answer.fields
    error = json.loads(answer.body)["errors"][0]
    assert set(error) == {"message", "field", "help"}
    assert len(double.accepted()) == had
    assert field in [name for name, _ in double.refused()[-1].errors]


def test_a_bad_personalization_fails_its_whole_request(double: SendGridDouble) -> None:
    good, bad = _ref(), _ref()
    people = [
        {"to": [{"email": "ada@example.com"}], "custom_args": {REF: good}},
        {"to": [{"email": "no"}], "custom_args": {REF: bad}},
    ]
    assert _post(double, _mail(personalizations=people)).fields == ["personalizations.1.to.0.email"]
    assert double.refused()[-1].refs == (good, bad)
    assert good not in _refs(double)


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (401, {"Authorization": ""}),
        (401, {"Authorization": "Bearer SG.other"}),
        (401, {"Authorization": f"Basic {KEY}"}),
        (404, {"path": "/v3/mail/batch"}),
        (405, {"method": "GET"}),
        (405, {"method": "PUT"}),
        (415, {"Content_Type": ""}),
        (415, {"Content_Type": "text/plain"}),
        (415, {"Content_Type": "application/json; charset=latin-1"}),
        (415, {"Content_Encoding": "gzip"}),
    ],
)
def test_what_shows_before_the_body_is_refused_with_its_status(
    double: SendGridDouble, status: int, changes: dict[str, Any]
) -> None:
    ref = _ref()
    answer = _post(double, _mail(ref), **changes)
    assert answer.status == status
    assert json.loads(answer.body)["errors"][0]["message"]
    assert ref not in _refs(double)
    assert double.refused()[-1].status == status


@pytest.mark.parametrize(
    ("status", "raw"),
    [(400, b"{"), (400, b""), (400, b"[]"), (400, b'"\\ud800"'), (415, b'{"subject":"\xe4"}')],
)
def test_a_body_that_is_not_json_in_utf_8_is_refused(double: SendGridDouble, status: int, raw: bytes) -> None:
    assert _post(double, raw).status == status


@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_of_30_megabytes_is_refused_with_a_page(double: SendGridDouble, chunked: bool) -> None:
    ref = _ref()
    raw = json.dumps(_mail(ref, subject="x" * 30_000_000)).encode()

    async def post() -> tuple[int, str, str]:
        async def chunks() -> Any:
            for begin in range(0, len(raw), 1_000_000):
                yield raw[begin : begin + 1_000_000]

        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(double.url + _SEND, data=chunks() if chunked else io.BytesIO(raw)) as response,
        ):
            return response.status, response.content_type, await response.text()

    status, kind, page = asyncio.run(post())
    assert (status, kind) == (413, "text/html")
    assert "<center>nginx</center>" in page
    assert ref not in _refs(double)
    assert _post(double, _mail(subject="x" * 2_000_000)).status == 202


def test_the_account_says_what_exists_and_who_may(double: SendGridDouble) -> None:
    double.configure(Account(key="SG.second", denies=403))
    assert _post(double, _mail()).status == 403
    double.configure(Account(ip_pools=("marketing",), senders=("example.org", "boss@example.com")))
    assert _post(double, _mail()).status == 403
    boss = {"from": {"email": "boss@example.com"}}
    assert _post(double, _mail(**boss, ip_pool_name="marketing")).status == 202
    assert _post(double, _mail(**boss, ip_pool_name="other")).fields == ["ip_pool_name"]
    assert _post(double, _mail(**{"from": {"email": "a@example.org"}})).status == 202


# Faults


@pytest.mark.parametrize("status", [401, 403, 500, 502, 503, 504])
@pytest.mark.parametrize("after", [False, True])
def test_a_failure_comes_before_or_after_accepting(double: SendGridDouble, status: int, after: bool) -> None:
    ref = _ref()
    double.tell(Fault(what="status", status=status, after=after))
    answer = _post(double, _mail(ref))
    assert answer.status == status
    assert answer.headers.get_content_type() == ("text/html" if status > 500 else "application/json")
    assert _refs(double).count(ref) == int(after)
    assert double.faulted()[-1][:3] == ("status", after, (ref,))
    assert _post(double, _mail()).status == 202


def test_faults_wait_in_a_queue_and_are_played_in_order(double: SendGridDouble) -> None:
    double.tell(
        Fault(what="status", status=503, times=2),
        Fault(what="pass"),
        Fault(what="too_large"),
        Fault(what="too_many", seconds=7),
    )
    assert double.seen().faults_waiting == 5
    assert [_post(double, _mail()).status for _ in range(6)] == [503, 503, 202, 413, 429, 202]
    double.tell(Fault(what="status"))
    double.tell()
    assert _post(double, _mail()).status == 202


def test_a_429_says_when_to_come_back(double: SendGridDouble) -> None:
    double.tell(Fault(what="too_many", seconds=30))
    before = time.time_ns() // 10**9
    answer = _post(double, _mail())
    assert answer.status == 429
    assert 30 <= int(answer.headers["X-RateLimit-Reset"]) - before <= 41
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert json.loads(answer.body)["errors"][0]["message"] == "too many requests"


def test_a_rate_limit_counts_what_comes_and_tells_in_each_answer(double: SendGridDouble) -> None:
    double.configure(Account(limit=3, window=3600))
    answers = [_post(double, _mail()) for _ in range(5)]
    assert [answer.status for answer in answers] == [202, 202, 202, 429, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0", "0"]
    assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"3"}
    assert len({answer.headers["X-RateLimit-Reset"] for answer in answers}) == 1


def test_a_rate_limit_begins_anew_when_it_said_it_would(double: SendGridDouble) -> None:
    double.configure(Account(limit=1, window=1))
    resets = int(_post(double, _mail()).headers["X-RateLimit-Reset"])
    while (answer := _post(double, _mail())).status == 429:
        assert time.time_ns() < (resets + 5) * 10**9
    assert time.time_ns() >= resets * 10**9
    assert int(answer.headers["X-RateLimit-Reset"]) > resets


@pytest.mark.parametrize("what", ["reset_mid_body", "reset", "close"])
@pytest.mark.parametrize("after", [False, True])
def test_a_connection_ends_without_an_answer(double: SendGridDouble, what: What, after: bool) -> None:
    if after and what == "reset_mid_body":
        with pytest.raises(ValueError, match="never after"):
            Fault(what=what, after=after)
        return
    ref, big = _ref(), "x" * (20_000_000 if what == "reset_mid_body" else 9_000)
    double.tell(Fault(what=what, after=after))
    with pytest.raises(http.client.RemoteDisconnected if what == "close" else ConnectionError):
        _post(double, _mail(ref, content=[{"type": "text/plain", "value": big}]))
    played = double.faulted()[-1]
    assert (played.what, played.after, played.read is None) == (what, after, what == "reset_mid_body")
    assert _refs(double).count(ref) == int(after)


@pytest.mark.parametrize("after", [False, True])
def test_a_server_hangs_until_the_client_has_enough(double: SendGridDouble, after: bool) -> None:
    ref = _ref()
    double.tell(Fault(what="hang", after=after))
    with pytest.raises(TimeoutError):
        _post(double, _mail(ref), timeout=0.2)
    assert _refs(double).count(ref) == int(after)
    assert _post(double, _mail()).status == 202


@pytest.mark.parametrize("after", [False, True])
def test_garbage_is_no_answer(double: SendGridDouble, after: bool) -> None:
    ref = _ref()
    double.tell(Fault(what="garbage", after=after))
    with pytest.raises(http.client.BadStatusLine):
        _post(double, _mail(ref))
    assert _refs(double).count(ref) == int(after)


def _raw(double: SendGridDouble, payload: object) -> socket.socket:
    raw = json.dumps(payload).encode()
    line = socket.create_connection(("127.0.0.1", double.port), timeout=10)
    head = (
        f"POST {_SEND} HTTP/1.1\r\nHost: double\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(raw)}"
    )
    line.sendall(f"{head}\r\nContent-Type: application/json\r\n\r\n".encode() + raw)
    return line


def _all_of(line: socket.socket) -> list[bytes]:
    return list(iter(lambda: line.recv(65_536), b""))


@pytest.mark.parametrize(("status", "after"), [(202, True), (503, False), (500, True)])
def test_a_body_drips_after_its_headers(double: SendGridDouble, status: int, after: bool) -> None:
    ref = _ref()
    double.tell(Fault(what="drip_body", status=status, after=after, seconds=0.002))
    with _raw(double, _mail(ref)) as line:
        first, *drops = _all_of(line)
    assert first.startswith(b"HTTP/1.1 %d " % status)
    head = first.partition(b"\r\n\r\n")[0].decode()
    assert len(drops) > 20
    length = int(head.partition("Content-Length: ")[2].partition("\r\n")[0])
    assert len(first + b"".join(drops)) == len(head) + 4 + length
    assert _refs(double).count(ref) == int(after)


def test_headers_drip(double: SendGridDouble) -> None:
    ref = _ref()
    double.tell(Fault(what="drip_headers", status=202, after=True, seconds=0.001))
    with _raw(double, _mail(ref)) as line:
        drops = _all_of(line)
    assert drops[0] == b"H"
    assert len(drops) > 40
    assert b"".join(drops).startswith(b"HTTP/1.1 202 ")
    assert ref in _refs(double)


def test_a_fault_can_wait_for_a_message_by_name(double: SendGridDouble) -> None:
    struck, spared = f"{_ref()}:struck", _ref()
    double.tell(
        Fault(what="status", status=500, after=True, ref=r":struck$", times=2),
        Fault(what="reset_mid_body", ref=r":struck$"),
    )
    assert _post(double, _mail(spared)).status == 202
    assert [_post(double, _mail(struck)).status for _ in range(2)] == [500, 500]
    with pytest.raises(ConnectionError):
        _post(double, _mail(struck))
    assert _refs(double).count(struck) == 2


def test_chance_is_the_same_in_each_run_of_a_seed(double: SendGridDouble) -> None:
    refs = [_ref() for _ in range(60)]

    def run(seed: int, order: list[str]) -> dict[str, int]:
        double.tell(Fault(what="status", status=502, chance=0.5, seed=seed))
        return {ref: _post(double, _mail(ref)).status for ref in order}

    first = run(7, refs)
    assert run(7, refs[::-1]) == first
    assert run(8, refs) != first
    assert 10 < list(first.values()).count(502) < 50


@pytest.mark.parametrize("after", [False, True])
def test_a_client_is_killed_at_the_named_moment(double: SendGridDouble, after: bool) -> None:
    ref = _ref()
    script = (
        "import http.client, sys; "
        f"line = http.client.HTTPConnection('127.0.0.1', {double.port}); "
        "sys.stdin.readline(); "
        f"line.request('POST', '{_SEND}', {json.dumps(_mail(ref)).encode()!r}, "
        f"{{'Authorization': 'Bearer {KEY}', 'Content-Type': 'application/json'}}); "
        "line.getresponse(); print('survived')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as client:
        double.tell(Fault(what="kill", pid=client.pid, after=after))
        said, _ = client.communicate(b"go\n", timeout=20)
    assert (client.returncode, said) == (-9, b"")
    _until_logged(double, "kill", ref)
    assert _refs(double).count(ref) == int(after)


def test_nobody_is_killed_by_mistake() -> None:
    for pid in (None, 0, 1, -1):
        with pytest.raises(ValueError, match="whom to kill"):
            Fault(what="kill", pid=pid)


# Many at once, over TLS, and over restarts


def test_many_clients_at_once_are_each_answered_and_counted(double: SendGridDouble) -> None:
    refs, before = [_ref() for _ in range(400)], double.seen()
    double.configure(Account(latency_ms=5))
    assert asyncio.run(_flood(double, refs)) == [202] * 400
    after = double.seen()
    assert sorted(_refs(double)[-400:], key=str) == sorted(refs)
    assert after.requests - before.requests == 400
    assert after.connections - before.connections <= 32
    assert 2 <= after.most_at_once <= 32


async def _flood(double: SendGridDouble, refs: list[str]) -> list[int]:
    waiting, statuses = iter(refs), []
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def work() -> None:
            for ref in waiting:
                async with session.post(double.url + _SEND, json=_mail(ref)) as answer:
                    statuses.append(answer.status)

        await asyncio.gather(*(work() for _ in range(32)))
    return statuses


def test_the_log_is_numbered_without_gaps(double: SendGridDouble) -> None:
    _post(double, _mail())
    _post(double, _mail(subject=""))
    lines = [json.loads(line) for line in double.log.read_bytes().splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))


def test_a_log_outlives_its_server_and_is_carried_on_on_the_same_port(tmp_path: Path) -> None:
    log, first, second = tmp_path / "oracle.log", _ref(), _ref()
    with SendGridDouble(log) as double:
        assert _post(double, _mail(first)).status == 202
    with pytest.raises(ConnectionRefusedError):
        _post(double, _mail(second))
    double.close()
    with SendGridDouble(log, port=double.port) as again:
        assert again.port == double.port
        assert _post(again, _mail(second)).status == 202
        assert [(one.ref, one.seq, one.body) for one in again.accepted()] == [
            (first, 1, None),
            (second, 2, None),
        ]
    with log.open("ab") as unfinished:
        unfinished.write(b'{"kind":"accepted","seq":3,"re')
    assert _refs(double) == [first, second]


def test_a_server_that_cannot_start_says_why(running: SendGridDouble, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="address already in use"):
        SendGridDouble(tmp_path / "oracle.log", port=running.port)


def test_over_tls_a_client_that_verifies_is_served_and_others_are_not(tmp_path: Path) -> None:
    authority, ref = trustme.CA(), _ref()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key, trusted = (tmp_path / name for name in ("cert.pem", "key.pem", "ca.pem"))
    issued.private_key_pem.write_to_path(key)
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    authority.cert_pem.write_to_path(trusted)

    async def post(double: SendGridDouble, context: ssl.SSLContext) -> int:
        headers = {"Authorization": f"Bearer {KEY}"}
        async with (
            aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(ssl=context)) as session,
            session.post(double.url + _SEND, json=_mail(ref)) as answer,
        ):
            return answer.status

    with SendGridDouble(tmp_path / "oracle.log", certificate=certificate, private_key=key) as double:
        assert double.url.startswith("https://")
        double.tell(Fault(what="pass"), Fault(what="reset", after=True))
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            asyncio.run(post(double, ssl.create_default_context()))
        assert asyncio.run(post(double, ssl.create_default_context(cafile=trusted))) == 202
        with pytest.raises(aiohttp.ClientConnectionError):
            asyncio.run(post(double, ssl.create_default_context(cafile=trusted)))
        assert _refs(double) == [ref, ref]
