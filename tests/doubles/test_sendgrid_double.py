"""The SendGrid double applies the API's rules and the scripted faults, and logs every event."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from tests.doubles.sendgrid import KEY, REF, Account, Fault, FaultKind, SendGridDouble
from tests.doubles.sendgrid_requests import SEND, make_mail, next_ref, post


def _refs(double: SendGridDouble) -> list[str | None]:
    return [one.ref for one in double.accepted()]


def _until_logged(double: SendGridDouble, what: FaultKind, ref: str) -> None:
    """Another process needs real time to write."""
    ends = time.monotonic() + 10
    while not any(fault.what == what and ref in fault.refs for fault in double.faulted()):
        assert time.monotonic() < ends, f"{what} was never played"


# What is valid is accepted, and written down first


def test_a_valid_mail_is_accepted_with_an_id_and_an_empty_body(double: SendGridDouble) -> None:
    mail, before = make_mail(), time.monotonic()
    answer = post(double, mail)
    after = time.monotonic()
    assert (answer.status, answer.body) == (202, b"")
    last = double.accepted()[-1]
    assert last.ref == mail["personalizations"][0]["custom_args"][REF]
    assert (last.to, last.message_id) == ("ada@example.com", answer.headers["X-Message-Id"])
    assert before < last.read < after
    assert last.body is None
    assert not [name for name in answer.headers if name.lower().startswith("x-ratelimit")]


def test_bodies_are_stored_on_request(tmp_path: Path) -> None:
    people = [{"to": [{"email": f"{name}@example.com"}]} for name in ("a", "b")]
    with SendGridDouble(tmp_path / "oracle.log", bodies=True) as double:
        assert post(double, make_mail(personalizations=people)).status == 202
        assert [one.body for one in double.accepted()] == [make_mail(personalizations=[one]) for one in people]


def test_each_personalization_is_a_line_with_the_arguments_merged(double: SendGridDouble) -> None:
    first, second = next_ref(), next_ref()
    people: list[dict[str, Any]] = [{"to": [{"email": f"{name}@example.com"}]} for name in ("a", "b")]
    people[1]["custom_args"] = {REF: second}
    answer = post(double, make_mail(personalizations=people, custom_args={REF: first}))
    lines = double.accepted()[-2:]
    assert [(line.ref, line.to) for line in lines] == [(first, "a@example.com"), (second, "b@example.com")]
    assert {line.message_id for line in lines} == {answer.headers["X-Message-Id"]}


def test_sandbox_mode_checks_and_sends_nothing(double: SendGridDouble) -> None:
    ref, sandbox = next_ref(), {"sandbox_mode": {"enable": True}}
    assert post(double, make_mail(ref, mail_settings=sandbox)).status == 200
    assert ref in double.checked()
    assert ref not in _refs(double)
    assert post(double, make_mail(subject="", mail_settings=sandbox)).status == 400


# What is not valid is refused


def test_a_bad_personalization_fails_its_whole_request(double: SendGridDouble) -> None:
    good, bad = next_ref(), next_ref()
    people = [
        {"to": [{"email": "ada@example.com"}], "custom_args": {REF: good}},
        {"to": [{"email": "no"}], "custom_args": {REF: bad}},
    ]
    assert post(double, make_mail(personalizations=people)).fields == ["personalizations.1.to.0.email"]
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
def test_errors_before_the_body_have_their_status(double: SendGridDouble, status: int, changes: dict[str, Any]) -> None:
    ref = next_ref()
    answer = post(double, make_mail(ref), **changes)
    assert answer.status == status
    assert json.loads(answer.body)["errors"][0]["message"]
    assert ref not in _refs(double)
    assert double.refused()[-1].status == status


@pytest.mark.parametrize(
    ("status", "raw"), [(400, b"{"), (400, b""), (400, b"[]"), (400, b'"\\ud800"'), (415, b'{"subject":"\xe4"}')]
)
def test_a_body_that_is_not_json_in_utf_8_is_refused(double: SendGridDouble, status: int, raw: bytes) -> None:
    assert post(double, raw).status == status


@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_of_30_megabytes_is_refused_with_a_page(double: SendGridDouble, chunked: bool) -> None:
    ref = next_ref()
    raw = json.dumps(make_mail(ref, subject="x" * 30_000_000)).encode()

    async def upload() -> tuple[int, str, str]:
        async def chunks() -> Any:
            for begin in range(0, len(raw), 1_000_000):
                yield raw[begin : begin + 1_000_000]

        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(double.url + SEND, data=chunks() if chunked else io.BytesIO(raw)) as response,
        ):
            return response.status, response.content_type, await response.text()

    status, kind, page = asyncio.run(upload())
    assert (status, kind) == (413, "text/html")
    assert "<center>nginx</center>" in page
    assert ref not in _refs(double)
    assert post(double, make_mail(subject="x" * 2_000_000)).status == 202


def test_the_account_defines_pools_senders_and_permissions(double: SendGridDouble) -> None:
    double.configure(Account(key="SG.second", denied_status=403))
    assert post(double, make_mail()).status == 403
    double.configure(Account(ip_pools=("marketing",), senders=("example.org", "boss@example.com")))
    assert post(double, make_mail()).status == 403
    boss = {"from": {"email": "boss@example.com"}}
    assert post(double, make_mail(**boss, ip_pool_name="marketing")).status == 202
    assert post(double, make_mail(**boss, ip_pool_name="other")).fields == ["ip_pool_name"]
    assert post(double, make_mail(**{"from": {"email": "a@example.org"}})).status == 202


# Faults


@pytest.mark.parametrize("status", [401, 403, 500, 502, 503, 504])
@pytest.mark.parametrize("after", [False, True])
def test_a_fault_applies_before_or_after_accepting(double: SendGridDouble, status: int, after: bool) -> None:
    ref = next_ref()
    double.add_faults(Fault(what="status", status=status, after=after))
    answer = post(double, make_mail(ref))
    assert answer.status == status
    assert answer.headers.get_content_type() == ("text/html" if status > 500 else "application/json")
    assert _refs(double).count(ref) == int(after)
    assert double.faulted()[-1][:3] == ("status", after, (ref,))
    assert post(double, make_mail()).status == 202


def test_queued_faults_are_applied_in_order(double: SendGridDouble) -> None:
    double.add_faults(
        Fault(what="status", status=503, times=2),
        Fault(what="pass"),
        Fault(what="too_large"),
        Fault(what="too_many", seconds=7),
    )
    assert double.traffic().faults_waiting == 5
    assert [post(double, make_mail()).status for _ in range(6)] == [503, 503, 202, 413, 429, 202]
    double.add_faults(Fault(what="status"))
    double.add_faults()
    assert post(double, make_mail()).status == 202


def test_a_429_has_its_reset_time(double: SendGridDouble) -> None:
    double.add_faults(Fault(what="too_many", seconds=30))
    before = time.time_ns() // 10**9
    answer = post(double, make_mail())
    assert answer.status == 429
    after = time.time_ns() // 10**9
    assert before + 30 <= int(answer.headers["X-RateLimit-Reset"]) <= after + 31
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert json.loads(answer.body)["errors"][0]["message"] == "too many requests"


def test_a_rate_limit_counts_requests_and_is_in_each_response(double: SendGridDouble) -> None:
    double.configure(Account(limit=3, window=3600))
    answers = [post(double, make_mail()) for _ in range(5)]
    assert [answer.status for answer in answers] == [202, 202, 202, 429, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0", "0"]
    assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"3"}
    assert len({answer.headers["X-RateLimit-Reset"] for answer in answers}) == 1


def test_a_rate_limit_resets_when_its_header_says(double: SendGridDouble) -> None:
    double.configure(Account(limit=1, window=1))
    resets = int(post(double, make_mail()).headers["X-RateLimit-Reset"])
    while (answer := post(double, make_mail())).status == 429:
        assert time.time_ns() < (resets + 60) * 10**9
    assert time.time_ns() >= resets * 10**9
    assert int(answer.headers["X-RateLimit-Reset"]) > resets


@pytest.mark.parametrize("what", ["reset_mid_body", "reset", "close"])
@pytest.mark.parametrize("after", [False, True])
def test_a_connection_ends_without_a_response(double: SendGridDouble, what: FaultKind, after: bool) -> None:
    if after and what == "reset_mid_body":
        with pytest.raises(ValueError, match="never after"):
            Fault(what=what, after=after)
        return
    ref, big = next_ref(), "x" * (20_000_000 if what == "reset_mid_body" else 9_000)
    double.add_faults(Fault(what=what, after=after))
    with pytest.raises(http.client.RemoteDisconnected if what == "close" else ConnectionError):
        post(double, make_mail(ref, content=[{"type": "text/plain", "value": big}]))
    played = double.faulted()[-1]
    assert (played.what, played.after, played.read is None) == (what, after, what == "reset_mid_body")
    assert _refs(double).count(ref) == int(after)


@pytest.mark.parametrize("after", [False, True])
def test_a_server_hangs_until_the_client_times_out(double: SendGridDouble, after: bool) -> None:
    ref = next_ref()
    double.add_faults(Fault(what="hang", after=after))
    with pytest.raises(TimeoutError):
        post(double, make_mail(ref), timeout=0.2)
    assert _refs(double).count(ref) == int(after)
    assert post(double, make_mail()).status == 202


@pytest.mark.parametrize("after", [False, True])
def test_garbage_is_not_http(double: SendGridDouble, after: bool) -> None:
    ref = next_ref()
    double.add_faults(Fault(what="garbage", after=after))
    with pytest.raises(http.client.BadStatusLine):
        post(double, make_mail(ref))
    assert _refs(double).count(ref) == int(after)


def _raw(double: SendGridDouble, payload: object) -> socket.socket:
    raw = json.dumps(payload).encode()
    line = socket.create_connection(("127.0.0.1", double.port), timeout=10)
    head = f"POST {SEND} HTTP/1.1\r\nHost: double\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(raw)}"
    line.sendall(f"{head}\r\nContent-Type: application/json\r\n\r\n".encode() + raw)
    return line


def _whole(line: socket.socket) -> http.client.HTTPResponse:
    answer = http.client.HTTPResponse(line)
    answer.begin()
    return answer


@pytest.mark.parametrize(("status", "after"), [(202, True), (503, False), (500, True)])
def test_a_body_drips_after_its_headers(double: SendGridDouble, status: int, after: bool) -> None:
    ref = next_ref()
    double.add_faults(Fault(what="drip_body", status=status, after=after, seconds=0.002))
    with _raw(double, make_mail(ref)) as line:
        answer = _whole(line)
        assert answer.status == status
        assert len(answer.read()) == int(answer.headers["Content-Length"]) > 20
    assert _refs(double).count(ref) == int(after)


def test_a_client_with_a_short_timeout_gets_only_the_headers(double: SendGridDouble) -> None:
    double.add_faults(Fault(what="drip_body", status=202, after=True, seconds=3600))
    with _raw(double, make_mail()) as line:
        answer = _whole(line)
        line.settimeout(0.2)
        with pytest.raises(TimeoutError):
            answer.read()


def test_headers_drip(double: SendGridDouble) -> None:
    ref = next_ref()
    double.add_faults(Fault(what="drip_headers", status=202, after=True, seconds=0.001))
    with _raw(double, make_mail(ref)) as line:
        assert _whole(line).status == 202
    assert ref in _refs(double)
    double.add_faults(Fault(what="drip_headers", status=202, after=True, seconds=3600))
    with pytest.raises(TimeoutError):
        post(double, make_mail(), timeout=0.2)


def test_a_fault_can_depend_on_a_ref(double: SendGridDouble) -> None:
    struck, spared = f"{next_ref()}:struck", next_ref()
    double.add_faults(
        Fault(what="status", status=500, after=True, ref=r":struck$", times=2),
        Fault(what="reset_mid_body", ref=r":struck$"),
    )
    assert post(double, make_mail(spared)).status == 202
    assert [post(double, make_mail(struck)).status for _ in range(2)] == [500, 500]
    with pytest.raises(ConnectionError):
        post(double, make_mail(struck))
    assert _refs(double).count(struck) == 2


def test_chance_is_the_same_in_each_run_of_a_seed(double: SendGridDouble) -> None:
    refs = [next_ref() for _ in range(60)]

    def run(seed: int, order: list[str]) -> dict[str, int]:
        double.add_faults(Fault(what="status", status=502, chance=0.5, seed=seed))
        return {ref: post(double, make_mail(ref)).status for ref in order}

    first = run(7, refs)
    assert run(7, refs[::-1]) == first
    assert run(8, refs) != first
    assert 10 < list(first.values()).count(502) < 50


@pytest.mark.parametrize("after", [False, True])
def test_a_client_is_killed_at_the_named_point(double: SendGridDouble, after: bool) -> None:
    ref = next_ref()
    script = (
        "import http.client, sys; "
        f"line = http.client.HTTPConnection('127.0.0.1', {double.port}); "
        "sys.stdin.readline(); "
        f"line.request('POST', '{SEND}', {json.dumps(make_mail(ref)).encode()!r}, "
        f"{{'Authorization': 'Bearer {KEY}', 'Content-Type': 'application/json'}}); "
        "line.getresponse(); print('survived')"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        double.add_faults(Fault(what="kill", pid=client.pid, after=after))
        output, _ = client.communicate(b"go\n", timeout=20)
    assert (client.returncode, output) == (-9, b"")
    _until_logged(double, "kill", ref)
    assert _refs(double).count(ref) == int(after)


def test_an_invalid_pid_kills_nothing() -> None:
    for pid in (None, 0, 1, -1):
        with pytest.raises(ValueError, match="whom to kill"):
            Fault(what="kill", pid=pid)


# Many at once, over TLS, and over restarts


def test_concurrent_clients_are_answered_and_counted(double: SendGridDouble) -> None:
    refs, before = [next_ref() for _ in range(400)], double.traffic()
    double.configure(Account(latency_ms=5))
    assert asyncio.run(_flood(double, refs)) == [202] * 400
    after = double.traffic()
    assert sorted(_refs(double)[-400:], key=str) == sorted(refs)
    assert after.requests - before.requests == 400
    assert after.connections - before.connections <= 32
    assert 2 <= after.peak_concurrency <= 32


async def _flood(double: SendGridDouble, refs: list[str]) -> list[int]:
    waiting, statuses = iter(refs), []
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def work() -> None:
            for ref in waiting:
                async with session.post(double.url + SEND, json=make_mail(ref)) as answer:
                    statuses.append(answer.status)

        await asyncio.gather(*(work() for _ in range(32)))
    return statuses


def test_the_log_is_numbered_without_gaps(double: SendGridDouble) -> None:
    post(double, make_mail())
    post(double, make_mail(subject=""))
    lines = [json.loads(line) for line in double.log.read_bytes().splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))


def test_a_log_is_continued_by_a_new_server_on_the_same_port(tmp_path: Path) -> None:
    log, first, second = tmp_path / "oracle.log", next_ref(), next_ref()
    with SendGridDouble(log) as double:
        assert post(double, make_mail(first)).status == 202
    with pytest.raises(ConnectionRefusedError):
        post(double, make_mail(second))
    double.close()
    with SendGridDouble(log, port=double.port) as again:
        assert again.port == double.port
        assert post(again, make_mail(second)).status == 202
        assert [(one.ref, one.seq, one.body) for one in again.accepted()] == [(first, 1, None), (second, 2, None)]
    with log.open("ab") as unfinished:
        unfinished.write(b'{"kind":"accepted","seq":3,"re')
    assert _refs(double) == [first, second]


def test_a_server_that_cannot_start_reports_the_reason(running: SendGridDouble, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="address already in use"):
        SendGridDouble(tmp_path / "oracle.log", port=running.port)


def test_tls_serves_only_clients_that_trust_the_certificate(tmp_path: Path) -> None:
    authority, ref = trustme.CA(), next_ref()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key, trusted = (tmp_path / name for name in ("cert.pem", "key.pem", "ca.pem"))
    issued.private_key_pem.write_to_path(key)
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    authority.cert_pem.write_to_path(trusted)

    async def post(double: SendGridDouble, context: ssl.SSLContext) -> int:
        headers = {"Authorization": f"Bearer {KEY}"}
        async with (
            aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(ssl=context)) as session,
            session.post(double.url + SEND, json=make_mail(ref)) as answer,
        ):
            return answer.status

    with SendGridDouble(tmp_path / "oracle.log", certificate=certificate, private_key=key) as double:
        assert double.url.startswith("https://")
        double.add_faults(Fault(what="pass"), Fault(what="reset", after=True))
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            asyncio.run(post(double, ssl.create_default_context()))
        assert asyncio.run(post(double, ssl.create_default_context(cafile=trusted))) == 202
        with pytest.raises(aiohttp.ClientConnectionError):
            asyncio.run(post(double, ssl.create_default_context(cafile=trusted)))
        assert _refs(double) == [ref, ref]
