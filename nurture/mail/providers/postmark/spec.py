"""Postmark: its settings, how it is built, and what it posts to us."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field, SecretStr

from nurture.mail.providers.spec import DoctorHints, EventWebhook, ProviderSpec
from nurture.settings_model import ApiUrl, SettingsModel

if TYPE_CHECKING:
    from nurture.mail.providers.base import Provider
    from nurture.mail.providers.events import EventReader
    from nurture.mail.providers.spec import WebhookVerifier

_MIN_PASSWORD: Final = 16
_CREDENTIAL: Final = re.compile(rf"\A[^\s:]++:\S{{{_MIN_PASSWORD},}}+")


def _check_credentials(value: SecretStr) -> SecretStr | None:
    credentials = value.get_secret_value().split()
    if len(credentials) > 2 or not all(map(_CREDENTIAL.fullmatch, credentials)):
        raise ValueError(
            f"it must be USER:PASSWORD, with a password of at least {_MIN_PASSWORD} characters and no spaces; "
            "two while you change it, with a space between them"
        )
    return SecretStr(" ".join(credentials)) if credentials else None


class PostmarkSettings(SettingsModel):
    """The server of Postmark."""

    postmark_token: SecretStr | None = Field(
        default=None, description="The token of a Postmark server, from its API Tokens."
    )
    postmark_stream: str = Field(
        default="broadcast", min_length=1, description="The id of the Postmark message stream that carries the email."
    )
    postmark_webhook_auth: Annotated[SecretStr, AfterValidator(_check_credentials)] | None = Field(
        default=None,
        description="`USER:PASSWORD`, the HTTP basic authentication of Postmark's webhook; two, separated by a space, "
        "while you change it. Without it no events are accepted.",
    )
    postmark_url: ApiUrl = Field(default="https://api.postmarkapp.com", description="The base URL of the Postmark API.")


def _build(settings: PostmarkSettings, durable: bool) -> Provider:  # noqa: ARG001, FBT001
    from nurture.mail.providers.postmark.provider import PostmarkProvider  # noqa: PLC0415 - where email is sent

    assert settings.postmark_token is not None
    return PostmarkProvider(settings.postmark_token, stream=settings.postmark_stream, url=settings.postmark_url)


def _verifier(settings: PostmarkSettings) -> WebhookVerifier:
    from nurture.mail.providers.postmark.events import BasicAuthVerifier  # noqa: PLC0415 - where events come

    assert settings.postmark_webhook_auth is not None
    return BasicAuthVerifier(settings.postmark_webhook_auth.get_secret_value().split())


def _event_reader() -> EventReader:
    from nurture.mail.providers.postmark.events import READER  # noqa: PLC0415 - where events are received

    return READER


SPEC: Final = ProviderSpec(
    name="postmark",
    settings_model=PostmarkSettings,
    build=_build,
    required={"postmark_token": "Copy the token of a server from its API Tokens, and set it."},
    hints=DoctorHints(
        proof="token and message stream are valid; Postmark checks the address of {senders} with the first email",
        domain="Postmark must show it as verified (DKIM and Return-Path) under Sender Signatures.",
        bounces="the Suppressions of the message stream",
    ),
    events=EventWebhook(
        secret="postmark_webhook_auth",  # noqa: S106 - a name
        source="Postmark's webhook",
        verifier=_verifier,
        reader=_event_reader,
    ),
)
