"""What users do with an email of a track: have it sent to their own address, alone or with the whole track."""

from typing import Final

from nurture.console.actions import Action, Call, Field, FieldKind, ObjectKind
from nurture.console.lead_actions import MARKETING
from nurture.errors import InvalidState
from nurture.journey.delivery import stopping
from nurture.journey.leads.find import find_lead
from nurture.journey.tracks import emails_to_self
from nurture.journey.tracks.emails_to_self import BETWEEN, SAMPLE_RECIPIENTS, Request
from nurture.reporting.wording import pluralize


def _send_email(call: Call) -> str:
    emails_to_self.send_to_self(call.ctx, _request(call, call.values["email"]), call.now)
    return f"{call.values['email']} is on its way to {call.user.login}."


def _send_track(call: Call) -> str:
    sent = emails_to_self.send_to_self(call.ctx, _request(call, ""), call.now)
    pace = f"one each {BETWEEN.total_seconds() / 60:g} minute"
    return (
        f"{pluralize(sent, 'email')} of {call.object} go to {call.user.login}, {pace}, with the delays in the subjects."
    )


def _request(call: Call, email: str) -> Request:
    """Return what is asked for. The address is that of the user, whatever the browser says. Raises InvalidState."""
    login = call.user.login
    if login.count("@") != 1 or "." not in login.partition("@")[2] or any(one.isspace() for one in login):
        raise InvalidState(f"Emails can be sent only to your own address, and your login {login[:80]!r} is none.")
    track, to = stopping.require_track(call.object), call.values["to"]
    version = call.values["version"]
    if not version.isdecimal() or len(version) > 9:
        raise InvalidState(f"{version[:20]!r} is no version.")
    shown = to if to in SAMPLE_RECIPIENTS else str(find_lead(call.ctx, to))
    return Request(track, int(version), email, shown, login)


_VERSION: Final = Field("version", "Version", FieldKind.CHOICE)
_TO: Final = Field("to", "As whom it is written", FieldKind.CHOICE)

EMAIL_ACTIONS: Final = (
    Action(
        *("send_email_to_me", "Send to me", MARKETING, ObjectKind.TRACK, _send_email),
        (Field("email", "Email", FieldKind.CHOICE), _VERSION, _TO),
    ),
    Action("send_track_to_me", "Send the whole track to me", MARKETING, ObjectKind.TRACK, _send_track, (_VERSION, _TO)),
)
