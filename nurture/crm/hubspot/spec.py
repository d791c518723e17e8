"""HubSpot: its settings, and how it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import Field, SecretStr

from nurture.crm.spec import CrmSpec
from nurture.settings_model import ApiUrl, SettingsModel

if TYPE_CHECKING:
    from nurture.crm.base import Crm


class HubSpotSettings(SettingsModel):
    """The HubSpot account."""

    hubspot_token: SecretStr | None = Field(
        default=None,
        description="The access token of a HubSpot private app that may read and write contacts, and read owners.",
    )
    hubspot_portal: str = Field(
        default="",
        description="The number of your HubSpot account, so that briefs link to its contacts.",
        pattern=r"\d*",
    )
    hubspot_url: ApiUrl = Field(default="https://api.hubapi.com", description="The base URL of the HubSpot API.")


def _build(settings: HubSpotSettings) -> Crm:
    from nurture.crm.hubspot.crm import HubSpotCrm  # noqa: PLC0415 - where hand-offs are pushed

    assert settings.hubspot_token is not None
    return HubSpotCrm(settings.hubspot_token, url=settings.hubspot_url, portal=settings.hubspot_portal)


SPEC: Final = CrmSpec(
    name="hubspot",
    settings_model=HubSpotSettings,
    build=_build,
    required={
        "hubspot_token": "Make a private app in HubSpot's settings that may read and write contacts, and set its "
        "access token."
    },
)
