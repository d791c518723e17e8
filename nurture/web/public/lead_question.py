"""The page on which a lead answers the one question that keeps it from the right rep."""

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
"""So many answers are buttons; more of them are a list to choose from."""


def show_question(site: SiteDep, visitor: VisitorDep) -> HTMLResponse:
    """Show the question. Mail scanners open every link, so that nothing may happen yet."""
    return _question_page(site, _require_question(answer_question.load_question(site.ctx, visitor.token_record)))


def submit_answer(site: SiteDep, visitor: VisitorDep, fields: FormFields) -> HTMLResponse:
    """Keep the answer; ask again where it is not clear."""
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
        problem="Choose an answer, or write one." if status != 200 else "",
        form=form or {},
    )
