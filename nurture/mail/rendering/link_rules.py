"""Say which links an email may carry."""

from __future__ import annotations

from html import unescape
from typing import Final

from markupsafe import Markup

from nurture.errors import NurtureError

ALLOWED_SCHEMES: Final = ("https://", "http://", "mailto:", "tel:")
LINK_ADVICE: Final = "Begin it with https://, http://, mailto: or tel:"


class UnsafeLink(NurtureError):
    """A link in the email leads nowhere safe. Begin it with https://, http://, mailto: or tel:."""


def is_safe_url(url: str) -> bool:
    """Tell whether *url* is absolute and of a scheme that an email may carry."""
    return url.startswith(ALLOWED_SCHEMES) or url[:8].lower().startswith(ALLOWED_SCHEMES)


def safe_link(url: object) -> object:
    """Return *url* as it is, for use in an attribute; anything but a safe link raises BadLink."""
    text = unescape(str(url)) if isinstance(url, Markup) else str(url)
    if is_safe_url(text):
        return url
    raise UnsafeLink(f"the link {text[:80]!r} is not one an email may carry. {LINK_ADVICE}.")
