"""SendGrid's provider against a strict double of SendGrid, over real sockets."""

from __future__ import annotations

import io
import logging
import pickle
import socket
import threading
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import SecretStr
from rich.console import Console
from rich.traceback import Traceback

from nurture.errors import Misconfigured
from nurture.mail.compose import Address, ComposedEmail
from nurture.mail.provider import Accepted, InDoubt, NotSent, Receipt, Rejected
from nurture.mail.sendgrid import SendGrid
from nurture.mail.sendgrid_line import Line
from tests.doubles.sendgrid import KEY, Account, Fault, SendGridDouble
from tests.mail.build import PLAIN, composed

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
EMAIL = replace(composed("Hi", layout=PLAIN), origin="i7")
SECRET = "SG.hunter2-hunter2.0123456789abcdefghijklmnopqrstuvwxyz"


def emails(count: int) -> list[ComposedEmail]:
    return [
        replace(EMAIL, ref=f"touch:{n}:intro:1", to=Address("", f"n{n}@example.org")) for n in range(count)
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SendGridDouble]:
    with SendGridDouble(tmp_path_factory.mktemp("double") / "sendgrid.log") as server:
        yield server


@pytest.fixture
def double(server: SendGridDouble) -> SendGridDouble:
    server.tell()
    server.configure(Account())
    return server


@contextmanager
def opened(double: SendGridDouble | str, **options: Any) -> Iterator[SendGrid]:
    url = double if isinstance(double, str) else double.url
    options = {"connect_timeout": 2.0, "read_timeout": 10.0, "total_timeout": 12.0} | options
    sendgrid = SendGrid(options.pop("key", SecretStr(KEY)), url=url, **options)
    try:
        yield sendgrid
    finally:
        sendgrid.close()


def sent(double: SendGridDouble, batch: Sequence[ComposedEmail] = (EMAIL,), **options: Any) -> list[Receipt]:
    with opened(double, **options) as sendgrid:
        return sendgrid.send(batch, NOW)


def test_each_email_goes_by_itself_under_its_own_id(double: SendGridDouble) -> None:
    before = len(double.accepted())
    batch = emails(50)
    receipts = sent(double, batch)
    accepted = {one.ref: one for one in double.accepted()[before:]}
    assert [accepted[f"i7:{email.ref}"].to for email in batch] == [email.to.email for email in batch]
    assert receipts == [Accepted(accepted[f"i7:{email.ref}"].message_id) for email in batch]


def test_connections_are_kept_and_no_more_than_allowed_are_out_together(tmp_path: Path) -> None:
    with (
        SendGridDouble(tmp_path / "log", Account(latency_ms=2)) as double,
        opened(double, at_once=4) as sendgrid,
    ):
        for _ in range(5):
            sendgrid.send(emails(20), NOW)
        assert double.seen().requests == 100
        assert double.seen().connections <= 4
        assert double.seen().most_at_once == 4


def test_a_connection_that_was_closed_while_idle_is_not_used_again(tmp_path: Path) -> None:
    with SendGridDouble(tmp_path / "log") as first, opened(first) as sendgrid:
        assert isinstance(sendgrid.send([EMAIL], NOW)[0], Accepted)
        port = first.port
        first.close()
        with SendGridDouble(tmp_path / "log", port=port):
            assert isinstance(sendgrid.send([EMAIL], NOW)[0], Accepted)


def test_several_threads_share_one_and_its_bound(tmp_path: Path) -> None:
    with (
        SendGridDouble(tmp_path / "log", Account(latency_ms=2)) as double,
        opened(double, at_once=4) as sendgrid,
    ):
        with ThreadPoolExecutor(4) as pool:
            batches = list(pool.map(lambda _: sendgrid.send(emails(25), NOW), range(4)))
        assert all(isinstance(receipt, Accepted) for batch in batches for receipt in batch)
        assert double.seen().most_at_once <= 4


def test_a_refused_email_never_harms_its_neighbours(double: SendGridDouble) -> None:
    batch = emails(9)
    batch[2] = replace(batch[2], to=Address("", "a..b@example.org"))
    batch[5] = replace(batch[5], subject="")
    receipts = sent(double, batch)
    assert [n for n, receipt in enumerate(receipts) if not isinstance(receipt, Accepted)] == [2, 5]
    assert "address" in receipts[2].why  # type: ignore[union-attr]
    assert receipts[5] == Rejected("the subject is empty")


def test_two_megabytes_and_every_script_go(double: SendGridDouble) -> None:
    big = replace(EMAIL, html="<p>zwölf 🚀 田中</p>" * 100_000)
    odd = replace(
        EMAIL,
        to=Address("Doe, John; 田中", "aoife@bücher.example"),
        sender=Address("Zoë", "mara@example.com"),
    )
    assert [type(receipt) for receipt in sent(double, [big, odd])] == [Accepted, Accepted]


def test_the_sandbox_accepts_and_delivers_nothing(double: SendGridDouble) -> None:
    before = len(double.accepted())
    assert isinstance(sent(double, sandbox=True)[0], Accepted)
    assert len(double.accepted()) == before


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(what="too_large"), Rejected),
        (Fault(what="status", status=400), Rejected),
        (Fault(what="status", status=500), InDoubt),
        (Fault(what="status", status=500, after=True), InDoubt),
        (Fault(what="status", status=502), InDoubt),
        (Fault(what="status", status=504, after=True), InDoubt),
        (Fault(what="reset_mid_body"), InDoubt),
        (Fault(what="reset"), InDoubt),
        (Fault(what="reset", after=True), InDoubt),
        (Fault(what="close"), InDoubt),
        (Fault(what="close", after=True), InDoubt),
        (Fault(what="garbage"), InDoubt),
        (Fault(what="garbage", after=True), InDoubt),
        (Fault(what="drip_body", status=202, seconds=60, after=True), Accepted),
    ],
    ids=lambda value: (
        f"{value.what} {value.status}{' after' * value.after}" if isinstance(value, Fault) else ""
    ),
)
def test_each_fault_is_called_what_it_proves(
    double: SendGridDouble, fault: Fault, kind: type[Receipt]
) -> None:
    double.tell(fault)
    with opened(double) as sendgrid:
        assert isinstance(sendgrid.send([EMAIL], NOW)[0], kind)
        assert isinstance(sendgrid.send([EMAIL], NOW)[0], Accepted)


@pytest.mark.parametrize("status", [400, 500])
def test_a_refusal_counts_though_its_words_come_drop_by_drop(double: SendGridDouble, status: int) -> None:
    double.tell(Fault(what="drip_body", status=status, seconds=0.001))
    (receipt,) = sent(double)
    assert isinstance(receipt, Rejected if status == 400 else InDoubt)
    double.tell(Fault(what="drip_body", status=status, seconds=60))
    (receipt,) = sent(double, total_timeout=0.3)
    assert isinstance(receipt, Rejected if status == 400 else InDoubt)


@pytest.mark.parametrize("what", ["hang", "drip_headers"])
def test_an_answer_that_does_not_come_leaves_a_doubt(double: SendGridDouble, what: Any) -> None:
    double.tell(Fault(what=what, after=True))
    (receipt,) = sent(double, read_timeout=0.3, total_timeout=0.4)
    assert receipt == InDoubt("no answer came in time: SendGrid may have taken the email")


@pytest.mark.parametrize(
    ("account", "named"),
    [
        (Account(key="SG.another"), "NURTURE_SENDGRID_KEY"),
        (Account(key="SG.another", denies=403), "permission Mail Send"),
        (Account(senders=("example.net",)), "sender.email` in templates/defaults.yaml"),
    ],
)
def test_a_wrong_key_or_sender_stops_the_batch_and_is_named(
    double: SendGridDouble, account: Account, named: str
) -> None:
    double.configure(account)
    before = double.seen().requests
    receipts = sent(double, emails(40), at_once=2)
    assert all(isinstance(receipt, NotSent) and receipt.stops for receipt in receipts)
    assert all(named in receipt.why for receipt in receipts if isinstance(receipt, NotSent))
    assert double.seen().requests - before <= 2
    with opened(double) as sendgrid, pytest.raises(Misconfigured, match=named.replace(".", r"\.")):
        sendgrid.check(EMAIL, NOW)


def test_a_429_stops_the_batch_until_the_reset(double: SendGridDouble) -> None:
    now = datetime.fromtimestamp(double_time(double), UTC)
    double.tell(*[Fault(what="pass")] * 3, Fault(what="too_many", seconds=5))
    before = double.seen().requests
    with opened(double, at_once=1) as sendgrid:
        receipts = sendgrid.send(emails(10), now)
        assert [type(receipt) for receipt in receipts] == [Accepted] * 3 + [NotSent] * 7
        (opens,) = {receipt.retry_at for receipt in receipts[3:] if isinstance(receipt, NotSent)}
        assert opens is not None
        assert now < opens
        assert all(isinstance(receipt, NotSent) and receipt.stops for receipt in receipts[3:])
        assert double.seen().requests - before == 4
        assert isinstance(sendgrid.send([EMAIL], opens - timedelta(seconds=1))[0], NotSent)
        assert double.seen().requests - before == 4
        assert isinstance(sendgrid.send([EMAIL], opens)[0], Accepted)


def double_time(double: SendGridDouble) -> float:
    """Ask the double's own clock what time it is."""
    sent(double)
    return double.accepted()[-1].time


def test_no_more_calls_start_than_the_limit_leaves(double: SendGridDouble) -> None:
    now = datetime.fromtimestamp(double_time(double), UTC)
    double.configure(Account(limit=30, window=600, latency_ms=1))
    before = double.seen().requests
    with opened(double, at_once=8) as sendgrid:
        first = sendgrid.send(emails(50), now)
        again = sendgrid.send(emails(5), now)
    assert [type(receipt) for receipt in first].count(Accepted) == 30
    held = [receipt for receipt in (*first, *again) if isinstance(receipt, NotSent)]
    assert len(held) == 25
    assert all(receipt.stops and receipt.retry_at is not None for receipt in held)
    assert double.seen().requests - before == 30


def test_five_unknown_outcomes_in_a_row_stop_the_batch(double: SendGridDouble) -> None:
    double.tell(*[Fault(what="status", status=502)] * 4, Fault(what="pass"), *[Fault(what="reset")] * 5)
    receipts = sent(double, emails(20), at_once=1)
    assert [type(receipt) for receipt in receipts] == [InDoubt] * 4 + [Accepted] + [InDoubt] * 5 + [
        NotSent
    ] * 10
    assert isinstance(receipts[-1], NotSent)
    assert (receipts[-1].retry_at, receipts[-1].stops) == (NOW + timedelta(seconds=60), True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_where_nobody_listens_nothing_was_sent() -> None:
    with opened(f"http://127.0.0.1:{free_port()}", at_once=1) as sendgrid:
        receipts = sendgrid.send(emails(8), NOW)
    assert all(isinstance(receipt, NotSent) for receipt in receipts)
    assert [receipt.stops for receipt in receipts if isinstance(receipt, NotSent)] == [False] * 5 + [True] * 3


def test_a_connection_that_does_not_come_about_in_time_is_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # TLS waits for an answer that never comes
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        with opened(url, connect_timeout=0.2) as sendgrid:
            (receipt,) = sendgrid.send([EMAIL], NOW)
    assert isinstance(receipt, NotSent)
    assert "in time" in receipt.why


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(tmp_path: Path, authority: trustme.CA) -> Iterator[SendGridDouble]:
    made = authority.issue_cert("127.0.0.1")
    certificate, private_key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made.private_key_pem.write_to_path(private_key)
    for blob in made.cert_chain_pems:
        blob.write_to_path(certificate, append=True)
    with SendGridDouble(tmp_path / "log", certificate=certificate, private_key=private_key) as double:
        yield double


def trusting(authority: trustme.CA) -> Any:
    import ssl

    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_a_certificate_that_can_be_trusted_is(secure: SendGridDouble, authority: trustme.CA) -> None:
    assert [type(one) for one in sent(secure, emails(3), ssl=trusting(authority))] == [Accepted] * 3


def test_a_certificate_of_anybody_else_stops_before_the_key_is_shown(secure: SendGridDouble) -> None:
    for context in (None, trusting(trustme.CA())):
        (receipt,) = sent(secure, ssl=context)
        assert isinstance(receipt, NotSent)
        assert receipt.stops
        assert "certificate" in receipt.why
    assert secure.seen().requests == 0


def test_a_server_without_tls_is_not_sent(double: SendGridDouble) -> None:
    with opened(double.url.replace("http:", "https:")) as sendgrid:
        (receipt,) = sendgrid.send([EMAIL], NOW)
    assert isinstance(receipt, NotSent)
    assert "TLS" in receipt.why


def test_a_proxy_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:hunter2@127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.setenv("NO_PROXY", "example.org")
        asked: list[bytes] = []

        def refuse() -> None:
            client, _ = proxy.accept()
            with client:
                asked.append(client.recv(65_536))
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        with opened("https://api.sendgrid.example") as sendgrid:
            (receipt,) = sendgrid.send([EMAIL], NOW)
        thread.join()
    assert asked[0].startswith(b"CONNECT api.sendgrid.example:443 ")
    assert b"Proxy-Authorization: Basic" in asked[0]
    assert KEY.encode() not in asked[0]
    assert receipt == NotSent("the proxy refused to connect (407). Check HTTPS_PROXY.", stops=True)


@pytest.mark.parametrize("proxy", ["http://[::1", "http://127.0.0.1:99999"])
def test_a_proxy_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with opened("https://api.sendgrid.example") as sendgrid:
        (receipt,) = sendgrid.send([EMAIL], NOW)
    assert receipt == NotSent("the proxy's address cannot be used. Check HTTPS_PROXY.", stops=True)


@pytest.mark.parametrize(
    "url", ["", "api.sendgrid.com", "ftp://a.example", "https://a.example:99999", "https://u:p@a"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured, match="NURTURE_SENDGRID_URL"):
        SendGrid(SecretStr(KEY), url=url)


def test_the_observer_hears_of_bytes_and_of_the_answer_in_this_order(double: SendGridDouble) -> None:
    heard: list[str] = []
    sent(double, emails(2), observe=heard.append, at_once=1)
    assert heard == ["bytes sent", "response read"] * 2
    double.tell(Fault(what="reset"))
    sent(double, observe=heard.append)
    assert heard[4:] == ["bytes sent"]


def test_check_proves_that_mail_could_go_and_sends_none(double: SendGridDouble) -> None:
    before = len(double.accepted())
    with opened(double) as sendgrid:
        sendgrid.check(EMAIL, NOW)
    assert len(double.accepted()) == before
    assert double.checked()[-1] == f"i7:{EMAIL.ref}"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"ip_pool": "nowhere"}, "NURTURE_SENDGRID_IP_POOL"),
        ({"url": "/elsewhere"}, "NURTURE_SENDGRID_URL"),
    ],
)
def test_check_names_the_wrong_setting(double: SendGridDouble, options: dict[str, Any], named: str) -> None:
    double.configure(Account(ip_pools=("touches",)))
    url = double.url + options.pop("url", "")
    with opened(url, **options) as sendgrid, pytest.raises(Misconfigured, match=named):
        sendgrid.check(EMAIL, NOW)


def test_check_names_the_address_where_nobody_listens() -> None:
    with (
        opened(f"http://127.0.0.1:{free_port()}") as sendgrid,
        pytest.raises(Misconfigured, match="NURTURE_SENDGRID_URL"),
    ):
        sendgrid.check(EMAIL, NOW)


def test_closing_gives_everything_back_and_sending_opens_anew(double: SendGridDouble) -> None:
    sendgrid = SendGrid(SecretStr(KEY), url=double.url)
    sendgrid.close()
    for _ in range(2):
        assert isinstance(sendgrid.send([EMAIL], NOW)[0], Accepted)
        sendgrid.close()
        sendgrid.close()
    assert [thread for thread in threading.enumerate() if thread.name == "sendgrid"] == []


def test_closing_in_the_middle_leaves_doubt_where_bytes_had_left_and_nowhere_else(
    double: SendGridDouble,
) -> None:
    double.tell(*[Fault(what="hang")] * 2)
    left = threading.Semaphore(0)
    with (
        opened(double, at_once=2, observe=lambda _: left.release()) as sendgrid,
        ThreadPoolExecutor(1) as pool,
    ):
        sending = pool.submit(sendgrid.send, emails(6), NOW)
        assert left.acquire(timeout=10)
        assert left.acquire(timeout=10)
        sendgrid.close()
        assert [type(receipt) for receipt in sending.result(timeout=10)] == [InDoubt] * 2 + [NotSent] * 4


def test_a_naive_time_is_refused(double: SendGridDouble) -> None:
    with opened(double) as sendgrid, pytest.raises(ValueError, match="aware"):
        sendgrid.send([EMAIL], NOW.replace(tzinfo=None))


@pytest.mark.parametrize("key", ["", "  ", "SG.a\nb", "SG.a b", "SG.ä"])
def test_a_key_that_cannot_stand_in_a_header_is_refused_unseen(key: str) -> None:
    with pytest.raises(Misconfigured, match="NURTURE_SENDGRID_KEY") as refused:
        SendGrid(SecretStr(key))
    assert not key.strip() or key not in str(refused.value)


def test_a_key_with_a_line_break_at_its_end_is_that_key(double: SendGridDouble) -> None:
    assert isinstance(sent(double, key=SecretStr(f"{KEY}\n"))[0], Accepted)


def test_the_key_is_in_no_log_and_no_reason(
    double: SendGridDouble, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    caplog.set_level(logging.DEBUG)
    faults = [Fault(what=what) for what in ("reset", "garbage", "close", "too_many")]
    double.configure(Account(key=SECRET))
    for fault in faults:
        double.tell(fault)
        (receipt,) = sent(double, key=SecretStr(SECRET))
        assert SECRET not in repr(receipt)
    double.configure(Account())
    assert SECRET not in repr(sent(double, key=SecretStr(SECRET)))
    assert caplog.text
    assert SECRET not in caplog.text
    assert all(SECRET not in repr(vars(record)) for record in caplog.records)


def test_the_key_is_in_no_repr_of_anything_the_provider_holds(double: SendGridDouble) -> None:
    with opened(double, key=SecretStr(SECRET)) as sendgrid:
        sendgrid.send([EMAIL], NOW)
        assert SECRET not in repr(sendgrid)
        line = sendgrid._line
        assert isinstance(line, Line)
        held: list[Any] = [sendgrid, line, line._session, line._session.connector]
        assert all(SECRET not in repr(vars(one)) for one in held[:2])
        names = {name: getattr(one, name, None) for one in held for name in dir(one) if name.startswith("_")}
        assert SECRET not in repr(names)
        assert "'Authorization': '**********'" in repr(line._session.headers)


def test_the_key_is_in_no_traceback_even_with_its_locals(double: SendGridDouble) -> None:
    with opened(double, key=SecretStr(SECRET)) as sendgrid:
        sendgrid.send([EMAIL], NOW)
        session = sendgrid._line._session  # type: ignore[union-attr]
        headers = session.headers
        try:
            assert not headers  # a crash with everything in its locals
        except AssertionError as error:
            shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
            screen = io.StringIO()
            Console(file=screen, width=300).print(
                Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
            )
        assert "Authorization" in shown
        assert "Authorization" in screen.getvalue()
        bare = SECRET.removeprefix("SG.")
        assert bare not in shown
        assert bare not in screen.getvalue()


def test_the_provider_is_never_stored_with_its_key() -> None:
    with pytest.raises(TypeError, match="key"):
        pickle.dumps(SendGrid(SecretStr(SECRET)))
