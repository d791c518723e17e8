"""The way out for leads: a page with a button, and the one click of mail programs (RFC 8058)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.responses import HTMLResponse, PlainTextResponse, Response

from nurture.domain.consent.suppression import Source
from nurture.journey.preferences import unsubscribe as preferences_unsubscribe
from nurture.web.auth import TheSite, TheVisit
from nurture.web.forms import Fields

FIELD: Final = "List-Unsubscribe"
ONE_CLICK: Final = "One-Click"
BY: Final = "by"
"""The field by which our page tells its button from a mail program."""


def ask(site: TheSite, visit: TheVisit) -> HTMLResponse:
    """Show a button. Mail scanners open every link, so that nothing may happen yet."""
    return site.look.page("unsubscribe.html", shown=preferences_unsubscribe.show_mail(site.house, visit.kept))


def unsubscribe(site: TheSite, visit: TheVisit, fields: Fields) -> Response:
    """Stop all mail. The page's button sends what mail programs send."""
    if not _clicked(fields):
        shown = preferences_unsubscribe.show_mail(site.house, visit.kept)
        return site.look.page("unsubscribe.html", status=400, shown=shown)
    by = Source.PAGE if fields.get(BY) == Source.PAGE else Source.ONE_CLICK
    preferences_unsubscribe.unsubscribe(site.house, visit.token, visit.kept, site.clock.now(), by=by)
    if by is Source.ONE_CLICK:
        return PlainTextResponse("You are unsubscribed. We write no more to this address.\n")
    return site.look.page(
        "unsubscribed.html", shown=preferences_unsubscribe.show_mail(site.house, visit.kept)
    )


def _clicked(fields: Mapping[str, str]) -> bool:
    return any(
        name.lower() == FIELD.lower() and value.lower() == ONE_CLICK.lower() for name, value in fields.items()
    )
