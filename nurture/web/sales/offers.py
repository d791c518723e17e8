"""A rep answers a hand-off: look first, then accept it, give it back, pass it on, or have it called later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Final, assert_never

from starlette.responses import HTMLResponse

from nurture.domain.planning.program import ToClosed, ToQueue, ToTrack
from nurture.domain.policy.policy import RejectReason, Resume
from nurture.errors import Refused
from nurture.journey.handoff import call_back, reassign, sweep
from nurture.journey.handoff.offer_page import OfferShown, show_offer
from nurture.runtime import public_links
from nurture.web import dates
from nurture.web.auth import Site, TheSite, TheVisit
from nurture.web.dates import FARTHEST
from nurture.web.forms import Fields

QUARTERS: Final = 4
_NOTHING: Final = dict.fromkeys(("reason", "decides_on", "to", "when", "when-day"), "")
"""Every field of the forms, empty."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A form about one hand-off, and what stands in it.

    *way* is what its link is for; "" for the rep's own page, which has all forms. *back* leads to that page.
    """

    site: Site
    shown: OfferShown
    now: datetime
    way: str
    fields: Mapping[str, str] = field(default_factory=dict)
    back: str = ""

    @property
    def offer_id(self) -> int:
        """Return which hand-off it is."""
        return self.shown.offer.id


def ask(site: TheSite, visit: TheVisit) -> HTMLResponse:
    """Show the lead and the one form that the link is for. Scanners open links: nothing may happen yet."""
    now = site.clock.now()
    return form(Asked(site, show_offer(site.house, visit.offer_id, now), now, visit.kept.purpose))


def act(site: TheSite, visit: TheVisit, fields: Fields) -> HTMLResponse:
    """Do what the link is for."""
    now = site.clock.now()
    shown = show_offer(site.house, visit.offer_id, now)
    return answer(Asked(site, shown, now, visit.kept.purpose, fields), visit.kept.purpose)


def form(
    asked: Asked, *, status: int = 200, faults: Mapping[str, str] | None = None, way: str = ""
) -> HTMLResponse:
    """Show the form of *asked*, or what was answered already; *way* is which form has *faults*."""
    today = asked.now.date()
    return answered(asked) or asked.site.look.page(
        f"{asked.way or 'offer'}.html",
        status=status,
        shown=asked.shown,
        fate=fate,
        chosen=_NOTHING | (dict(asked.fields) if faults else {}),
        today=today.isoformat(),
        tomorrow=(today + timedelta(days=1)).isoformat(),
        farthest=(today + FARTHEST).isoformat(),
        quarters=dates.quarter_starts(today, QUARTERS),
        faults=_NOTHING | dict(faults or {}),
        at_fault=way,
        back=asked.back,
    )


def answer(asked: Asked, way: str) -> HTMLResponse:
    """Answer the hand-off in this way, if it is still open; ask again where the form is not clear."""
    return answered(asked) or _DEEDS[way](asked)


def answered(asked: Asked) -> HTMLResponse | None:
    """Return the page for a hand-off that is no longer open, None while it is."""
    shown = asked.shown
    if shown.offer.state == "offered":
        return None
    return asked.site.look.page(
        "answered.html", status=409, shown=shown, offer=shown.offer, reason=shown.why, back=asked.back
    )


def fate(reason: RejectReason) -> str:
    """Say in one sentence what becomes of a lead that is given back for *reason*."""
    resting = reason.cool_off.days
    peace = f" after {resting} day{'s' if resting != 1 else ''} in peace" if resting else ""
    match reason.then:
        case Resume():
            return f"Its track goes on{peace}."
        case ToTrack(track=track):
            return f"It goes on the track {track}{peace}."
        case ToQueue():
            return "Somebody looks at it."
        case ToClosed():
            return "It is closed and gets no more mail."
        case _:
            assert_never(reason.then)


def _accept(asked: Asked) -> HTMLResponse:
    if asked.fields.get("answer") != "accept":
        return form(asked, status=400)
    try:
        sweep.accept(asked.site.house, asked.offer_id, asked.now)
    except Refused:
        return _meanwhile(asked)
    return asked.site.look.page(
        "accepted.html",
        shown=asked.shown,
        follow_up_by=asked.now + asked.shown.follow_up_within,
        back=asked.back,
    )


def _reject(asked: Asked) -> HTMLResponse:
    reasons = asked.shown.reasons
    reason, stated = asked.fields.get("reason", ""), asked.fields.get("decides_on", "")
    faults = {} if reason in reasons else {"reason": "Choose the reason that fits best."}
    decides_on = None
    if stated:
        decides_on, wrong = _date(stated, asked.now)
        faults |= {"decides_on": wrong} if wrong else {}
    if faults:
        return form(asked, status=422, faults=faults, way=public_links.REJECT)
    try:
        sweep.reject(asked.site.house, asked.offer_id, reason, asked.now, decides_on)
    except Refused:
        return _meanwhile(asked)
    return asked.site.look.page(
        "rejected.html",
        shown=asked.shown,
        reason=reasons[reason],
        fate=fate(reasons[reason]),
        decides_on=decides_on,
        back=asked.back,
    )


def _reassign(asked: Asked) -> HTMLResponse:
    to = asked.fields.get("to", "")
    colleague = next((one for one in asked.shown.colleagues if one.id == to), None)
    if colleague is None:
        return form(asked, status=422, faults={"to": "Choose a colleague."}, way=public_links.REASSIGN)
    by = f"by {asked.shown.offer.rep}"
    try:
        reassign.reassign(asked.site.house, asked.offer_id, to, asked.now, by=by, states=("offered",))
    except Refused:
        shown = show_offer(asked.site.house, asked.offer_id, asked.now)
        full = f"{colleague.name} has no room today, or is away. Choose somebody else."
        again = replace(asked, shown=shown)
        return form(again, status=422, faults={"to": full}, way=public_links.REASSIGN)
    return asked.site.look.page("passed-on.html", shown=asked.shown, colleague=colleague, back=asked.back)


def _later(asked: Asked) -> HTMLResponse:
    chosen, written = asked.fields.get("when", ""), asked.fields.get("when-day", "")
    today = asked.now.date()
    on, wrong = None, "Choose a quarter, or write one day, like 2027-03-31."
    if written and chosen in ("", "day"):
        on, wrong = _date(written, asked.now)
    elif not written and dates.read(chosen) in dates.quarter_starts(today, QUARTERS):
        on, wrong = dates.read(chosen), ""
    if on is not None and on <= today:
        on, wrong = None, "Choose a day from tomorrow on: for today, accept the lead."
    if on is None:
        return form(asked, status=422, faults={"when": wrong}, way=public_links.LATER)
    try:
        call_back.call_back(asked.site.house, asked.offer_id, on, asked.now)
    except Refused:
        return _meanwhile(asked)
    return asked.site.look.page("called-later.html", shown=asked.shown, on=on, back=asked.back)


def _date(stated: str, now: datetime) -> tuple[date | None, str]:
    """Return the date, or what is wrong with it."""
    try:
        on = date.fromisoformat(stated)
    except ValueError:
        return None, "Write the date as 2027-03-31, or leave it empty."
    yesterday = now.date() - timedelta(days=1)  # west of here it may still be that day
    if not yesterday <= on <= now.date() + FARTHEST:
        return None, "Choose a date from today on, at most ten years away, or leave it empty."
    return on, ""


def _meanwhile(asked: Asked) -> HTMLResponse:
    """Return the page for an answer that came too late, or that the policy has just lost."""
    shown = show_offer(asked.site.house, asked.offer_id, asked.now)
    now_shown = Asked(asked.site, shown, asked.now, asked.way, back=asked.back)
    return answered(now_shown) or asked.site.look.page("changed.html", status=409)


_DEEDS: Final[Mapping[str, Callable[[Asked], HTMLResponse]]] = {
    public_links.ACCEPT: _accept,
    public_links.REJECT: _reject,
    public_links.REASSIGN: _reassign,
    public_links.LATER: _later,
}
"""What each form does."""

WAYS: Final = frozenset(_DEEDS)
"""The ways in which a hand-off can be answered."""
