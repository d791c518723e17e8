"""Postmark as the contract suite runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from nurture.mail.providers.postmark.provider import PostmarkProvider
from tests.contracts.backend import Backend
from tests.doubles.postmark import TOKEN, PostmarkDouble


@contextmanager
def opened(_folder: Path) -> Iterator[Backend]:
    with PostmarkDouble() as double:

        def delivered() -> list[EmailMessage]:
            return [_as_message(one.message, one.message_id) for one in double.sent]

        # Postmark has no idempotency key.
        yield Backend(PostmarkProvider(SecretStr(TOKEN), url=double.url), delivered, remembers_refs=False)


def _as_message(sent: dict[str, Any], message_id: str) -> EmailMessage:
    """Build the email that Postmark would deliver."""
    message = EmailMessage(policy=policy.default)
    message["Message-ID"] = message_id
    for header in ("Subject", "From", "To"):
        message[header] = sent[header]
    for header in sent["Headers"]:
        message[header["Name"]] = header["Value"]
    message.set_content(sent["TextBody"])
    message.add_alternative(sent["HtmlBody"], subtype="html")
    return message
