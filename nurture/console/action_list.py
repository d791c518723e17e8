"""Every action of the console, by name."""

from collections.abc import Mapping
from typing import Final

from nurture.console.actions import Action, Call, Field, FieldKind, ObjectKind
from nurture.console.clock_actions import CLOCK_ACTIONS
from nurture.console.email_actions import EMAIL_ACTIONS
from nurture.console.filter_actions import FILTER_ACTIONS
from nurture.console.importing.import_actions import IMPORT_ACTIONS
from nurture.console.lead_actions import LEAD_ACTIONS, MARKETING
from nurture.console.publish_actions import PUBLISH_ACTIONS
from nurture.console.rep_actions import REP_ACTIONS
from nurture.console.reports.delivery_actions import DELIVERY_ACTIONS
from nurture.console.user_actions import USER_ACTIONS
from nurture.domain.delivery.stops import ALL_TRACKS
from nurture.journey.delivery import stopping
from nurture.publishing import copies
from nurture.reporting.wording import pluralize

_NAME: Final = Field("name", "Name of the copy, such as fair-2027")
_REASON: Final = Field("reason", "Reason", FieldKind.LONG_TEXT)


def _stop_mail(call: Call) -> str:
    stopping.stop(call.ctx, ALL_TRACKS, call.values["reason"], call.by, call.now)
    return "All mail to leads is stopped."


def _start_mail(call: Call) -> str:
    stopping.start(call.ctx, ALL_TRACKS, call.values["reason"], call.by, call.now)
    return "Mail to leads is started."


def _stop_track(call: Call) -> str:
    stopping.stop(call.ctx, stopping.require_track(call.object), call.values["reason"], call.by, call.now)
    return f"The track {call.object} is stopped."


def _start_track(call: Call) -> str:
    stopping.start(call.ctx, stopping.require_track(call.object), call.values["reason"], call.by, call.now)
    return f"The track {call.object} is started."


def _copy_track(call: Call) -> str:
    found = copies.write_copy(call.ctx.templates, stopping.require_track(call.object), call.values["name"])
    files = pluralize(len(found.files), "file")
    notes = " ".join((*found.notes, *(str(one.message) for one in found.problems[:5])))
    return f"{call.object} is copied to {call.values['name']}: {files}. Nothing is published. {notes}".strip()


_ALL: Final = (
    Action("stop_mail", "Stop all mail", MARKETING, ObjectKind.MAIL, _stop_mail, (_REASON,), is_grave=True),
    Action("start_mail", "Start mail", MARKETING, ObjectKind.MAIL, _start_mail, (_REASON,)),
    Action("stop_track", "Stop this track", MARKETING, ObjectKind.TRACK, _stop_track, (_REASON,), is_grave=True),
    Action("start_track", "Start this track", MARKETING, ObjectKind.TRACK, _start_track, (_REASON,)),
    Action("copy_track", "Copy this track", MARKETING, ObjectKind.TRACK, _copy_track, (_NAME,), named_by="name"),
    *LEAD_ACTIONS,
    *FILTER_ACTIONS,
    *REP_ACTIONS,
    *PUBLISH_ACTIONS,
    *USER_ACTIONS,
    *CLOCK_ACTIONS,
    *DELIVERY_ACTIONS,
    *IMPORT_ACTIONS,
    *EMAIL_ACTIONS,
)

ACTIONS: Final[Mapping[str, Action]] = {one.name: one for one in _ALL}
