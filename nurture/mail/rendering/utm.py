"""Add utm parameters to links, by which web analytics tell the visits of a campaign."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

Utm = Sequence[tuple[str, str]]
"""Parameters and their values, such as utm_source."""

_WEB_SCHEMES: Final = ("http://", "https://")


def add_utm(url: str, utm: Utm) -> str:
    """Return *url* with *utm* in its query. A URL with any utm parameter, or of another scheme, stays as it is."""
    if not utm or not url.lower().startswith(_WEB_SCHEMES):
        return url
    address, mark, fragment = url.partition("#")
    path, _, query = address.partition("?")
    if any(parameter.lower().startswith("utm_") for parameter in query.split("&")):
        return url
    parameters = "&".join(filter(None, (query, urlencode(utm))))
    return f"{path}?{parameters}{mark}{fragment}"
