"""The page on which leads choose: what they get, how often, not now, and when they decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from starlette.responses import HTMLResponse

from nurture.domain.consent.suppression import Source
from nurture.errors import Refused
from nurture.journey.preferences import preference_center, unsubscribe
from nurture.journey.preferences.preference_center import Preferences, Topic
from nurture.web import dates
from nurture.web.auth import Site, TheSite, TheVisit, Visit
from nurture.web.forms import Fields

DO: Final = "do"
"""The name of every button; its value says what the button does."""

ON_A_DAY: Final = "day"
"""The choice beside which the lead writes a day of its own."""

PAUSES: Final[Mapping[str, tuple[str, int]]] = {
    "1": ("For a month", 1),
    "3": ("For three months", 3),
    "6": ("For half a year", 6),
}
"""What each choice of a pause says, and its months."""

LONGEST_PAUSE: Final = timedelta(days=2 * 366)

PACES: Final[Mapping[str, tuple[str, int | None]]] = {
    "any": ("As often as you have planned", None),
    "14": ("One every two weeks at most", 14),
    "30": ("One a month at most", 30),
    "60": ("One every two months at most", 60),
}
"""What each choice of a pace says, and its days."""

QUARTERS: Final = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """A button that was pressed, and what stood in its form."""

    site: Site
    visit: Visit
    shown: Preferences
    fields: Mapping[str, str]
    now: datetime

    @property
    def topic(self) -> Topic | None:
        """Return the topic that is meant, None if there is no such topic."""
        return self.shown.topic(self.fields.get("topic", ""))


@dataclass(frozen=True, slots=True)
class Done:
    """What was done, and the button that undoes it."""

    title: str
    text: str
    undo: str = ""
    undo_label: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotHere:
    """Nothing was done, because this page may not do it."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """Nothing was done, because this part of the page needs another answer."""

    part: str
    text: str


def ask(site: TheSite, visit: TheVisit) -> HTMLResponse:
    """Show what the lead has chosen. Mail scanners open every link, so that nothing may happen yet."""
    return _page(site, preference_center.show(site.house, visit.kept, site.clock.now()))


def choose(site: TheSite, visit: TheVisit, fields: Fields) -> HTMLResponse:
    """Do the one thing that the pressed button says."""
    now = site.clock.now()
    shown = preference_center.show(site.house, visit.kept, now)
    deed = DEEDS.get(fields.get(DO, ""))
    answer = deed(Asked(site, visit, shown, fields, now)) if deed is not None else None
    if answer is None:
        return _page(site, shown, status=400)
    if isinstance(answer, Unclear):
        return _page(site, shown, status=422, fault=answer, given=fields)
    status = 409 if isinstance(answer, NotHere) else 200
    return site.look.page("preferences-done.html", status=status, shown=shown, done=answer)


def _page(
    site: Site,
    shown: Preferences,
    *,
    status: int = 200,
    fault: Unclear | None = None,
    given: Mapping[str, str] | None = None,
) -> HTMLResponse:
    today = shown.today
    return site.look.page(
        "preferences.html",
        status=status,
        shown=shown,
        elsewhere=_elsewhere(shown),
        paused_elsewhere=_paused_elsewhere(shown),
        pauses={value: (label, dates.months_on(today, months)) for value, (label, months) in PAUSES.items()},
        paces={value: label for value, (label, _) in PACES.items()},
        pace=next((value for value, (_, pace) in PACES.items() if pace == shown.pace_days), ""),
        quarters=dates.quarter_ends(today, QUARTERS),
        tomorrow=(today + timedelta(days=1)).isoformat(),
        today=today.isoformat(),
        longest=(today + LONGEST_PAUSE).isoformat(),
        farthest=(today + dates.FARTHEST).isoformat(),
        fault=fault,
        given=given or {},
    )


def _stop(asked: Asked) -> Done:
    visit = asked.visit
    unsubscribe.unsubscribe(asked.site.house, visit.token, visit.kept, asked.now, by=Source.PAGE)
    return Done(
        "You get no more email from us",
        "We have stopped all our mail to you. A mail that left in this very moment may still arrive.",
        "start",
        "Send me email again",
    )


def _start(asked: Asked) -> Done | NotHere:
    if asked.shown.elsewhere:
        return NotHere("This page cannot start our email again", _elsewhere(asked.shown))
    preference_center.start_everything(asked.site.house, asked.visit.kept, asked.now)
    if asked.shown.bounced:
        return Done(
            "Mail to your address came back",
            "We noted that you want our email. But what we sent to this address came back undelivered, so we "
            "do not write there. Answer one of our mails, or give us another address, and we will.",
        )
    return Done(
        "You get our email again",
        "Thank you. We noted your wish and today's date. Topics that you had stopped stay stopped.",
        "stop",
        "Stop all email",
    )


def _stop_topic(asked: Asked) -> Done | None:
    topic = asked.topic
    if topic is None:
        return None
    preference_center.stop_topic(asked.site.house, asked.visit.kept, topic, asked.now)
    return Done(
        f"No more emails about {topic.name}",
        "The rest of our mail goes on as before.",
        "start-topic",
        f"Send me emails about {topic.name} again",
        {"topic": topic.name},
    )


def _start_topic(asked: Asked) -> Done | NotHere | None:
    topic = asked.topic
    if topic is None:
        return None
    if topic.elsewhere:
        return NotHere(f"This page cannot start emails about {topic.name} again", _elsewhere(asked.shown))
    preference_center.start_topic(asked.site.house, asked.visit.kept, topic, asked.now)
    return Done(
        f"You get emails about {topic.name} again",
        "Thank you. We noted your wish and today's date.",
        "stop-topic",
        f"Stop emails about {topic.name}",
        {"topic": topic.name},
    )


def _pause(asked: Asked) -> Done | Unclear:
    today, chosen = asked.shown.today, asked.fields.get("pause", "")
    until = dates.months_on(today, PAUSES[chosen][1]) if chosen in PAUSES else None
    until = _one_day(asked, "pause", until)
    if until is None:
        return Unclear("pause", "Choose how long we should pause, or write one day, like 2027-03-31.")
    if not today < until <= today + LONGEST_PAUSE:
        return Unclear("pause", "Choose a day from tomorrow on, at most two years away.")
    house, kept = asked.site.house, asked.visit.kept
    preference_center.pause_until(house, kept, until, asked.shown.zone, asked.now)
    paused = preference_center.show(house, kept, asked.now)
    return Done(
        f"Paused until {_told(paused.paused_until or until)}",
        "You hear nothing from us before that day. Then our mail goes on where it stopped.",
        "resume" if paused.paused_here else "",
        "End the pause now",
    )


def _resume(asked: Asked) -> Done | NotHere:
    try:
        preference_center.resume(asked.site.house, asked.visit.kept, asked.now)
    except Refused:
        return NotHere("This page cannot end the pause", _paused_elsewhere(asked.shown))
    return Done("The pause is over", "Our mail goes on where it stopped. You can pause it again at any time.")


def _pace(asked: Asked) -> Done | Unclear:
    chosen = PACES.get(asked.fields.get("pace", ""))
    if chosen is None:
        return Unclear("pace", "Choose how often we may write.")
    label, pace = chosen
    preference_center.set_pace(asked.site.house, asked.visit.kept, pace, asked.now)
    before = asked.shown.pace_days
    undo = next((value for value, (_, days_) in PACES.items() if days_ == before != pace), "")
    if pace is None:
        return Done("We write as often as we had planned", "You can change that here at any time.")
    return Done(
        f"{label}, from now on",
        "That counts for everything that we send you, whatever it is about.",
        "pace" if undo else "",
        f"Go back to: {PACES[undo][0][0].lower()}{PACES[undo][0][1:]}" if undo else "",
        {"pace": undo},
    )


def _decide(asked: Asked) -> Done | Unclear:
    today, chosen = asked.shown.today, asked.fields.get("decides", "")
    quarter = dates.read(chosen)
    day = _one_day(asked, "decides", quarter if quarter in dates.quarter_ends(today, QUARTERS) else None)
    if day is None:
        return Unclear("decides", "Choose when, or write one day, like 2027-03-31.")
    if not today <= day <= today + dates.FARTHEST:
        return Unclear("decides", "Choose a day from today on, at most ten years away.")
    preference_center.state_decision(asked.site.house, asked.visit.kept, day, asked.now)
    return Done(
        f"Noted: you decide by {_told(day)}",
        "Thank you. We time what we send by it, and somebody may get in touch before then. "
        "Did the plan change, or was it a slip? Choose another day on the page of all choices.",
    )


def _undecide(asked: Asked) -> Done:
    preference_center.withdraw_decision(asked.site.house, asked.visit.kept, asked.now)
    return Done(
        "Noted: you have named no date",
        "Thank you. We no longer time our mail by a decision. "
        "If that was a slip, name the day again on the page of all choices.",
    )


def _elsewhere(shown: Preferences) -> str:
    """Say why the page starts no mail, and who can."""
    to = f" to {shown.contact}" if shown.contact else ""
    return (
        "It was stopped in another way: by an answer to a mail, by a report as spam, or by our team. This "
        "page starts again only what was stopped here or by the unsubscribe button, because anybody may have "
        "its link to whom one of our mails was forwarded. "
        f"Do you want our email? Write{to} from your own address."
    )


def _paused_elsewhere(shown: Preferences) -> str:
    """Say why the page does not end a pause, and who can."""
    to = f" to {shown.contact}" if shown.contact else ""
    return (
        "It was not asked for on this page, but by our team or by an answer that says you are away. "
        f"Should it end sooner? Write{to} from your own address."
    )


def _one_day(asked: Asked, name: str, chosen: date | None) -> date | None:
    """Return the day that was chosen or written; None for neither, for both, and for what is no day."""
    written = asked.fields.get(f"{name}-day", "")
    if not written:
        return chosen
    return dates.read(written) if asked.fields.get(name, ON_A_DAY) == ON_A_DAY else None


def _told(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


DEEDS: Final[Mapping[str, Callable[[Asked], Done | NotHere | Unclear | None]]] = {
    "stop": _stop,
    "start": _start,
    "stop-topic": _stop_topic,
    "start-topic": _start_topic,
    "pause": _pause,
    "resume": _resume,
    "pace": _pace,
    "decide": _decide,
    "undecide": _undecide,
}
"""What each button does. None: no button of ours sends that."""
