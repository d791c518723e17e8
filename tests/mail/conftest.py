"""An SMTP server, and a provider that speaks to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from pydantic import SecretStr

from nurture.mail.providers.smtp.provider import SMTP
from tests.doubles.smtp import SMTPDouble, smtp_server, trusting

Run = Callable[..., tuple[SMTP, SMTPDouble]]


@pytest.fixture
def run() -> Iterator[Run]:
    """Start a server and a provider that speaks to it."""
    with ExitStack() as stack:

        def start(
            url: str = "smtp://{host}:{port}", timeout: float = 5, observe: Any = str, **offers: Any
        ) -> tuple[SMTP, SMTPDouble]:
            double = stack.enter_context(smtp_server(**offers))
            address = url.format(host=double.host, port=double.port)
            provider = SMTP(SecretStr(address), timeout=timeout, context=trusting(), observe=observe)
            stack.callback(provider.close)
            return provider, double

        yield start
