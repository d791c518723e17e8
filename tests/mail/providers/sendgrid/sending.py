"""A SendGrid double and emails to send to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from nurture.domain.delivery.receipts import Receipt
from nurture.mail.providers.sendgrid.provider import SendGridProvider
from nurture.mail.rendering.render import Address, ComposedEmail
from tests.doubles.sendgrid import KEY, Account, SendGridDouble
from tests.mail.build import PLAIN, composed

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
EMAIL = replace(composed("Hi", layout=PLAIN), installation_id="i7")


def emails(count: int) -> list[ComposedEmail]:
    return [replace(EMAIL, ref=f"touch:{n}:intro:1", to=Address("", f"n{n}@example.org")) for n in range(count)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SendGridDouble]:
    with SendGridDouble(tmp_path_factory.mktemp("double") / "sendgrid.log") as server:
        yield server


@pytest.fixture
def double(server: SendGridDouble) -> SendGridDouble:
    server.add_faults()
    server.configure(Account())
    return server


@contextmanager
def opened(double: SendGridDouble | str, **options: Any) -> Iterator[SendGridProvider]:
    url = double if isinstance(double, str) else double.url
    options = {"connect_timeout": 2.0, "read_timeout": 10.0, "total_timeout": 12.0} | options
    sendgrid = SendGridProvider(options.pop("key", SecretStr(KEY)), url=url, **options)
    try:
        yield sendgrid
    finally:
        sendgrid.close()


def sent(double: SendGridDouble, batch: Sequence[ComposedEmail] = (EMAIL,), **options: Any) -> list[Receipt]:
    with opened(double, **options) as sendgrid:
        return sendgrid.send(batch, NOW)
