"""Show the question that routing needs answered, and save the lead's answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from nurture.journey.preferences import answer_question
from nurture.journey.preferences.answer_question import QuestionPage
from nurture.web.auth import Site, SiteDep, VisitorDep
from nurture.web.forms import FormFields

MAX_BUTTONS: Final = 6
"""The most answers shown as buttons; more are shown as a list."""


def show_question(site: SiteDep, visitor: VisitorDep) -> HTMLResponse:
    """Show the question. Mail scanners open every link, so a GET changes nothing."""
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
