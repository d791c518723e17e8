"""Check that links in emails are safe."""

from html import unescape
from typing import Final

from markupsafe import Markup

from nurture.errors import NurtureError

ALLOWED_SCHEMES: Final = ("https://", "http://", "mailto:", "tel:")
LINK_ADVICE: Final = "Begin it with https://, http://, mailto: or tel:"


class UnsafeLink(NurtureError):
    """A link in the email is unsafe. Begin it with https://, http://, mailto: or tel:."""


def is_safe_url(url: str) -> bool:
    """Return whether *url* is absolute and has an allowed scheme."""
    return url.startswith(ALLOWED_SCHEMES) or url[:8].lower().startswith(ALLOWED_SCHEMES)


def safe_link(url: object) -> object:
    """Return *url* unchanged. Raises UnsafeLink."""
    text = unescape(str(url)) if isinstance(url, Markup) else str(url)
    if is_safe_url(text):
        return url
    raise UnsafeLink(f"the link {text[:80]!r} is not allowed in an email.", f"{LINK_ADVICE}.")
