"""What every provider promises. A new backend adds one entry to BACKENDS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from nurture.mail.compose import Address
from nurture.mail.mailbox import Mailbox
from nurture.mail.provider import Accepted, Provider, Rejected
from tests.mail.build import PLAIN, composed

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
EMAIL = composed(
    "Hi {{ lead.first_name }}, zwölf Boxkämpfer 🚀", subject="Für {{ lead.last_name }}", layout=PLAIN
)


@dataclass(frozen=True)
class Backend:
    """A provider, and how to see what it delivered."""

    provider: Provider
    delivered: Callable[[], list[EmailMessage]]


def mailbox(tmp_path: Path) -> Backend:
    def delivered() -> list[EmailMessage]:
        files = sorted((tmp_path / "new").iterdir())
        return [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]

    return Backend(Mailbox(tmp_path), delivered)


BACKENDS = {"mailbox": mailbox}


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    backend = BACKENDS[request.param](tmp_path)
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
    ids = [receipt.provider_id for receipt in receipts if isinstance(receipt, Accepted)]
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


def test_the_same_ref_is_delivered_once_and_keeps_its_id(backend: Backend) -> None:
    first = backend.provider.send([EMAIL, EMAIL], NOW)
    again = backend.provider.send([replace(EMAIL, text="changed")], NOW + timedelta(hours=1))
    assert first[0] == first[1] == again[0]
    assert len(backend.delivered()) == 1


def test_a_bad_email_is_rejected_and_the_others_go(backend: Backend) -> None:
    bad = replace(EMAIL, ref="touch:2:intro:1", text="half a letter: \ud83d")
    receipts = backend.provider.send([EMAIL, bad, replace(EMAIL, ref="touch:3:intro:1")], NOW)
    assert [type(receipt) for receipt in receipts] == [Accepted, Rejected, Accepted]
    assert len(backend.delivered()) == 2


def test_a_provider_has_a_name_and_may_be_closed_twice(provider: Provider) -> None:
    assert provider.name
    provider.close()
    provider.close()
