"""Ask a lead by email for the one field that routing needs, with a link to an answer page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from nurture.db.tables import delivery as delivery_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction
from nurture.domain.lead import full_name
from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.conditions import AllOf, AnyOf, Condition, FieldCondition, Not
from nurture.formats.places import countries, country_code
from nurture.journey.leads.changeset import NewMessage
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.routing.queries import MissingField
from nurture.journey.tracks.touch_email import ComposedTouch, sender_address, touch_values
from nurture.mail.rendering.render import Address, Envelope, compose
from nurture.outbox.messages import DueMessage
from nurture.runtime import public_links
from nurture.runtime.context import AppContext
from nurture.runtime.public_links import LinkSpec
from nurture.runtime.published import Definitions

QUESTION_KIND: Final = "question"
"""The message kind. The `step` of such a message is the field it asks for."""

TEMPLATE: Final = "handoff/ask.md"
MAX_ANSWER_LENGTH: Final = 200

_message = table(delivery_tables.Message)
_QUESTIONS: Final = {
    "country": "In which country do you work?",
    "region": "In which region do you work?",
    "postcode": "What is your postcode?",
    "city": "In which town do you work?",
    "industry": "In which industry do you work?",
    "employees": "How many people work at your company?",
    "company": "For which company do you work?",
    "title": "What is your role?",
}
_NUMBER_FIELDS: Final = frozenset({"employees"})


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its answer options; without options the answer is free text."""

    field: str
    text: str
    options: tuple[tuple[str, str], ...] = ()
    preferred: tuple[str, ...] = ()
    number: bool = False


def build_question(field: str, conditions: list[Condition]) -> Question:
    """Return the question for *field*; options are the values that the routing rules test."""
    text = _QUESTIONS.get(field, f"What is your {field.replace('_', ' ')}?")
    answers = tuple(dict.fromkeys(value for one in conditions for value in _tested_values(field, one)))
    if field == "country":
        return Question(field, text, countries(), tuple(code for code in answers if country_code(code) == code))
    if field in _NUMBER_FIELDS:
        return Question(field, text, number=True)
    return Question(field, text, tuple((value, value) for value in answers))


def _tested_values(field: str, condition: Condition) -> list[str]:
    match condition:
        case FieldCondition(name=name, comparison=Comparison.IS | Comparison.IN, value=value) if name == field:
            values = value if isinstance(value, tuple) else (value,)
            return [str(one) for one in values if isinstance(one, str)]
        case AllOf(parts=parts) | AnyOf(parts=parts):
            return [value for part in parts for value in _tested_values(field, part)]
        case Not(part=part):
            return _tested_values(field, part)
        case _:
            return []


def build_question_messages(
    ctx: AppContext, lead: LeadSnapshot, definitions: Definitions, missing_field: MissingField, now: datetime
) -> list[NewMessage]:
    """Return the email that asks for a field, from the sender of the lead's track, or else of the main track.

    [] if no page could take the answer, it was asked before, or no track defines a sender.
    """
    enrollment = lead.view.enrollment
    program = definitions.programs.get(enrollment.track) if enrollment is not None else None
    if program is None:
        program = max(definitions.programs.values(), key=lambda one: (one.priority, one.track), default=None)
    if program is None or not ctx.base_url or missing_field.requested_at != now:
        return []
    lead_id = lead.view.lead.id
    return [
        NewMessage(
            send_key=f"ask:{lead_id}:{missing_field.field}",
            kind=QUESTION_KIND,
            lead_id=lead_id,
            enrollment_id=None,
            offer_id=None,
            track=program.track,
            track_version=program.version,
            step=missing_field.field,
            visit=1,
            email=QUESTION_KIND,
            rep=None,
            planned_at=now,
            send_at=now,
            expires_at=missing_field.due_at,
            state="planned",
            state_at=now,
        )
    ]


def compose_question(ctx: AppContext, tx: Transaction, message: DueMessage) -> ComposedTouch:
    """Compose the email that asks for a field, with a link to the answer page."""
    assert message.address is not None
    program = ctx.definitions.program(tx, message.track or "", message.track_version or 0)
    policy = ctx.definitions.current(tx).policy
    compiled = ctx.definitions.lead_email(tx, policy.version, TEMPLATE)
    links = [
        public_links.make_link(LinkSpec(purpose, message.lead_id, message.id))
        for purpose in (public_links.UNSUBSCRIBE, public_links.PREFERENCES, public_links.QUESTION)
    ]
    unsubscribe_url, preferences_url, answer_url = (link.url(ctx.base_url) for link in links)
    sender = program.sender
    question = build_question(message.step, [rule.when for rule in policy.routing])
    values = touch_values(message.fields, program, unsubscribe_url, message.consent_basis or "", preferences_url)
    values["ask"] = {"url": answer_url, "question": question.text, "field": message.step.replace("_", " ")}
    envelope = Envelope(
        ref=message.send_key,
        sender=sender_address(sender),
        to=Address(full_name(message.fields), message.address),
        reply_to=Address(sender.name, sender.reply_to) if sender.reply_to else None,
        unsubscribe_mailto=f"mailto:{sender.reply_to or sender.email}?subject=unsubscribe",
        labels=(message.track or "", QUESTION_KIND),
        installation_id=ctx.installation_id,
    )
    return ComposedTouch(compose(compiled, values, envelope), links)
