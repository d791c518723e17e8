"""Which settings the console needs: none that opens a provider, a CRM, a mailbox or a chat."""

from typing import Final

from nurture.settings import Settings

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


def without_secrets(settings: Settings) -> Settings:
    """Return the settings that the console needs; the others have their defaults."""
    return Settings.model_construct(**{name: value for name, value in settings if name in CONSOLE_SETTINGS})
