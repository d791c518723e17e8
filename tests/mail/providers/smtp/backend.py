"""The SMTP provider as the contract suite runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

from pydantic import SecretStr

from nurture.mail.providers.smtp.provider import SmtpProvider
from tests.contracts.backend import Backend
from tests.doubles.smtp import smtp_server


@contextmanager
def opened(_folder: Path) -> Iterator[Backend]:
    with smtp_server() as double:

        def delivered() -> list[EmailMessage]:
            return [mail.message for mail in double.accepted]

        # SMTP does not detect duplicates.
        yield Backend(SmtpProvider(SecretStr(double.url)), delivered, remembers_refs=False)
