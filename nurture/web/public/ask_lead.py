"""The page on which a lead answers the one question that keeps it from the right rep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from nurture.journey.preferences import answer_question
from nurture.journey.preferences.answer_question import Asking
from nurture.web.auth import Site, TheSite, TheVisit
from nurture.web.forms import Fields

FEW: Final = 6
"""So many answers are buttons; more of them are a list to choose from."""


def ask(site: TheSite, visit: TheVisit) -> HTMLResponse:
    """Show the question. Mail scanners open every link, so that nothing may happen yet."""
    return _page(site, _asking(answer_question.show(site.house, visit.kept)))


def answer(site: TheSite, visit: TheVisit, fields: Fields) -> HTMLResponse:
    """Keep the answer; ask again where it is not clear."""
    shown = _asking(answer_question.show(site.house, visit.kept))
    value = answer_question.read(shown.question, fields.get("other") or fields.get("answer", ""))
    if value is None:
        return _page(site, shown, status=422, given=fields)
    answer_question.answer(site.house, visit.kept, shown, value, site.clock.now())
    return site.look.page("ask-done.html", shown=shown)


def _asking(shown: Asking | None) -> Asking:
    if shown is None:
        raise HTTPException(404)
    return shown


def _page(
    site: Site, shown: Asking, *, status: int = 200, given: Mapping[str, str] | None = None
) -> HTMLResponse:
    question = shown.question
    buttons = question.options if len(question.options) <= FEW else ()
    return site.look.page(
        "ask.html",
        status=status,
        shown=shown,
        buttons=buttons,
        first=[option for option in question.options if option[0] in question.first],
        options=[] if buttons else question.options,
        fault="Choose an answer, or write one." if status != 200 else "",
        given=given or {},
    )
