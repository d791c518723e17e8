"""Show the preference center, where leads choose topics, frequency, pauses and their decision date."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final, Literal

from starlette.responses import HTMLResponse

from nurture.domain.consent.suppression import SuppressionSource
from nurture.errors import InvalidState
from nurture.journey.preferences import preference_center, unsubscribe
from nurture.journey.preferences.preference_center import Preferences, Topic
from nurture.web import forms
from nurture.web.auth import Visitor, VisitorDep
from nurture.web.forms import FormFields
from nurture.web.site import Site, SiteDep

ACTION_FIELD: Final = "do"
"""The name of every button; its value says what the button does."""

PAUSES: Final[Mapping[str, tuple[str, int]]] = {
    "1": ("For a month", 1),
    "3": ("For three months", 3),
    "6": ("For half a year", 6),
}
"""The label and the months of each pause."""

MAX_PAUSE: Final = timedelta(days=2 * 366)

FREQUENCIES: Final[Mapping[str, tuple[str, int | None]]] = {
    "any": ("As often as planned", None),
    "14": ("At most one every two weeks", 14),
    "30": ("At most one a month", 30),
    "60": ("At most one every two months", 60),
}
"""The label and the minimum days between touches of each frequency."""

QUARTERS: Final = 4


@dataclass(frozen=True, slots=True)
class PreferencePage:
    """The form of a button that the lead pressed."""

    site: Site
    visitor: Visitor
    preferences: Preferences
    fields: Mapping[str, str]
    now: datetime

    @property
    def topic(self) -> Topic | None:
        """Return the topic that the form names, None if there is none."""
        return self.preferences.topic(self.fields.get("topic", ""))


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The text that confirms an action, and the button that undoes it."""

    title: str
    text: str
    undo: str = ""
    undo_label: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotAllowedHere:
    """An action that this page may not perform, and what may not: "restart" or "resume". Nothing was changed."""

    title: str
    refused: Literal["restart", "resume"]


@dataclass(frozen=True, slots=True)
class InvalidAnswer:
    """The problem in a section of the page. Nothing was changed."""

    section: str
    text: str


def show_preferences(site: SiteDep, visitor: VisitorDep) -> HTMLResponse:
    """Show the lead's choices. Mail scanners open every link, so a GET changes nothing."""
    return _preference_page(site, preference_center.load_preferences(site.ctx, visitor.token_record, site.clock.now()))


def apply_choice(site: SiteDep, visitor: VisitorDep, fields: FormFields) -> HTMLResponse:
    """Perform the action of the pressed button."""
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
        pauses={value: (label, forms.add_months(today, months)) for value, (label, months) in PAUSES.items()},
        frequencies={value: label for value, (label, _) in FREQUENCIES.items()},
        frequency=next(
            (value for value, (_, days) in FREQUENCIES.items() if days == preferences.touch_interval_days), ""
        ),
        quarters=forms.quarter_ends(today, QUARTERS),
        tomorrow=(today + timedelta(days=1)).isoformat(),
        today=today.isoformat(),
        longest=(today + MAX_PAUSE).isoformat(),
        farthest=(today + forms.MAX_AHEAD).isoformat(),
        invalid=invalid,
        form=form or {},
    )


def _stop_all(page: PreferencePage) -> Confirmation:
    visitor = page.visitor
    unsubscribe.unsubscribe(page.site.ctx, visitor.token, visitor.token_record, page.now, by=SuppressionSource.PAGE)
    return Confirmation(
        "You get no more email from us",
        "We stopped all email to you. An email that is already on its way may still arrive.",
        "start",
        "Send me email again",
    )


def _start_all(page: PreferencePage) -> Confirmation | NotAllowedHere:
    if page.preferences.stopped_elsewhere:
        return NotAllowedHere("This page cannot start our email again", "restart")
    preference_center.resubscribe(page.site.ctx, page.visitor.token_record, page.now)
    if page.preferences.bounced:
        return Confirmation(
            "Email to your address could not be delivered",
            "We recorded that you want our email. But email to this address could not be delivered, so we do not "
            "send any. Reply to one of our emails, or give us another address, and we start again.",
        )
    return Confirmation(
        "You get our email again",
        "Thank you. We recorded your choice and today's date. Topics that you stopped stay stopped.",
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
        "All other email continues.",
        "start-topic",
        f"Send me emails about {topic.name} again",
        {"topic": topic.name},
    )


def _start_topic(page: PreferencePage) -> Confirmation | NotAllowedHere | None:
    topic = page.topic
    if topic is None:
        return None
    if topic.stopped_elsewhere:
        return NotAllowedHere(f"This page cannot start emails about {topic.name} again", "restart")
    preference_center.resubscribe_topic(page.site.ctx, page.visitor.token_record, topic, page.now)
    return Confirmation(
        f"You get emails about {topic.name} again",
        "Thank you. We recorded your choice and today's date.",
        "stop-topic",
        f"Stop emails about {topic.name}",
        {"topic": topic.name},
    )


def _pause(page: PreferencePage) -> Confirmation | InvalidAnswer:
    today = page.preferences.today
    options = {value: forms.add_months(today, months) for value, (_, months) in PAUSES.items()}
    until = forms.chosen_day(page.fields, "pause", options)
    if until is None:
        return InvalidAnswer("pause", "Choose how long we should pause, or enter a date such as 2027-03-31.")
    if not today < until <= today + MAX_PAUSE:
        return InvalidAnswer("pause", "Choose a day from tomorrow on, at most two years away.")
    ctx, token_record = page.site.ctx, page.visitor.token_record
    preference_center.pause_until(ctx, token_record, until, page.preferences.zone, page.now)
    paused = preference_center.load_preferences(ctx, token_record, page.now)
    return Confirmation(
        f"Paused until {_format_day(paused.paused_until or until)}",
        "You get no email from us before that day. Then our email continues where it stopped.",
        "resume" if paused.paused_on_page else "",
        "End the pause now",
    )


def _resume(page: PreferencePage) -> Confirmation | NotAllowedHere:
    try:
        preference_center.end_pause(page.site.ctx, page.visitor.token_record, page.now)
    except InvalidState:
        return NotAllowedHere("This page cannot end the pause", "resume")
    return Confirmation(
        "The pause is over", "Our email continues where it stopped. You can pause it again at any time."
    )


def _set_frequency(page: PreferencePage) -> Confirmation | InvalidAnswer:
    chosen = FREQUENCIES.get(page.fields.get("frequency", ""))
    if chosen is None:
        return InvalidAnswer("frequency", "Choose how often we may write.")
    label, days = chosen
    preference_center.set_touch_interval(page.site.ctx, page.visitor.token_record, days, page.now)
    previous_days = page.preferences.touch_interval_days
    undo = next((value for value, (_, days_) in FREQUENCIES.items() if days_ == previous_days != days), "")
    if days is None:
        return Confirmation("We write as often as planned", "You can change that here at any time.")
    return Confirmation(
        f"{label}, from now on",
        "This applies to all email that we send you, on every topic.",
        "frequency" if undo else "",
        f"Go back to: {FREQUENCIES[undo][0][0].lower()}{FREQUENCIES[undo][0][1:]}" if undo else "",
        {"frequency": undo},
    )


def _state_decision(page: PreferencePage) -> Confirmation | InvalidAnswer:
    today = page.preferences.today
    quarters = {end.isoformat(): end for end in forms.quarter_ends(today, QUARTERS)}
    day = forms.chosen_day(page.fields, "decides", quarters)
    if day is None:
        return InvalidAnswer("decides", "Choose when, or enter a date such as 2027-03-31.")
    if not today <= day <= today + forms.MAX_AHEAD:
        return InvalidAnswer("decides", "Choose a day from today on, at most ten years away.")
    preference_center.set_timeline(page.site.ctx, page.visitor.token_record, day, page.now)
    return Confirmation(
        f"Saved: you decide by {_format_day(day)}",
        "Thank you. We time our emails by this date, and our team may contact you before then. "
        "Did the plan change? Choose another day on the page with all your choices.",
    )


def _withdraw_decision(page: PreferencePage) -> Confirmation:
    preference_center.clear_timeline(page.site.ctx, page.visitor.token_record, page.now)
    return Confirmation(
        "The date was removed",
        "Thank you. We no longer time our emails by it. "
        "If that was a mistake, enter the date again on the page with all your choices.",
    )


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
"""The handler of each button. It returns None for a form that no button of ours sends."""
