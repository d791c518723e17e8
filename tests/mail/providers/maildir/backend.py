"""The maildir provider as the contract suite runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from nurture.mail.providers.maildir.provider import MaildirProvider
from tests.contracts.backend import Backend


@contextmanager
def opened(folder: Path) -> Iterator[Backend]:
    def delivered() -> list[EmailMessage]:
        files = sorted((folder / "new").iterdir())
        return [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]

    yield Backend(MaildirProvider(folder), delivered, remembers_refs=True)
