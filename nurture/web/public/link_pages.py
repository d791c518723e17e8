"""Pages behind the links of an email: unsubscribe, answer a question, confirm consent.

Mail scanners open every link, so a GET changes nothing.
"""

from collections.abc import Mapping
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from nurture.domain.consent.suppression import SuppressionSource
from nurture.journey.preferences import answer_question, confirm_consent, unsubscribe
from nurture.journey.preferences.answer_question import QuestionPage
from nurture.web.auth import Site, SiteDep, VisitorDep
from nurture.web.forms import FormFields

ONE_CLICK_FIELD: Final = "List-Unsubscribe"
ONE_CLICK: Final = "One-Click"
SOURCE_FIELD: Final = "by"
"""The form field that distinguishes our page's button from a mail program."""

MAX_BUTTONS: Final = 6
"""The most answers shown as buttons; more are shown as a list."""


def show_unsubscribe(site: SiteDep, visitor: VisitorDep) -> HTMLResponse:
    """Show the unsubscribe button."""
    return site.templates.response("unsubscribe.html", page=unsubscribe.load_page(site.ctx, visitor.token_record))


def submit_unsubscribe(site: SiteDep, visitor: VisitorDep, fields: FormFields) -> Response:
    """Stop all mail, by the button of the page or by the one-click POST of mail programs (RFC 8058).

    The page's button sends the same form as mail programs, plus its source.
    """
    if not _is_one_click(fields):
        page = unsubscribe.load_page(site.ctx, visitor.token_record)
        return site.templates.response("unsubscribe.html", status=400, page=page)
    source = (
        SuppressionSource.PAGE if fields.get(SOURCE_FIELD) == SuppressionSource.PAGE else SuppressionSource.ONE_CLICK
    )
    unsubscribe.unsubscribe(site.ctx, visitor.token, visitor.token_record, site.clock.now(), by=source)
    if source is SuppressionSource.ONE_CLICK:
        return PlainTextResponse("You are unsubscribed. We send no more email to this address.\n")
    return site.templates.response("unsubscribed.html", page=unsubscribe.load_page(site.ctx, visitor.token_record))


def _is_one_click(fields: Mapping[str, str]) -> bool:
    return any(
        name.lower() == ONE_CLICK_FIELD.lower() and value.lower() == ONE_CLICK.lower() for name, value in fields.items()
    )


def show_question(site: SiteDep, visitor: VisitorDep) -> HTMLResponse:
    """Show the question."""
    return _question_page(site, _require_question(answer_question.load_question(site.ctx, visitor.token_record)))


def submit_answer(site: SiteDep, visitor: VisitorDep, fields: FormFields) -> HTMLResponse:
    """Save the answer; show the question again if it is invalid."""
    page = _require_question(answer_question.load_question(site.ctx, visitor.token_record))
    value = answer_question.parse_answer(page.question, fields.get("other") or fields.get("answer", ""))
    if value is None:
        return _question_page(site, page, status=422, form=fields)
    answer_question.save_answer(site.ctx, visitor.token_record, page, value, site.clock.now())
    return site.templates.response("question-done.html", page=page)


def _require_question(page: QuestionPage | None) -> QuestionPage:
    if page is None:
        raise HTTPException(404)
    return page


def _question_page(
    site: Site, page: QuestionPage, *, status: int = 200, form: Mapping[str, str] | None = None
) -> HTMLResponse:
    question = page.question
    buttons = question.options if len(question.options) <= MAX_BUTTONS else ()
    return site.templates.response(
        "question.html",
        status=status,
        page=page,
        buttons=buttons,
        suggested=[option for option in question.options if option[0] in question.preferred],
        options=[] if buttons else question.options,
        problem="Choose an answer, or enter one." if status != 200 else "",
        form=form or {},
    )


def show_consent(site: SiteDep, visitor: VisitorDep, request: Request) -> HTMLResponse:
    """Show the button, or record the consent by a POST."""
    answer = confirm_consent.confirm if request.method == "POST" else confirm_consent.load_page
    page = answer(site.ctx, visitor.token_record, site.clock.now())
    if page is None:
        raise HTTPException(404)
    return site.templates.response("confirm.html", page=page)
