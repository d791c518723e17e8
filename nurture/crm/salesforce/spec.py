"""Salesforce: its settings, and how it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import Field, SecretStr

from nurture.crm.spec import CrmSpec
from nurture.settings_model import ApiUrl, SettingsModel

if TYPE_CHECKING:
    from nurture.crm.base import Crm

_REMEDY: Final = "Make a connected app with the client credentials flow, and set its URL, key and secret."


class SalesforceSettings(SettingsModel):
    """The Salesforce org."""

    salesforce_url: ApiUrl | None = Field(
        default=None, description="Your Salesforce domain, such as `https://example.my.salesforce.com`."
    )
    salesforce_key: str | None = Field(
        default=None, description="The consumer key of a Salesforce connected app with the client credentials flow."
    )
    salesforce_secret: SecretStr | None = Field(default=None, description="The consumer secret of that connected app.")


def _build(settings: SalesforceSettings) -> Crm:
    from nurture.crm.salesforce.crm import SalesforceCrm  # noqa: PLC0415 - where hand-offs are pushed

    url, key, secret = settings.salesforce_url, settings.salesforce_key, settings.salesforce_secret
    assert url is not None
    assert key is not None
    assert secret is not None
    return SalesforceCrm(url, key, secret)


SPEC: Final = CrmSpec(
    name="salesforce",
    settings_model=SalesforceSettings,
    build=_build,
    required=dict.fromkeys(("salesforce_url", "salesforce_key", "salesforce_secret"), _REMEDY),
)
