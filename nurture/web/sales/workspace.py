"""A rep's own page: what waits for an answer, what is in hand, and what became of the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from nurture.errors import Refused
from nurture.journey.handoff import offer_page as shown_offers
from nurture.journey.handoff import workspace
from nurture.journey.leads.queries import MOST_DIGITS
from nurture.web.auth import AtDesk, Site, TheDesk, TheSite
from nurture.web.forms import Fields
from nurture.web.sales import offers
from nurture.web.sales.offers import Asked

HOLDS: Final[Mapping[str, tuple[str, int]]] = {
    "14": ("two weeks", 14),
    "30": ("a month", 30),
    "90": ("three months", 90),
}
"""How long a rep may hold a lead, in words and in days."""


class Done(NamedTuple):
    """What was done, in words."""

    title: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Pressed:
    """A button that a rep pressed, and what stood in its form."""

    site: Site
    rep: str
    fields: Mapping[str, str]
    now: datetime

    def number(self, name: str) -> int:
        """Return the id that the form names. Raises Refused for none."""
        text = self.fields.get(name, "")
        if not (text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS):
            raise Refused(f"The form names no {name}.")
        return int(text)


def show(site: TheSite, at: TheDesk) -> HTMLResponse:
    """Show the desk. Looking changes nothing."""
    shown = workspace.show(site.house, at.rep, site.clock.now())
    return site.look.page("desk.html", desk=shown, holds=HOLDS, here=at.token)


def act(site: TheSite, at: TheDesk, fields: Fields) -> HTMLResponse:
    """Do the one thing that the pressed button says, if the lead is still where the page showed it."""
    deed = DEEDS.get(fields.get("do", ""))
    if deed is None:
        raise HTTPException(400)
    try:
        done = deed(Pressed(site, at.rep, fields, site.clock.now()))
    except Refused:
        title, text = "Nothing was changed", "This lead is no longer where your page showed it."
        return site.look.page("desk-done.html", status=409, title=title, text=text, done=False, back=at.token)
    return site.look.page("desk-done.html", title=done.title, text=done.text, done=True, back=at.token)


def show_offer(site: TheSite, at: TheDesk, number: str) -> HTMLResponse:
    """Show one hand-off with all ways to answer it."""
    return offers.form(_asked(site, at, number, {}))


def answer_offer(site: TheSite, at: TheDesk, number: str, fields: Fields) -> HTMLResponse:
    """Answer one hand-off in the way that the pressed button says."""
    asked = _asked(site, at, number, fields)
    way = fields.get("do", "")
    if way not in offers.WAYS:
        return offers.form(asked, status=400)
    return offers.answer(asked, way)


def _asked(site: Site, at: AtDesk, number: str, fields: Mapping[str, str]) -> Asked:
    """Return the hand-off of this number. Raises 404 for one of another rep as for one that never was."""
    if not (number.isascii() and number.isdecimal() and len(number) <= MOST_DIGITS):
        raise HTTPException(404)
    now = site.clock.now()
    shown = shown_offers.show_offer(site.house, int(number), now)
    if shown.offer.rep != at.rep:
        raise HTTPException(404)
    return Asked(site, shown, now, "", fields, back=f"../{at.token}")


def _reached(pressed: Pressed) -> Done:
    workspace.reached(pressed.site.house, pressed.number("lead"), pressed.rep, pressed.now)
    return Done("Noted: you have reached them", "The clock for following up has stopped.")


def _vote(pressed: Pressed) -> Done:
    said = pressed.fields.get("useful", "")
    if said not in ("yes", "no"):
        raise Refused("The form says neither yes nor no.")
    house, offer_id = pressed.site.house, pressed.number("offer")
    workspace.vote(house, offer_id, pressed.rep, pressed.now, useful=said == "yes")
    return Done("Thank you", "Your word tunes which leads you get. You can change it at any time.")


def _hold(pressed: Pressed) -> Done:
    words, days = HOLDS.get(pressed.fields.get("for", ""), ("", 0))
    if not days:
        raise Refused("The form names no such time.")
    until = pressed.now + timedelta(days=days)
    until = workspace.hold(pressed.site.house, pressed.number("lead"), pressed.rep, until, pressed.now)
    return Done(
        f"Held for {words}", f"We send this lead nothing until {until:%d %B %Y}. Then its track goes on."
    )


def _go_on(pressed: Pressed) -> Done:
    workspace.go_on(pressed.site.house, pressed.number("lead"), pressed.rep, pressed.now)
    return Done("Its track goes on", "You can hold it again at any time.")


def _hurry(pressed: Pressed) -> Done:
    if workspace.hurry(pressed.site.house, pressed.number("lead"), pressed.rep, pressed.now):
        return Done("Its next email comes as soon as it may", "Send windows and frequency caps still hold.")
    return Done("Its next email is due already", "It goes with the next send window, or is on its way.")


def _pull(pressed: Pressed) -> Done:
    workspace.pull(pressed.site.house, pressed.number("lead"), pressed.rep, pressed.now)
    return Done(
        "It is offered to you", "Its track is held. The brief is on its way; accept it among your leads."
    )


DEEDS: Final[Mapping[str, Callable[[Pressed], Done]]] = {
    "reached": _reached,
    "vote": _vote,
    "hold": _hold,
    "go-on": _go_on,
    "hurry": _hurry,
    "pull": _pull,
}
"""What each button does."""
