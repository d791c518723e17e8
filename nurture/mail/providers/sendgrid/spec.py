"""SendGrid: its settings, how it is built, and what it posts to us."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field, SecretStr

from nurture.mail.providers.spec import DoctorHints, DryRun, EventWebhook, InboundWebhook, ProviderSpec
from nurture.settings_model import ApiUrl, SettingsModel

if TYPE_CHECKING:
    from nurture.mail.inbound.raw_mail import RawMail
    from nurture.mail.providers.base import Provider
    from nurture.mail.providers.events import EventReader
    from nurture.mail.providers.spec import WebhookVerifier


def _check_public_keys(value: SecretStr) -> SecretStr | None:
    from nurture.mail.providers.sendgrid.signature import SignatureVerifier  # noqa: PLC0415 - only if it is set

    keys = split_keys(value)
    if len(keys) > 2:
        raise ValueError("it has more than two keys")
    for number, key in enumerate(keys, 1):
        try:
            SignatureVerifier([key])
        except ValueError:
            raise ValueError(
                f"key {number} is not a public key for ECDSA on P-256. Copy the verification key from "
                "SendGrid's settings, Mail Settings, Event Webhook: it begins with MFkwEwYH"
            ) from None
    return SecretStr(",".join(keys)) if keys else None


def split_keys(keys: SecretStr | None) -> list[str]:
    """Return the keys of a webhook: one, or two during a key rotation."""
    return [key.strip() for key in (keys.get_secret_value() if keys else "").split(",") if key.strip()]


PublicKeys = Annotated[SecretStr, AfterValidator(_check_public_keys)]
"""One or two public keys: secret, because an API key is easily written in their place."""


class SendGridSettings(SettingsModel):
    """The SendGrid account."""

    sendgrid_key: SecretStr | None = Field(
        default=None, description="The SendGrid API key; it needs the permission Mail Send."
    )
    sendgrid_webhook_key: PublicKeys | None = Field(
        default=None,
        description="The verification key of SendGrid's signed Event Webhook; two, separated by a comma, "
        "while you rotate keys. Without it no events are accepted.",
    )
    sendgrid_inbound_key: PublicKeys | None = Field(
        default=None,
        description="The public key of SendGrid's Inbound Parse; two, separated by a comma, while you rotate keys. "
        "Without it no mail is accepted.",
    )
    sendgrid_url: ApiUrl = Field(
        default="https://api.sendgrid.com",
        description="The base URL of the SendGrid API; `https://api.eu.sendgrid.com` for data kept in the EU.",
    )
    sendgrid_sandbox: bool = Field(
        default=False, description="Use SendGrid's sandbox mode, which checks emails and delivers none: yes or no."
    )
    sendgrid_asm_group: int | None = Field(
        default=None, ge=1, description="The id of a SendGrid unsubscribe group, if you use one."
    )
    sendgrid_ip_pool: str | None = Field(
        default=None, min_length=2, max_length=64, description="The name of a SendGrid IP pool, if you use one."
    )


def _build(settings: SendGridSettings, durable: bool) -> Provider:  # noqa: ARG001, FBT001
    from nurture.mail.providers.sendgrid.provider import SendGridProvider  # noqa: PLC0415 - where email is sent

    assert settings.sendgrid_key is not None
    return SendGridProvider(
        settings.sendgrid_key,
        url=settings.sendgrid_url,
        sandbox=settings.sendgrid_sandbox,
        asm_group=settings.sendgrid_asm_group,
        ip_pool=settings.sendgrid_ip_pool,
    )


def _event_reader() -> EventReader:
    from nurture.mail.providers.sendgrid.events import READER  # noqa: PLC0415 - where events are received

    return READER


def _verifier(keys: SecretStr | None) -> WebhookVerifier:
    from nurture.mail.providers.sendgrid.signature import SignatureVerifier  # noqa: PLC0415 - where events are received

    return SignatureVerifier(split_keys(keys))


def _read_mail(body: IO[bytes], content_type: str) -> RawMail:
    from nurture.mail.providers.sendgrid.inbound_form import read_form  # noqa: PLC0415 - where mail is received

    return read_form(body, content_type)


def _find_dry_run(settings: SendGridSettings) -> DryRun | None:
    if not settings.sendgrid_sandbox:
        return None
    return DryRun("in sandbox mode SendGrid delivers nothing", "Unset NURTURE_SENDGRID_SANDBOX to send for real.")


SPEC: Final = ProviderSpec(
    name="sendgrid",
    settings_model=SendGridSettings,
    build=_build,
    required={"sendgrid_key": "Make an API key with the permission Mail Send in SendGrid's settings, and set it."},
    hints=DoctorHints(
        proof="the key is valid (checked in sandbox mode), and it accepts email from {senders}",
        domain="SendGrid must show it as verified under Settings, Sender Authentication.",
        bounces="SendGrid's Suppressions page",
        find_dry_run=_find_dry_run,
    ),
    batches=True,
    events=EventWebhook(
        secret="sendgrid_webhook_key",  # noqa: S106 - a name
        source="SendGrid's signed Event Webhook",
        verifier=lambda settings: _verifier(settings.sendgrid_webhook_key),
        reader=_event_reader,
    ),
    inbound=InboundWebhook(
        secret="sendgrid_inbound_key",  # noqa: S106 - a name
        source="SendGrid's Inbound Parse",
        verifier=lambda settings: _verifier(settings.sendgrid_inbound_key),
        read=_read_mail,
    ),
)
