"""The page on which leads choose: what they get, how often, not now, and when they decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from starlette.responses import HTMLResponse

from nurture.domain.consent.suppression import SuppressionSource
from nurture.errors import InvalidState
from nurture.journey.preferences import preference_center, unsubscribe
from nurture.journey.preferences.preference_center import Preferences, Topic
from nurture.web import dates
from nurture.web.auth import Site, SiteDep, Visitor, VisitorDep
from nurture.web.forms import FormFields

ACTION_FIELD: Final = "do"
"""The name of every button; its value says what the button does."""

CUSTOM_DAY: Final = "day"
"""The choice beside which the lead writes a day of its own."""

PAUSES: Final[Mapping[str, tuple[str, int]]] = {
    "1": ("For a month", 1),
    "3": ("For three months", 3),
    "6": ("For half a year", 6),
}
"""What each choice of a pause says, and its months."""

MAX_PAUSE: Final = timedelta(days=2 * 366)

FREQUENCIES: Final[Mapping[str, tuple[str, int | None]]] = {
    "any": ("As often as you have planned", None),
    "14": ("One every two weeks at most", 14),
    "30": ("One a month at most", 30),
    "60": ("One every two months at most", 60),
}
"""What each choice of a frequency says, and its days."""

QUARTERS: Final = 4


@dataclass(frozen=True, slots=True)
class PreferencePage:
    """A button that was pressed, and what stood in its form."""

    site: Site
    visitor: Visitor
    preferences: Preferences
    fields: Mapping[str, str]
    now: datetime

    @property
    def topic(self) -> Topic | None:
        """Return the topic that is meant, None if there is no such topic."""
        return self.preferences.topic(self.fields.get("topic", ""))


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What was done, and the button that undoes it."""

    title: str
    text: str
    undo: str = ""
    undo_label: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotAllowedHere:
    """Nothing was done, because this page may not do it."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class InvalidAnswer:
    """Nothing was done, because this part of the page needs another answer."""

    section: str
    text: str


def show_preferences(site: SiteDep, visitor: VisitorDep) -> HTMLResponse:
    """Show what the lead has chosen. Mail scanners open every link, so that nothing may happen yet."""
    return _preference_page(site, preference_center.load_preferences(site.ctx, visitor.token_record, site.clock.now()))


def apply_choice(site: SiteDep, visitor: VisitorDep, fields: FormFields) -> HTMLResponse:
    """Do the one thing that the pressed button says."""
    now = site.clock.now()
    preferences = preference_center.load_preferences(site.ctx, visitor.token_record, now)
    action = ACTIONS.get(fields.get(ACTION_FIELD, ""))
    result = action(PreferencePage(site, visitor, preferences, fields, now)) if action is not None else None
    if result is None:
        return _preference_page(site, preferences, status=400)
    if isinstance(result, InvalidAnswer):
        return _preference_page(site, preferences, status=422, invalid=result, form=fields)
    status = 409 if isinstance(result, NotAllowedHere) else 200
    return site.templates.response("preferences-done.html", status=status, preferences=preferences, done=result)


def _preference_page(
    site: Site,
    preferences: Preferences,
    *,
    status: int = 200,
    invalid: InvalidAnswer | None = None,
    form: Mapping[str, str] | None = None,
) -> HTMLResponse:
    today = preferences.today
    return site.templates.response(
        "preferences.html",
        status=status,
        preferences=preferences,
        cannot_restart_text=_cannot_restart_text(preferences),
        cannot_resume_text=_cannot_resume_text(preferences),
        pauses={value: (label, dates.add_months(today, months)) for value, (label, months) in PAUSES.items()},
        frequencies={value: label for value, (label, _) in FREQUENCIES.items()},
        frequency=next(
            (value for value, (_, days) in FREQUENCIES.items() if days == preferences.touch_interval_days), ""
        ),
        quarters=dates.quarter_ends(today, QUARTERS),
        tomorrow=(today + timedelta(days=1)).isoformat(),
        today=today.isoformat(),
        longest=(today + MAX_PAUSE).isoformat(),
        farthest=(today + dates.MAX_AHEAD).isoformat(),
        invalid=invalid,
        form=form or {},
    )


def _stop_all(page: PreferencePage) -> Confirmation:
    visitor = page.visitor
    unsubscribe.unsubscribe(page.site.ctx, visitor.token, visitor.token_record, page.now, by=SuppressionSource.PAGE)
    return Confirmation(
        "You get no more email from us",
        "We have stopped all our mail to you. A mail that left in this very moment may still arrive.",
        "start",
        "Send me email again",
    )


def _start_all(page: PreferencePage) -> Confirmation | NotAllowedHere:
    if page.preferences.stopped_elsewhere:
        return NotAllowedHere("This page cannot start our email again", _cannot_restart_text(page.preferences))
    preference_center.resubscribe(page.site.ctx, page.visitor.token_record, page.now)
    if page.preferences.bounced:
        return Confirmation(
            "Mail to your address came back",
            "We noted that you want our email. But what we sent to this address came back undelivered, so we "
            "do not write there. Answer one of our mails, or give us another address, and we will.",
        )
    return Confirmation(
        "You get our email again",
        "Thank you. We noted your wish and today's date. Topics that you had stopped stay stopped.",
        "stop",
        "Stop all email",
    )


def _stop_topic(page: PreferencePage) -> Confirmation | None:
    topic = page.topic
    if topic is None:
        return None
    preference_center.unsubscribe_topic(page.site.ctx, page.visitor.token_record, topic, page.now)
    return Confirmation(
        f"No more emails about {topic.name}",
        "The rest of our mail goes on as before.",
        "start-topic",
        f"Send me emails about {topic.name} again",
        {"topic": topic.name},
    )


def _start_topic(page: PreferencePage) -> Confirmation | NotAllowedHere | None:
    topic = page.topic
    if topic is None:
        return None
    if topic.stopped_elsewhere:
        return NotAllowedHere(
            f"This page cannot start emails about {topic.name} again", _cannot_restart_text(page.preferences)
        )
    preference_center.resubscribe_topic(page.site.ctx, page.visitor.token_record, topic, page.now)
    return Confirmation(
        f"You get emails about {topic.name} again",
        "Thank you. We noted your wish and today's date.",
        "stop-topic",
        f"Stop emails about {topic.name}",
        {"topic": topic.name},
    )


def _pause(page: PreferencePage) -> Confirmation | InvalidAnswer:
    today, chosen = page.preferences.today, page.fields.get("pause", "")
    until = dates.add_months(today, PAUSES[chosen][1]) if chosen in PAUSES else None
    until = _chosen_day(page, "pause", until)
    if until is None:
        return InvalidAnswer("pause", "Choose how long we should pause, or write one day, like 2027-03-31.")
    if not today < until <= today + MAX_PAUSE:
        return InvalidAnswer("pause", "Choose a day from tomorrow on, at most two years away.")
    ctx, token_record = page.site.ctx, page.visitor.token_record
    preference_center.pause_until(ctx, token_record, until, page.preferences.zone, page.now)
    paused = preference_center.load_preferences(ctx, token_record, page.now)
    return Confirmation(
        f"Paused until {_format_day(paused.paused_until or until)}",
        "You hear nothing from us before that day. Then our mail goes on where it stopped.",
        "resume" if paused.paused_on_page else "",
        "End the pause now",
    )


def _resume(page: PreferencePage) -> Confirmation | NotAllowedHere:
    try:
        preference_center.end_pause(page.site.ctx, page.visitor.token_record, page.now)
    except InvalidState:
        return NotAllowedHere("This page cannot end the pause", _cannot_resume_text(page.preferences))
    return Confirmation("The pause is over", "Our mail goes on where it stopped. You can pause it again at any time.")


def _set_frequency(page: PreferencePage) -> Confirmation | InvalidAnswer:
    chosen = FREQUENCIES.get(page.fields.get("frequency", ""))
    if chosen is None:
        return InvalidAnswer("frequency", "Choose how often we may write.")
    label, days = chosen
    preference_center.set_touch_interval(page.site.ctx, page.visitor.token_record, days, page.now)
    previous_days = page.preferences.touch_interval_days
    undo = next((value for value, (_, days_) in FREQUENCIES.items() if days_ == previous_days != days), "")
    if days is None:
        return Confirmation("We write as often as we had planned", "You can change that here at any time.")
    return Confirmation(
        f"{label}, from now on",
        "That counts for everything that we send you, whatever it is about.",
        "frequency" if undo else "",
        f"Go back to: {FREQUENCIES[undo][0][0].lower()}{FREQUENCIES[undo][0][1:]}" if undo else "",
        {"frequency": undo},
    )


def _state_decision(page: PreferencePage) -> Confirmation | InvalidAnswer:
    today, chosen = page.preferences.today, page.fields.get("decides", "")
    quarter = dates.parse_day(chosen)
    day = _chosen_day(page, "decides", quarter if quarter in dates.quarter_ends(today, QUARTERS) else None)
    if day is None:
        return InvalidAnswer("decides", "Choose when, or write one day, like 2027-03-31.")
    if not today <= day <= today + dates.MAX_AHEAD:
        return InvalidAnswer("decides", "Choose a day from today on, at most ten years away.")
    preference_center.set_timeline(page.site.ctx, page.visitor.token_record, day, page.now)
    return Confirmation(
        f"Noted: you decide by {_format_day(day)}",
        "Thank you. We time what we send by it, and somebody may get in touch before then. "
        "Did the plan change, or was it a slip? Choose another day on the page of all choices.",
    )


def _withdraw_decision(page: PreferencePage) -> Confirmation:
    preference_center.clear_timeline(page.site.ctx, page.visitor.token_record, page.now)
    return Confirmation(
        "Noted: you have named no date",
        "Thank you. We no longer time our mail by a decision. "
        "If that was a slip, name the day again on the page of all choices.",
    )


def _cannot_restart_text(preferences: Preferences) -> str:
    """Say why the page starts no mail, and who can."""
    recipient = f" to {preferences.contact}" if preferences.contact else ""
    return (
        "It was stopped in another way: by an answer to a mail, by a report as spam, or by our team. This "
        "page starts again only what was stopped here or by the unsubscribe button, because anybody may have "
        "its link to whom one of our mails was forwarded. "
        f"Do you want our email? Write{recipient} from your own address."
    )


def _cannot_resume_text(preferences: Preferences) -> str:
    """Say why the page does not end a pause, and who can."""
    recipient = f" to {preferences.contact}" if preferences.contact else ""
    return (
        "It was not asked for on this page, but by our team or by an answer that says you are away. "
        f"Should it end sooner? Write{recipient} from your own address."
    )


def _chosen_day(page: PreferencePage, field_name: str, chosen: date | None) -> date | None:
    """Return the day that was chosen or written; None for neither, for both, and for what is no day."""
    written = page.fields.get(f"{field_name}-day", "")
    if not written:
        return chosen
    return dates.parse_day(written) if page.fields.get(field_name, CUSTOM_DAY) == CUSTOM_DAY else None


def _format_day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


ACTIONS: Final[Mapping[str, Callable[[PreferencePage], Confirmation | NotAllowedHere | InvalidAnswer | None]]] = {
    "stop": _stop_all,
    "start": _start_all,
    "stop-topic": _stop_topic,
    "start-topic": _start_topic,
    "pause": _pause,
    "resume": _resume,
    "frequency": _set_frequency,
    "state-decision": _state_decision,
    "withdraw-decision": _withdraw_decision,
}
"""What each button does. None: no button of ours sends that."""
