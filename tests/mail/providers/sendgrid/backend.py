"""SendGrid as the contract suite runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from email import headerregistry, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from nurture.mail.providers.sendgrid.provider import SendGridProvider
from tests.contracts.backend import Backend
from tests.doubles.sendgrid import KEY, SendGridDouble


@contextmanager
def opened(folder: Path) -> Iterator[Backend]:
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
