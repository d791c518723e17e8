"""The SMTP provider: its settings, and how it is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo

from nurture.errors import Misconfigured
from nurture.mail.providers.spec import DoctorHints, ProviderSpec
from nurture.settings_model import PERCENT_ENCODING_HINT, SECRET_FILE, SettingsModel

if TYPE_CHECKING:
    from nurture.mail.providers.base import Provider


def _check_url(value: SecretStr, info: ValidationInfo) -> SecretStr:
    from nurture.mail.providers.smtp.connection import SmtpServer  # noqa: PLC0415 - only if it is set

    try:
        SmtpServer.parse(value, info.data.get("smtp_oauth"))
    except Misconfigured as error:
        if info.data.get("smtp_oauth") is not None:
            raise ValueError(error.reason) from None
        raise ValueError(
            f"it must look like smtp://user:password@smtp.example.com:587, {PERCENT_ENCODING_HINT}"
        ) from None
    return value


class SmtpSettings(SettingsModel):
    """The mail server."""

    smtp_oauth: Path | None = Field(
        default=None,
        json_schema_extra=SECRET_FILE,
        description="A JSON file with which SMTP signs in by OAuth 2.0, as Microsoft 365 and Google require; the URL "
        "then has a user and no password. See [Sign-in without a password](#sign-in-without-a-password).",
    )
    smtp_url: Annotated[SecretStr, AfterValidator(_check_url)] | None = Field(
        default=None,
        description="The SMTP server: `smtp://USER:PASSWORD@HOST:587` (STARTTLS) or `smtps://USER:PASSWORD@HOST:465` "
        "(TLS).",
    )


def _build(settings: SmtpSettings, durable: bool) -> Provider:  # noqa: ARG001, FBT001
    from nurture.mail.providers.smtp.provider import SmtpProvider  # noqa: PLC0415 - where email is sent

    assert settings.smtp_url is not None
    return SmtpProvider(settings.smtp_url, oauth=settings.smtp_oauth)


SPEC: Final = ProviderSpec(
    name="smtp",
    settings_model=SmtpSettings,
    build=_build,
    required={"smtp_url": "Write smtp://user:password@smtp.example.com:587."},
    hints=DoctorHints(
        proof="login works, and it accepts email from {senders}",
        domain="Your mail server must sign email from it (DKIM) and be listed in its SPF record.",
        bounces="the sender's mailbox",
    ),
)
