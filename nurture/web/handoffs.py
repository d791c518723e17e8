"""A rep's answer to a hand-off: look first, then accept it or give it back."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import assert_never

from starlette.responses import HTMLResponse

from nurture.domain.policy import RejectReason, Resume
from nurture.domain.track import ToClosed, ToQueue, ToTrack
from nurture.errors import Refused
from nurture.journey import handoff, visits
from nurture.journey.visits import OfferShown

from .access import Site, TheSite, TheVisit
from .days import FARTHEST
from .forms import Fields


def ask_accept(site: TheSite, visit: TheVisit) -> HTMLResponse:
    """Show the lead and a button to accept it."""
    shown = visits.show_offer(site.house, visit.offer_id)
    return _answered(site, shown) or site.look.page("accept.html", shown=shown)


def accept(site: TheSite, visit: TheVisit, fields: Fields) -> HTMLResponse:
    """Accept the lead."""
    shown = visits.show_offer(site.house, visit.offer_id)
    if fields.get("answer") != "accept":
        return _answered(site, shown) or site.look.page("accept.html", status=400, shown=shown)
    now = site.clock.now()
    try:
        handoff.accept(site.house, visit.offer_id, now)
    except Refused:
        return _answered_meanwhile(site, visit.offer_id)
    return site.look.page("accepted.html", shown=shown, follow_up_by=now + shown.follow_up_within)


def ask_reject(site: TheSite, visit: TheVisit) -> HTMLResponse:
    """Show the form to give the lead back."""
    shown = visits.show_offer(site.house, visit.offer_id)
    return _answered(site, shown) or _form(site, shown)


def reject(site: TheSite, visit: TheVisit, fields: Fields) -> HTMLResponse:
    """Take the lead back."""
    shown = visits.show_offer(site.house, visit.offer_id)
    answered = _answered(site, shown)
    if answered is not None:
        return answered
    now = site.clock.now()
    reason, stated = fields.get("reason", ""), fields.get("decides_on", "")
    faults = {"reason": "" if reason in shown.reasons else "Choose the reason that fits best."}
    decides_on, faults["decides_on"] = _date(stated, now)
    if any(faults.values()):
        return _form(site, shown, chosen=reason, stated=stated, faults=faults)
    try:
        handoff.reject(site.house, visit.offer_id, reason, now, decides_on)
    except Refused:
        return _answered_meanwhile(site, visit.offer_id)
    return site.look.page(
        "rejected.html",
        shown=shown,
        reason=shown.reasons[reason],
        fate=fate(shown.reasons[reason]),
        decides_on=decides_on,
    )


def fate(reason: RejectReason) -> str:
    """Say in one sentence what becomes of a lead that is given back for *reason*."""
    days = reason.cool_off.days
    peace = f" after {days} day{'s' if days != 1 else ''} in peace" if days else ""
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


def _form(
    site: Site, shown: OfferShown, chosen: str = "", stated: str = "", faults: dict[str, str] | None = None
) -> HTMLResponse:
    today = site.clock.now().date()
    return site.look.page(
        "reject.html",
        status=422 if faults else 200,
        shown=shown,
        fate=fate,
        chosen=chosen,
        stated=stated[:30],
        today=today.isoformat(),
        farthest=(today + FARTHEST).isoformat(),
        faults=faults or {"reason": "", "decides_on": ""},
    )


def _date(stated: str, now: datetime) -> tuple[date | None, str]:
    """Return the date, or what is wrong with it."""
    if not stated:
        return None, ""
    try:
        decides_on = date.fromisoformat(stated)
    except ValueError:
        return None, "Write the date as 2027-03-31, or leave it empty."
    yesterday = now.date() - timedelta(days=1)  # west of here it may still be that day
    if not yesterday <= decides_on <= now.date() + FARTHEST:
        return None, "Choose a date from today on, at most ten years away, or leave it empty."
    return decides_on, ""


def _answered(site: Site, shown: OfferShown) -> HTMLResponse | None:
    """Return the page for a hand-off that is no longer open, None while it is."""
    offer = shown.offer
    if offer.state == "offered":
        return None
    reason = shown.reasons.get(offer.reason or "")
    return site.look.page(
        "answered.html", status=409, shown=shown, offer=offer, reason=reason.label if reason else ""
    )


def _answered_meanwhile(site: Site, offer_id: int) -> HTMLResponse:
    """Return the page for an answer that came too late, or that the policy has just lost."""
    shown = visits.show_offer(site.house, offer_id)
    return _answered(site, shown) or site.look.page("changed.html", status=409)
