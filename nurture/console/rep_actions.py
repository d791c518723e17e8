"""What a rep does about an own hand-off: accept, give back, record a contact."""

from typing import Final

from nurture.console.access.users import Role
from nurture.console.actions import Action, Call, Field, FieldKind, ObjectKind
from nurture.journey.handoff import responses, workspace

_REP: Final = frozenset({Role.REP})
_REJECT: Final = (
    Field("reason", "Reason", FieldKind.CHOICE),
    Field("note", "What else you learned", FieldKind.LONG_TEXT, required=False),
)


def _accept(call: Call) -> str:
    responses.accept(call.ctx, int(call.object), call.now)
    return "The lead is yours."


def _reject(call: Call) -> str:
    responses.reject(call.ctx, int(call.object), call.values["reason"], call.now, None, call.values["note"])
    return "The lead goes back."


def _record_contact(call: Call) -> str:
    workspace.record_contact(call.ctx, call.lead_id, call.user.rep, call.now)
    return "The contact is recorded."


REP_ACTIONS: Final = (
    Action("accept_offer", "Accept", _REP, ObjectKind.OFFER, _accept),
    Action("reject_offer", "Give back", _REP, ObjectKind.OFFER, _reject, _REJECT),
    Action("record_contact", "I was in touch", _REP, ObjectKind.LEAD, _record_contact),
)
