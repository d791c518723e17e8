"""Which settings the console needs: none that opens a provider, a CRM, a mailbox or a chat."""

import re
from typing import Final, NamedTuple

from pydantic import SecretStr

from nurture.settings import MODELS, Settings
from nurture.settings_model import variable_name

CONSOLE_SETTINGS: Final = frozenset(
    {
        "base_url",
        "batch_size",
        "console_host",
        "console_oidc_client",
        "console_oidc_issuer",
        "console_oidc_secret",
        "console_port",
        "console_url",
        "database_url",
        "journal_dir",
        "spool",
        "templates",
        "track_clicks",
        "trusted_proxies",
    }
)
"""What the console does is carried out by the other processes, so it knows none of their secrets."""


_LINK: Final = re.compile(r" See \[[^]]*\]\([^)]*\)\.")
"""A link to a page of the documentation, which the console does not have."""


class ShownSetting(NamedTuple):
    """A setting in force, without the value of a secret."""

    name: str
    value: str
    description: str


def list_settings(settings: Settings) -> list[ShownSetting]:
    """Return the settings that the console knows; of secrets only whether they are set."""
    values = dict(settings)
    found = []
    for model in MODELS:
        for name in model.__annotations__:
            if name in CONSOLE_SETTINGS:
                description = _LINK.sub("", model.model_fields[name].description or "").replace("`", "")
                found.append(ShownSetting(variable_name(name), _shown(values.get(name)), description))
    return found


def _shown(value: object) -> str:
    match value:
        case None | "":
            return "not set"
        case SecretStr():
            return "set, and not shown"
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)


def without_secrets(settings: Settings) -> Settings:
    """Return the settings that the console needs; the others have their defaults."""
    return Settings.model_construct(**{name: value for name, value in settings if name in CONSOLE_SETTINGS})
