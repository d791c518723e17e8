"""An SMTP server and a provider connected to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from pydantic import SecretStr

from nurture.mail.providers.smtp.provider import SmtpProvider
from tests.doubles.smtp import SMTPDouble, client_context, smtp_server

Run = Callable[..., tuple[SmtpProvider, SMTPDouble]]


@pytest.fixture
def run() -> Iterator[Run]:
    """Start a server and a provider connected to it."""
    with ExitStack() as stack:

        def start(
            url: str = "smtp://{host}:{port}", timeout: float = 5, observe: Any = str, **offers: Any
        ) -> tuple[SmtpProvider, SMTPDouble]:
            double = stack.enter_context(smtp_server(**offers))
            address = url.format(host=double.host, port=double.port)
            provider = SmtpProvider(SecretStr(address), timeout=timeout, context=client_context(), observe=observe)
            stack.callback(provider.close)
            return provider, double

        yield start
