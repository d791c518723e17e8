"""Pages behind the links of an email: unsubscribe or get less, answer a question, confirm consent.

Mail scanners open every link, so a GET changes nothing.
"""

from collections.abc import Mapping
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from nurture.domain.consent.suppression import SuppressionSource
from nurture.journey.preferences import answer_question, confirm_consent, preference_center, unsubscribe
from nurture.journey.preferences.answer_question import QuestionPage
from nurture.journey.preferences.preference_center import UNSUBSCRIBE_PAGE, Preferences
from nurture.web.auth import Visitor, VisitorDep
from nurture.web.forms import FormFields, add_months
from nurture.web.public.preference_center import FREQUENCIES
from nurture.web.site import Site, SiteDep

ONE_CLICK_FIELD: Final = "List-Unsubscribe"
ONE_CLICK: Final = "One-Click"
SOURCE_FIELD: Final = "by"
"""The form field that distinguishes our page's button from a mail program."""

LESS_FIELD: Final = "less"
"""The name of the buttons for less email, instead of none; its value is a frequency, or `PAUSE`."""

PAUSE: Final = "pause"
PAUSE_MONTHS: Final = 3
MIN_LESS_DAYS: Final = 30
"""The days between emails from which on a frequency is offered to who was about to unsubscribe."""

MAX_BUTTONS: Final = 6
"""The most answers shown as buttons; more are shown as a list."""


def show_unsubscribe(site: SiteDep, visitor: VisitorDep) -> HTMLResponse:
    """Show the unsubscribe button, and those for less email."""
    return _unsubscribe_page(site, visitor)


def submit_unsubscribe(site: SiteDep, visitor: VisitorDep, fields: FormFields) -> Response:
    """Stop all mail, by the button of the page or by the one-click POST of mail programs (RFC 8058), or send less.

    The page's button sends the same form as mail programs, plus its source. A form that asks for both stops all mail.
    """
    if not _is_one_click(fields):
        return _send_less(site, visitor, fields.get(LESS_FIELD, "")) or _unsubscribe_page(site, visitor, status=400)
    source = (
        SuppressionSource.PAGE if fields.get(SOURCE_FIELD) == SuppressionSource.PAGE else SuppressionSource.ONE_CLICK
    )
    unsubscribe.unsubscribe(site.ctx, visitor.token, visitor.token_record, site.clock.now(), by=source)
    if source is SuppressionSource.ONE_CLICK:
        return PlainTextResponse("You are unsubscribed. We send no more email to this address.\n")
    return site.templates.response("unsubscribed.html", page=unsubscribe.load_page(site.ctx, visitor.token_record))


def _unsubscribe_page(site: Site, visitor: Visitor, *, status: int = 200) -> HTMLResponse:
    choices = preference_center.load_preferences(site.ctx, visitor.token_record, site.clock.now())
    page = unsubscribe.load_page(site.ctx, visitor.token_record)
    return site.templates.response("unsubscribe.html", status=status, page=page, less=_less_email(choices))


def _less_email(choices: Preferences) -> dict[str, str]:
    """Return the labels of what is less than the lead gets now, by the value of its button."""
    if choices.unsubscribed or not choices.address:
        return {}
    current = choices.touch_interval_days or MIN_LESS_DAYS - 1
    found = {value: label for value, (label, days) in FREQUENCIES.items() if days is not None and days > current}
    return found if choices.paused_until else {**found, PAUSE: f"No email for {PAUSE_MONTHS} months"}


def _send_less(site: Site, visitor: Visitor, chosen: str) -> HTMLResponse | None:
    """Send less email from now on; return None if *chosen* is not less than before, as for a lead that gets none."""
    now, ctx, record = site.clock.now(), site.ctx, visitor.token_record
    choices = preference_center.load_preferences(ctx, record, now)
    label = _less_email(choices).get(chosen)
    if label is None:
        return None
    if chosen == PAUSE:
        until = add_months(choices.today, PAUSE_MONTHS)
        preference_center.pause_until(ctx, record, until, choices.zone, now, by=UNSUBSCRIBE_PAGE)
    else:
        preference_center.set_touch_interval(ctx, record, FREQUENCIES[chosen][1], now, by=UNSUBSCRIBE_PAGE)
    choices = preference_center.load_preferences(ctx, record, now)
    return site.templates.response("less-email.html", page=choices, label=label, paused=chosen == PAUSE)


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
