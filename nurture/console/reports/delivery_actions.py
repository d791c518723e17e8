"""What users do about delivery: resume a sender, settle messages whose delivery is unknown, suppress addresses."""

from typing import Final

from nurture.console.actions import Action, Call, Field, FieldKind, ObjectKind
from nurture.console.lead_actions import MARKETING
from nurture.journey.consent import suppression
from nurture.journey.delivery import circuit_breakers, unknown


def _resume(call: Call) -> str:
    released = circuit_breakers.resume(call.ctx, call.object, f"by {call.by}", call.now)
    return f"No longer paused: {', '.join(one.name for one in released)}."


def _settle(call: Call, *, sent: bool) -> str:
    (settled,) = unknown.resolve_unknown(call.ctx, [int(call.object)], call.now, sent=sent)
    found = "counts as sent" if sent else "counts as not sent, and is planned again if the lead may still be mailed"
    return f"The email to lead {settled.lead_id} {found}."


def _suppress(call: Call) -> str:
    addresses = call.values["addresses"].replace(",", " ").split()
    done = suppression.suppress(call.ctx, addresses, call.now)
    return f"Suppressed: {done.new:,}. Already suppressed: {done.known:,}."


_ADDRESSES: Final = Field("addresses", "Addresses, separated by spaces or lines", FieldKind.LONG_TEXT)

DELIVERY_ACTIONS: Final = (
    Action("resume_sender", "Resume", MARKETING, ObjectKind.SENDER, _resume),
    Action("settle_sent", "It was sent", MARKETING, ObjectKind.MESSAGE, lambda call: _settle(call, sent=True)),
    Action("settle_not_sent", "It was not sent", MARKETING, ObjectKind.MESSAGE, lambda call: _settle(call, sent=False)),
    Action("suppress", "Suppress addresses", MARKETING, ObjectKind.MAIL, _suppress, (_ADDRESSES,), is_grave=True),
)
