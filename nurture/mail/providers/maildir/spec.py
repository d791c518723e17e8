"""The maildir provider: its settings, and how it is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import Field

from nurture.mail.providers.spec import ProviderSpec
from nurture.settings_model import Folder, SettingsModel

if TYPE_CHECKING:
    from nurture.mail.providers.base import Provider


class MaildirSettings(SettingsModel):
    """Where the files are written."""

    maildir: Folder = Field(
        default=Path("maildir"),
        description="The folder in which the provider `maildir` writes email: a Maildir, and `html/` for the browser.",
    )


def _build(settings: MaildirSettings, durable: bool) -> Provider:  # noqa: FBT001
    from nurture.mail.providers.maildir.provider import MaildirProvider  # noqa: PLC0415 - where email is sent

    return MaildirProvider(settings.maildir, html_copies=True, durable=durable)


SPEC: Final = ProviderSpec(
    name="maildir", settings_model=MaildirSettings, build=_build, folder=lambda settings: settings.maildir
)
