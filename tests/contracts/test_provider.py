"""The contract of every email provider. A new provider adds one entry to BACKENDS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email import headerregistry, message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from nurture.domain.delivery.receipts import Accepted, Rejected
from nurture.mail.providers.base import Provider
from nurture.mail.providers.maildir.provider import MaildirProvider
from nurture.mail.providers.sendgrid.provider import SendGridProvider
from nurture.mail.providers.smtp.provider import SmtpProvider
from nurture.mail.rendering.render import Address
from tests.doubles.sendgrid import KEY, SendGridDouble
from tests.doubles.smtp import smtp_server
from tests.mail.build import PLAIN, composed

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
EMAIL = composed("Hi {{ lead.first_name }}, zwölf Boxkämpfer 🚀", subject="Für {{ lead.last_name }}", layout=PLAIN)


@dataclass(frozen=True)
class Backend:
    """A provider, and the emails it delivered; the Message-ID of each is the id of its receipt.

    *remembers_refs*: the provider detects duplicates. Without it, an email sent twice is delivered twice: only
    the outbox, which never resends an email with an unknown outcome, prevents the second copy.
    """

    provider: Provider
    delivered: Callable[[], list[EmailMessage]]
    remembers_refs: bool


@contextmanager
def maildir(folder: Path) -> Iterator[Backend]:
    def delivered() -> list[EmailMessage]:
        files = sorted((folder / "new").iterdir())
        return [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]

    yield Backend(MaildirProvider(folder), delivered, remembers_refs=True)


@contextmanager
def sendgrid(folder: Path) -> Iterator[Backend]:
    with SendGridDouble(folder / "sendgrid.log", bodies=True) as double:

        def delivered() -> list[EmailMessage]:
            return [_as_message(one.body or {}, one.message_id) for one in double.accepted()]

        # SendGrid has no idempotency key.
        yield Backend(SendGridProvider(SecretStr(KEY), url=double.url), delivered, remembers_refs=False)


def _as_message(payload: dict[str, Any], message_id: str) -> EmailMessage:
    """Build the email that SendGrid would deliver for *payload*."""
    (person,) = payload["personalizations"]
    message = EmailMessage(policy=policy.default)
    message["Message-ID"] = message_id
    message["Subject"] = payload["subject"]
    for header, (party,) in (("From", [payload["from"]]), ("To", person["to"])):
        message[header] = headerregistry.Address(party.get("name", ""), addr_spec=party["email"])
    for header, value in person["headers"].items():
        message[header] = value
    plain, html = payload["content"]
    message.set_content(plain["value"])
    message.add_alternative(html["value"], subtype="html")
    return message


@contextmanager
def smtp(_folder: Path) -> Iterator[Backend]:
    with smtp_server() as double:

        def delivered() -> list[EmailMessage]:
            return [mail.message for mail in double.accepted]

        # SMTP does not detect duplicates.
        yield Backend(SmtpProvider(SecretStr(double.url)), delivered, remembers_refs=False)


BACKENDS: dict[str, Callable[[Path], AbstractContextManager[Backend]]] = {
    "maildir": maildir,
    "sendgrid": sendgrid,
    "smtp": smtp,
}


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    with BACKENDS[request.param](tmp_path) as backend:
        yield backend
        backend.provider.close()


@pytest.fixture
def provider(backend: Backend) -> Provider:
    return backend.provider


def test_an_empty_batch_has_no_receipts(provider: Provider) -> None:
    assert provider.send([], NOW) == []


def test_each_email_has_its_receipt_in_order(backend: Backend) -> None:
    batch = [replace(EMAIL, ref=f"touch:{n}:intro:1", to=Address("", f"n{n}@example.org")) for n in range(20)]
    receipts = backend.provider.send(batch, NOW)
    assert all(isinstance(receipt, Accepted) for receipt in receipts)
    sent_to = {message["Message-ID"]: message["To"] for message in backend.delivered()}
    ids = [receipt.remote_id for receipt in receipts if isinstance(receipt, Accepted)]
    assert [sent_to[provider_id] for provider_id in ids] == [email.to.email for email in batch]


def test_what_arrives_is_what_was_composed(backend: Backend) -> None:
    backend.provider.send([EMAIL], NOW)
    (message,) = backend.delivered()
    assert message["Subject"] == "Für O'Neil"
    assert str(message["From"].addresses[0]) == "Northwind <mara@example.com>"
    assert message["To"].addresses[0].display_name == "Aoife O'Neil"
    assert message["List-Unsubscribe"] == EMAIL.headers[0][1]
    text, html = message.iter_parts()
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert text.get_content().split() == EMAIL.text.split()
    assert html.get_content().splitlines() == EMAIL.html.splitlines()


def test_the_same_ref_is_delivered_once_if_the_provider_detects_duplicates(backend: Backend) -> None:
    first = backend.provider.send([EMAIL, EMAIL], NOW)
    again = backend.provider.send([replace(EMAIL, text="changed")], NOW + timedelta(hours=1))
    assert all(isinstance(receipt, Accepted) for receipt in (*first, *again))
    if backend.remembers_refs:
        assert first[0] == first[1] == again[0]
    assert len(backend.delivered()) == (1 if backend.remembers_refs else 3)


def test_an_invalid_email_is_rejected_and_the_others_are_sent(backend: Backend) -> None:
    bad = replace(EMAIL, ref="touch:2:intro:1", text="a lone surrogate: \ud83d")
    receipts = backend.provider.send([EMAIL, bad, replace(EMAIL, ref="touch:3:intro:1")], NOW)
    assert [type(receipt) for receipt in receipts] == [Accepted, Rejected, Accepted]
    assert len(backend.delivered()) == 2


def test_a_batch_larger_than_the_concurrency_is_sent(backend: Backend) -> None:
    count = min(2 * backend.provider.max_concurrency + 1, 200)
    batch = [replace(EMAIL, ref=f"touch:{n}:intro:1", to=Address("", f"n{n}@example.org")) for n in range(count)]
    assert all(isinstance(receipt, Accepted) for receipt in backend.provider.send(batch, NOW))
    assert len(backend.delivered()) == count


def test_a_check_delivers_nothing(backend: Backend) -> None:
    backend.provider.check(EMAIL, NOW)
    assert backend.delivered() == []


def test_a_provider_has_a_name_and_may_be_closed_twice(provider: Provider) -> None:
    assert provider.name
    provider.close()
    provider.close()
