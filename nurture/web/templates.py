"""Render the HTML pages."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from nurture.clock import Clock
from nurture.domain.code_names import readable_title

_PAGES: Final = Path(__file__).parent / "pages"

TOKENS: Final = _PAGES / "tokens.css"
"""The colors, which the console shares."""

_STYLES: Final = (TOKENS, _PAGES / "style.css")

_ERROR_PAGES: Final[Mapping[int, str]] = {
    400: "bad-request.html",
    405: "not-allowed.html",
    408: "timeout.html",
    413: "too-large.html",
    429: "too-many.html",
    500: "server-error.html",
    503: "unavailable.html",
}


class Templates:
    """The templates in pages/ and their shared stylesheet."""

    def __init__(self, clock: Clock | None = None) -> None:
        """Load the templates. Pages on a virtual *clock* have a bar that shows its time."""
        style = "".join(path.read_text(encoding="utf-8") for path in _STYLES)
        self.style_hash = "sha256-" + b64encode(sha256(style.encode()).digest()).decode()
        self._pages = Environment(
            loader=FileSystemLoader(_PAGES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._pages.globals["style"] = Markup(style)  # noqa: S704 - our own file
        self._pages.filters.update(day=_format_day, readable_title=readable_title)
        self._clock = clock

    def render(self, name: str, **values: object) -> str:
        """Return a page as HTML."""
        virtual_now = self._clock.now() if self._clock is not None and not self._clock.is_live else None
        return self._pages.get_template(name).render(virtual_now=virtual_now, **values)

    def response(
        self, name: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: object
    ) -> HTMLResponse:
        """Return a page as a response."""
        return HTMLResponse(self.render(name, **values), status_code=status, headers=headers)

    def error_page(self, status: int, headers: Mapping[str, str] | None = None) -> HTMLResponse:
        """Return the error page for *status*."""
        return self.response(_ERROR_PAGES.get(status, "not-found.html"), status=status, headers=headers)


def _format_day(value: datetime) -> str:
    return f"{value:%A} {value.day} {value:%B %Y}"
