"""A Postmark double and emails to send to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from nurture.domain.delivery.receipts import Receipt
from nurture.mail.providers.postmark.provider import PostmarkProvider
from nurture.mail.rendering.render import Address, ComposedEmail
from tests.doubles.postmark import TOKEN, PostmarkDouble
from tests.mail.build import PLAIN, composed

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
EMAIL = replace(composed("Hi", layout=PLAIN), installation_id="i7")


def emails(count: int, domain: str = "example.org") -> list[ComposedEmail]:
    return [replace(EMAIL, ref=f"touch:{n}:intro:1", to=Address("", f"n{n}@{domain}")) for n in range(count)]


@pytest.fixture
def double() -> Iterator[PostmarkDouble]:
    with PostmarkDouble() as double:
        yield double


@contextmanager
def opened(double: PostmarkDouble | str, token: str = TOKEN, **options: Any) -> Iterator[PostmarkProvider]:
    url = double if isinstance(double, str) else double.url
    options = {"connect_timeout": 2.0, "read_timeout": 10.0, "total_timeout": 12.0} | options
    provider = PostmarkProvider(SecretStr(token), url=url, **options)
    try:
        yield provider
    finally:
        provider.close()


def sent(double: PostmarkDouble, batch: Sequence[ComposedEmail] = (EMAIL,), **options: Any) -> list[Receipt]:
    with opened(double, **options) as provider:
        return provider.send(batch, NOW)
