"""The SendGrid provider against a strict SendGrid double, over real sockets."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt, Rejected, Unknown
from nurture.errors import Misconfigured
from nurture.mail.providers.sendgrid.provider import SendGridProvider
from nurture.mail.rendering.render import Address
from tests.doubles.sendgrid import KEY, Account, Fault, SendGridDouble
from tests.mail.providers.sendgrid import sending
from tests.mail.providers.sendgrid.sending import EMAIL, NOW, emails, opened, sent

server, double = sending.server, sending.double


def test_each_email_is_one_request_with_its_own_id(double: SendGridDouble) -> None:
    before = len(double.accepted())
    batch = emails(50)
    receipts = sent(double, batch)
    accepted = {one.ref: one for one in double.accepted()[before:]}
    assert [accepted[f"i7:{email.ref}"].to for email in batch] == [email.to.email for email in batch]
    assert receipts == [Accepted(accepted[f"i7:{email.ref}"].message_id) for email in batch]


def test_connections_are_reused_and_concurrency_is_limited(tmp_path: Path) -> None:
    with (
        SendGridDouble(tmp_path / "log", Account(latency_ms=2)) as double,
        opened(double, max_concurrency=4) as sendgrid,
    ):
        for _ in range(5):
            sendgrid.send(emails(20), NOW)
        assert double.traffic().requests == 100
        assert double.traffic().connections <= 4
        assert double.traffic().peak_concurrency == 4


def test_a_connection_that_was_closed_while_idle_is_not_used_again(tmp_path: Path) -> None:
    with SendGridDouble(tmp_path / "log") as first, opened(first) as sendgrid:
        assert isinstance(sendgrid.send([EMAIL], NOW)[0], Accepted)
        port = first.port
        first.close()
        with SendGridDouble(tmp_path / "log", port=port):
            assert isinstance(sendgrid.send([EMAIL], NOW)[0], Accepted)


def test_threads_share_one_provider_and_its_concurrency_limit(tmp_path: Path) -> None:
    with (
        SendGridDouble(tmp_path / "log", Account(latency_ms=2)) as double,
        opened(double, max_concurrency=4) as sendgrid,
    ):
        with ThreadPoolExecutor(4) as pool:
            batches = list(pool.map(lambda _: sendgrid.send(emails(25), NOW), range(4)))
        assert all(isinstance(receipt, Accepted) for batch in batches for receipt in batch)
        assert double.traffic().peak_concurrency <= 4


def test_a_refused_email_does_not_affect_the_others(double: SendGridDouble) -> None:
    batch = emails(9)
    batch[2] = replace(batch[2], to=Address("", "a..b@example.org"))
    batch[5] = replace(batch[5], subject="")
    receipts = sent(double, batch)
    assert [n for n, receipt in enumerate(receipts) if not isinstance(receipt, Accepted)] == [2, 5]
    assert "address" in receipts[2].reason  # type: ignore[union-attr]
    assert receipts[5] == Rejected("the subject is empty")


def test_large_emails_and_all_scripts_are_accepted(double: SendGridDouble) -> None:
    big = replace(EMAIL, written_html="<p>zwölf 🚀 田中</p>" * 100_000)
    odd = replace(
        EMAIL, to=Address("Doe, John; 田中", "aoife@bücher.example"), sender=Address("Zoë", "mara@example.com")
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
        (Fault(what="status", status=500), Unknown),
        (Fault(what="status", status=500, after=True), Unknown),
        (Fault(what="status", status=502), Unknown),
        (Fault(what="status", status=504, after=True), Unknown),
        (Fault(what="reset_mid_body"), Unknown),
        (Fault(what="reset"), Unknown),
        (Fault(what="reset", after=True), Unknown),
        (Fault(what="close"), Unknown),
        (Fault(what="close", after=True), Unknown),
        (Fault(what="garbage"), Unknown),
        (Fault(what="garbage", after=True), Unknown),
        (Fault(what="drip_body", status=202, seconds=60, after=True), Accepted),
    ],
    ids=lambda value: f"{value.what} {value.status}{' after' * value.after}" if isinstance(value, Fault) else "",
)
def test_each_fault_has_its_receipt(double: SendGridDouble, fault: Fault, kind: type[Receipt]) -> None:
    double.add_faults(fault)
    with opened(double) as sendgrid:
        assert isinstance(sendgrid.send([EMAIL], NOW)[0], kind)
        assert isinstance(sendgrid.send([EMAIL], NOW)[0], Accepted)


@pytest.mark.parametrize("status", [400, 500])
def test_a_refusal_counts_even_if_its_body_is_slow(double: SendGridDouble, status: int) -> None:
    double.add_faults(Fault(what="drip_body", status=status, seconds=0.001))
    (receipt,) = sent(double)
    assert isinstance(receipt, Rejected if status == 400 else Unknown)
    double.add_faults(Fault(what="drip_body", status=status, seconds=60))
    (receipt,) = sent(double, total_timeout=0.3)
    assert isinstance(receipt, Rejected if status == 400 else Unknown)


@pytest.mark.parametrize("what", ["hang", "drip_headers"])
def test_a_missing_response_is_unknown(double: SendGridDouble, what: Any) -> None:
    double.add_faults(Fault(what=what, after=True))
    (receipt,) = sent(double, read_timeout=0.3, total_timeout=0.4)
    assert receipt == Unknown("the response timed out: SendGrid may have accepted the email")


@pytest.mark.parametrize(
    ("account", "named"),
    [
        (Account(key="SG.another"), "NURTURE_SENDGRID_KEY"),
        (Account(key="SG.another", denied_status=403), "permission Mail Send"),
        (Account(senders=("example.net",)), "sender.email` in templates/defaults.yaml"),
    ],
)
def test_a_wrong_key_or_sender_stops_the_batch_and_is_named(
    double: SendGridDouble, account: Account, named: str
) -> None:
    double.configure(account)
    before = double.traffic().requests
    receipts = sent(double, emails(40), max_concurrency=2)
    assert all(isinstance(receipt, NotSent) and receipt.blocks_all != receipt.blocks_sender for receipt in receipts)
    assert all(named in receipt.reason for receipt in receipts if isinstance(receipt, NotSent))
    assert double.traffic().requests - before <= 2
    with opened(double) as sendgrid, pytest.raises(Misconfigured, match=named.replace(".", r"\.")):
        sendgrid.check(EMAIL, NOW)


def test_a_429_stops_the_batch_until_the_reset(double: SendGridDouble) -> None:
    now = datetime.fromtimestamp(double_time(double), UTC)
    double.add_faults(*[Fault(what="pass")] * 3, Fault(what="too_many", seconds=5))
    before = double.traffic().requests
    with opened(double, max_concurrency=1) as sendgrid:
        receipts = sendgrid.send(emails(10), now)
        assert [type(receipt) for receipt in receipts] == [Accepted] * 3 + [NotSent] * 7
        (opens,) = {receipt.retry_at for receipt in receipts[3:] if isinstance(receipt, NotSent)}
        assert opens is not None
        assert now < opens
        assert all(isinstance(receipt, NotSent) and receipt.blocks_all for receipt in receipts[3:])
        assert double.traffic().requests - before == 4
        assert isinstance(sendgrid.send([EMAIL], opens - timedelta(seconds=1))[0], NotSent)
        assert double.traffic().requests - before == 4
        assert isinstance(sendgrid.send([EMAIL], opens)[0], Accepted)


def double_time(double: SendGridDouble) -> float:
    """Return the time of the double's clock."""
    sent(double)
    return double.accepted()[-1].time


def test_no_more_calls_start_than_the_limit_leaves(double: SendGridDouble) -> None:
    now = datetime.fromtimestamp(double_time(double), UTC)
    double.configure(Account(limit=30, window=600, latency_ms=1))
    before = double.traffic().requests
    with opened(double, max_concurrency=8) as sendgrid:
        first = sendgrid.send(emails(50), now)
        again = sendgrid.send(emails(5), now)
    assert [type(receipt) for receipt in first].count(Accepted) == 30
    held_calls = [receipt for receipt in (*first, *again) if isinstance(receipt, NotSent)]
    assert len(held_calls) == 25
    assert all(receipt.blocks_all and receipt.retry_at is not None for receipt in held_calls)
    assert double.traffic().requests - before == 30


def test_five_unknown_outcomes_in_a_row_stop_the_batch(double: SendGridDouble) -> None:
    double.add_faults(*[Fault(what="status", status=502)] * 4, Fault(what="pass"), *[Fault(what="reset")] * 5)
    receipts = sent(double, emails(20), max_concurrency=1)
    assert [type(receipt) for receipt in receipts] == [Unknown] * 4 + [Accepted] + [Unknown] * 5 + [NotSent] * 10
    assert isinstance(receipts[-1], NotSent)
    assert (receipts[-1].retry_at, receipts[-1].blocks_all) == (NOW + timedelta(seconds=60), True)


def test_the_observer_gets_bytes_sent_and_then_response_read(double: SendGridDouble) -> None:
    observed: list[str] = []
    sent(double, emails(2), observe=observed.append, max_concurrency=1)
    assert observed == ["bytes sent", "response read"] * 2
    double.add_faults(Fault(what="reset"))
    sent(double, observe=observed.append)
    assert observed[4:] == ["bytes sent"]


def test_check_validates_an_email_and_delivers_none(double: SendGridDouble) -> None:
    before = len(double.accepted())
    with opened(double) as sendgrid:
        sendgrid.check(EMAIL, NOW)
    assert len(double.accepted()) == before
    assert double.checked()[-1] == f"i7:{EMAIL.ref}"


@pytest.mark.parametrize(
    ("options", "named"),
    [({"ip_pool": "nowhere"}, "NURTURE_SENDGRID_IP_POOL"), ({"url": "/elsewhere"}, "NURTURE_SENDGRID_URL")],
)
def test_check_names_the_wrong_setting(double: SendGridDouble, options: dict[str, Any], named: str) -> None:
    double.configure(Account(ip_pools=("touches",)))
    url = double.url + options.pop("url", "")
    with opened(url, **options) as sendgrid, pytest.raises(Misconfigured, match=named):
        sendgrid.check(EMAIL, NOW)


def test_closing_ends_the_thread_and_sending_reopens(double: SendGridDouble) -> None:
    sendgrid = SendGridProvider(SecretStr(KEY), url=double.url)
    sendgrid.close()
    for _ in range(2):
        assert isinstance(sendgrid.send([EMAIL], NOW)[0], Accepted)
        sendgrid.close()
        sendgrid.close()
    assert [thread for thread in threading.enumerate() if thread.name == "sendgrid"] == []


def test_closing_during_a_batch_is_unknown_only_where_bytes_were_sent(double: SendGridDouble) -> None:
    double.add_faults(*[Fault(what="hang")] * 2)
    left = threading.Semaphore(0)
    with opened(double, max_concurrency=2, observe=lambda _: left.release()) as sendgrid, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(sendgrid.send, emails(6), NOW)
        assert left.acquire(timeout=10)
        assert left.acquire(timeout=10)
        sendgrid.close()
        assert [type(receipt) for receipt in sending.result(timeout=10)] == [Unknown] * 2 + [NotSent] * 4


def test_a_naive_time_is_refused(double: SendGridDouble) -> None:
    with opened(double) as sendgrid, pytest.raises(ValueError, match="aware"):
        sendgrid.send([EMAIL], NOW.replace(tzinfo=None))
