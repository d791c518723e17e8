"""Unsubscribe a lead by the button of a page, or by the one-click POST of mail programs (RFC 8058)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.responses import HTMLResponse, PlainTextResponse, Response

from nurture.domain.consent.suppression import SuppressionSource
from nurture.journey.preferences import unsubscribe as preferences_unsubscribe
from nurture.web.auth import SiteDep, VisitorDep
from nurture.web.forms import FormFields

ONE_CLICK_FIELD: Final = "List-Unsubscribe"
ONE_CLICK: Final = "One-Click"
SOURCE_FIELD: Final = "by"
"""The form field that distinguishes our page's button from a mail program."""


def show_form(site: SiteDep, visitor: VisitorDep) -> HTMLResponse:
    """Show the unsubscribe button. Mail scanners open every link, so a GET changes nothing."""
    return site.templates.response(
        "unsubscribe.html", page=preferences_unsubscribe.load_page(site.ctx, visitor.token_record)
    )


def unsubscribe(site: SiteDep, visitor: VisitorDep, fields: FormFields) -> Response:
    """Stop all mail. The page's button sends the same form as mail programs, plus its source."""
    if not _is_one_click(fields):
        page = preferences_unsubscribe.load_page(site.ctx, visitor.token_record)
        return site.templates.response("unsubscribe.html", status=400, page=page)
    source = (
        SuppressionSource.PAGE if fields.get(SOURCE_FIELD) == SuppressionSource.PAGE else SuppressionSource.ONE_CLICK
    )
    preferences_unsubscribe.unsubscribe(site.ctx, visitor.token, visitor.token_record, site.clock.now(), by=source)
    if source is SuppressionSource.ONE_CLICK:
        return PlainTextResponse("You are unsubscribed. We send no more email to this address.\n")
    return site.templates.response(
        "unsubscribed.html", page=preferences_unsubscribe.load_page(site.ctx, visitor.token_record)
    )


def _is_one_click(fields: Mapping[str, str]) -> bool:
    return any(
        name.lower() == ONE_CLICK_FIELD.lower() and value.lower() == ONE_CLICK.lower() for name, value in fields.items()
    )
