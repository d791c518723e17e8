"""The contract of every email provider in the registry; `tests/mail/providers/NAME/backend.py` opens it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import pytest

from nurture.domain.delivery.receipts import Accepted, Rejected
from nurture.mail.providers.base import Provider
from nurture.mail.providers.registry import PROVIDERS
from nurture.mail.rendering.render import Address
from tests.contracts.backend import Backend
from tests.mail.build import PLAIN, composed

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
EMAIL = composed("Hi {{ lead.first_name }}, zwölf Boxkämpfer 🚀", subject="Für {{ lead.last_name }}", layout=PLAIN)


@pytest.fixture(params=PROVIDERS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    with import_module(f"tests.mail.providers.{request.param}.backend").opened(tmp_path) as backend:
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


def test_a_provider_has_the_name_of_its_spec_and_may_be_closed_twice(provider: Provider) -> None:
    assert provider.name in PROVIDERS
    provider.close()
    provider.close()
