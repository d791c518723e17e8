"""Show a hand-off to its rep: to answer it, and while the lead is theirs to say how it stands or give it back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Final, assert_never

from starlette.responses import HTMLResponse

from nurture.domain.lead import MAX_REST, Closing
from nurture.domain.planning.calendar import start_of_day
from nurture.domain.planning.program import ToClosed, ToQueue, ToTrack
from nurture.domain.policy.crm_status import SalesStatus
from nurture.domain.policy.policy import RejectReason, Resume
from nurture.errors import InvalidState
from nurture.formats.numbers import read_amount
from nurture.journey.handoff import call_back, follow_up, reassign, responses
from nurture.journey.handoff.lead_profile import describe_lapse, is_passed_on
from nurture.journey.handoff.offer_page import OfferDetails, load_offer_details
from nurture.journey.handoff.workspace import VIA_WORKSPACE
from nurture.journey.outcomes import outcomes
from nurture.journey.outcomes.outcomes import OutcomeReport
from nurture.runtime import public_links
from nurture.web import forms
from nurture.web.auth import VisitorDep
from nurture.web.forms import MAX_AHEAD, FormFields
from nurture.web.site import Site, SiteDep

QUARTERS: Final = 4
_FIELDS: Final = "reason decides_on note to when when-day stage next_step_on outcome amount why again_on"
_EMPTY_FORM: Final = dict.fromkeys(_FIELDS.split(), "")
"""Every field of the forms, empty."""


@dataclass(frozen=True, slots=True)
class OfferPage:
    """The form of one hand-off and its submitted fields.

    *action* is the purpose of the link, or "" for the workspace, which has all forms. *back* is the path of the
    workspace. *seen_by* is the manager of its rep who looks at it, "" for the rep.
    """

    site: Site
    details: OfferDetails
    now: datetime
    action: str
    fields: Mapping[str, str] = field(default_factory=dict)
    back: str = ""
    seen_by: str = ""

    @property
    def offer_id(self) -> int:
        """Return the id of the hand-off."""
        return self.details.offer.id


def show_offer_form(site: SiteDep, visitor: VisitorDep) -> HTMLResponse:
    """Show the lead and the form that the link is for. Mail scanners open links, so a GET changes nothing."""
    now = site.clock.now()
    return form_page(
        OfferPage(site, load_offer_details(site.ctx, visitor.offer_id, now), now, visitor.token_record.purpose)
    )


def submit_offer_form(site: SiteDep, visitor: VisitorDep, fields: FormFields) -> HTMLResponse:
    """Perform the action that the link is for."""
    now = site.clock.now()
    details = load_offer_details(site.ctx, visitor.offer_id, now)
    return answer_offer(
        OfferPage(site, details, now, visitor.token_record.purpose, fields), visitor.token_record.purpose
    )


def form_page(
    page: OfferPage, *, status: int = 200, problems: Mapping[str, str] | None = None, failed_action: str = ""
) -> HTMLResponse:
    """Show the form of *page*, or the earlier answer; *failed_action* names the form that has *problems*."""
    today = page.now.date()
    form = "held" if page.details.in_hand else page.action or "offer"
    form = "team-offer" if page.seen_by else form
    return closed_page(page) or page.site.templates.response(
        f"{form}.html",
        status=status,
        details=page.details,
        describe_outcome=describe_outcome,
        chosen=_EMPTY_FORM | (dict(page.fields) if problems else {}),
        today=today.isoformat(),
        tomorrow=(today + timedelta(days=1)).isoformat(),
        farthest=(today + MAX_AHEAD).isoformat(),
        quarters=forms.quarter_starts(today, QUARTERS),
        problems=_EMPTY_FORM | dict(problems or {}),
        failed_action=failed_action,
        back=page.back,
    )


def answer_offer(page: OfferPage, action: str) -> HTMLResponse:
    """Perform *action* on the hand-off; show the form again if a field is invalid.

    The page of an accepted lead names its action in the form, so a form that is older than the acceptance does nothing.
    """
    if page.seen_by:
        allowed = action == public_links.REASSIGN
        return closed_page(page) or (_reassign(page) if allowed else form_page(page, status=400))
    if page.details.in_hand:
        action = page.fields.get("do", "")
        return _HELD_ACTIONS[action](page) if action in _HELD_ACTIONS else _answered_page(page)
    return closed_page(page) or (_ACTIONS[action](page) if action in _ACTIONS else form_page(page, status=400))


def closed_page(page: OfferPage) -> HTMLResponse | None:
    """Return the page for a hand-off that is over, None while its rep can answer it or has the lead."""
    return None if page.details.in_hand or page.details.offer.state == "offered" else _answered_page(page)


def _answered_page(page: OfferPage) -> HTMLResponse:
    details, offer = page.details, page.details.offer
    return page.site.templates.response(
        "answered.html",
        status=409,
        details=details,
        offer=offer,
        reason=details.answer_reason,
        lapse=describe_lapse(offer.reason),
        passed_on=is_passed_on(offer.rep, offer.reason),
        is_past=offer.expires_at <= page.now,
        back=page.back,
    )


def describe_outcome(reason: RejectReason) -> str:
    """Return a sentence that says what happens to a lead that is rejected for *reason*."""
    cool_off_days = reason.cool_off.days
    cool_off = f" after {cool_off_days} day{'s' if cool_off_days != 1 else ''} without mail" if cool_off_days else ""
    match reason.then:
        case Resume():
            return f"Its track continues{cool_off}."
        case ToTrack(track=track):
            return f"It is enrolled on the track {track}{cool_off}."
        case ToQueue():
            return "A person reviews it."
        case ToClosed() if reason.return_before:
            return f"It gets no email, and returns {reason.return_before.days} days before the date that you give."
        case ToClosed(again_after=again_after) if again_after or cool_off_days:
            days = again_after.days if again_after else cool_off_days
            return f"It gets no email for {days} day{'s' if days != 1 else ''}, and is then classified again."
        case ToClosed():
            return "It is closed and gets no more email."
        case _:
            assert_never(reason.then)


def _accept(page: OfferPage) -> HTMLResponse:
    if page.fields.get("answer") != "accept":
        return form_page(page, status=400)
    try:
        responses.accept(page.site.ctx, page.offer_id, page.now)
    except InvalidState:
        return _conflict_page(page, accepting=True)
    return page.site.templates.response("accepted.html", details=page.details, back=page.back)


def _reject(page: OfferPage) -> HTMLResponse:
    reasons = page.details.reject_reasons
    reason, date_text = page.fields.get("reason", ""), page.fields.get("decides_on", "")
    problems = {} if reason in reasons else {"reason": "Choose the reason that fits best."}
    decides_on = None
    if date_text:
        decides_on, problem = _parse_date(date_text, page.now)
        problems |= {"decides_on": problem} if problem else {}
    if problems:
        return form_page(page, status=422, problems=problems, failed_action=public_links.REJECT)
    try:
        responses.reject(page.site.ctx, page.offer_id, reason, page.now, decides_on, page.fields.get("note", ""))
    except InvalidState:
        return _conflict_page(page)
    return page.site.templates.response(
        "rejected.html",
        details=page.details,
        reason=reasons[reason],
        outcome_text=describe_outcome(reasons[reason]),
        decides_on=decides_on,
        back=page.back,
    )


def _reassign(page: OfferPage) -> HTMLResponse:
    to = page.fields.get("to", "")
    colleague = next((one for one in page.details.colleagues if one.id == to), None)
    if colleague is None:
        return form_page(page, status=422, problems={"to": "Choose a colleague."}, failed_action=public_links.REASSIGN)
    by = f"by {page.seen_by or page.details.offer.rep}"
    try:
        reassign.reassign(page.site.ctx, page.offer_id, to, page.now, by=by)
    except InvalidState:
        details = load_offer_details(page.site.ctx, page.offer_id, page.now)
        problem = f"{colleague.name} has no capacity today, or is away. Choose another colleague."
        updated = replace(page, details=details)
        return form_page(updated, status=422, problems={"to": problem}, failed_action=public_links.REASSIGN)
    return page.site.templates.response("reassigned.html", details=page.details, colleague=colleague, back=page.back)


def _call_back_later(page: OfferPage) -> HTMLResponse:
    today = page.now.date()
    quarters = {start.isoformat(): start for start in forms.quarter_starts(today, QUARTERS)}
    day = forms.chosen_day(page.fields, "when", quarters)
    if day is None or not today < day <= today + MAX_AHEAD:
        problem = "Choose a day from tomorrow on, at most ten years away. To call today, accept the lead."
        problems = {"when": problem if day else "Choose a quarter, or enter a date such as 2027-03-31."}
        return form_page(page, status=422, problems=problems, failed_action=public_links.CALL_BACK_LATER)
    try:
        call_back.call_back(page.site.ctx, page.offer_id, day, page.now)
    except InvalidState:
        return _conflict_page(page)
    return page.site.templates.response("call-scheduled.html", details=page.details, on=day, back=page.back)


def _record_contact(page: OfferPage) -> HTMLResponse:
    text, next_step_on = page.fields.get("next_step_on", ""), None
    if text:
        next_step_on, problem = _parse_date(text, page.now)
        if problem:
            return form_page(page, status=422, problems={"next_step_on": problem}, failed_action="contacted")
    stage = SalesStatus.IN_TALKS if page.fields.get("stage") == SalesStatus.IN_TALKS else SalesStatus.FOLLOWED_UP
    try:
        follow_up.record_follow_up(
            page.site.ctx,
            page.details.offer.lead_id,
            VIA_WORKSPACE,
            page.now,
            next_step_on=next_step_on,
            stage=stage.value,
        )
    except InvalidState as error:
        return form_page(page, status=422, problems={"next_step_on": str(error)}, failed_action="contacted")
    agreed = f"We ask you how it stands after the next step on {next_step_on:%d %B %Y}." if next_step_on else ""
    return _done(page, "Recorded: you contacted them", agreed or "We ask you how it stands when it is silent for long.")


def _close(page: OfferPage) -> HTMLResponse:
    outcome, why, problems = page.fields.get("outcome", ""), page.fields.get("why", ""), {}
    closing = Closing(outcome) if outcome in _CLOSINGS else None
    if closing is None:
        problems["outcome"] = "Choose how it ended."
    elif closing is not Closing.WON and not why:
        problems["why"] = "Say in a few words why."
    amount = None
    if closing is Closing.WON and page.fields.get("amount"):
        try:
            amount = read_amount(page.fields["amount"])
        except ValueError:
            problems["amount"] = "Write the amount as 12000.50, or leave it empty."
    again_on = None
    if closing is not Closing.WON and page.fields.get("again_on"):
        again_on, problems["again_on"] = _parse_again_on(page.fields["again_on"], page.now)
    problems = {name: problem for name, problem in problems.items() if problem}
    if problems or closing is None:
        return form_page(page, status=422, problems=problems, failed_action="close")
    again_at = start_of_day(again_on, "UTC") if again_on is not None else None
    report = OutcomeReport(page.details.offer.lead_id, closing, amount=amount, reason=why, again_at=again_at)
    try:
        outcomes.close_lead(page.site.ctx, report, f"rep {page.details.offer.rep}", page.now)
    except InvalidState:
        return _conflict_page(page)
    rest = f" It rests until {again_on:%d %B %Y}, and is then classified again." if again_on is not None else ""
    return _done(page, f"The lead is closed as {_CLOSINGS[closing]}", f"Thank you. It leaves your list.{rest}")


def _parse_again_on(text: str, now: datetime) -> tuple[date | None, str]:
    """Return the day on which a closed lead is classified again, or None and the problem with it."""
    day, last = forms.parse_day(text), now.date() + MAX_REST
    if day is None or not now.date() < day < last:
        return None, f"Choose a day from tomorrow to {last - timedelta(days=1):%d %B %Y}, or leave it empty."
    return day, ""


def _stop_mail(page: OfferPage) -> HTMLResponse:
    try:
        responses.stop_mail(page.site.ctx, page.offer_id, page.now)
    except InvalidState:
        return _conflict_page(page)
    return _done(page, "We never mail them again", "The lead stays yours.")


def _done(page: OfferPage, title: str, text: str) -> HTMLResponse:
    return page.site.templates.response("workspace-done.html", title=title, text=text, done=True, back=page.back)


def _parse_date(text: str, now: datetime) -> tuple[date | None, str]:
    """Return the date, or None and the problem with it."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None, "Enter the date as 2027-03-31, or leave it empty."
    yesterday = now.date() - timedelta(days=1)  # in a zone west of UTC it may still be yesterday
    if not yesterday <= day <= now.date() + MAX_AHEAD:
        return None, "Choose a date from today on, at most ten years away, or leave it empty."
    return day, ""


def _conflict_page(page: OfferPage, *, accepting: bool = False) -> HTMLResponse:
    """Return the page for an answer that is too late, or whose rep or reason the policy no longer has."""
    details = load_offer_details(page.site.ctx, page.offer_id, page.now)
    updated = OfferPage(page.site, details, page.now, page.action, back=page.back)
    if accepting or (details.in_hand and page.action != public_links.REJECT):
        return _answered_page(updated)
    return closed_page(updated) or page.site.templates.response("reasons-changed.html", status=409)


_ACTIONS: Final[Mapping[str, Callable[[OfferPage], HTMLResponse]]] = {
    public_links.ACCEPT: _accept,
    public_links.REJECT: _reject,
    public_links.REASSIGN: _reassign,
    public_links.CALL_BACK_LATER: _call_back_later,
}
"""The handler of each action."""

_HELD_ACTIONS: Final[Mapping[str, Callable[[OfferPage], HTMLResponse]]] = {
    "contacted": _record_contact,
    "close": _close,
    "no_mail": _stop_mail,
    public_links.REJECT: _reject,
    public_links.REASSIGN: _reassign,
}
"""The handler of each action on a lead that its rep has accepted."""

_CLOSINGS: Final[Mapping[str, str]] = {Closing.WON: "won", Closing.LOST: "lost", Closing.DISCARDED: "disqualified"}
