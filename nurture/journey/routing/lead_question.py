"""Ask a lead by email for the one field that routing needs, with a link to an answer page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from nurture.db.transaction import Transaction
from nurture.definitions import folder
from nurture.domain.fields import FieldDefinition, FieldType
from nurture.domain.lead import Custodian, Queue
from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.conditions import Condition, FieldCondition, leaves
from nurture.formats.places import countries, country_code
from nurture.journey.leads.changeset import NewMessage
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.routing.queries import MissingField
from nurture.journey.tracks.touch_email import address_lead, main_program, sender_address
from nurture.mail.rendering.render import compose
from nurture.outbox.messages import TO_LEAD, DueMessage
from nurture.runtime import public_links
from nurture.runtime.context import AppContext
from nurture.runtime.message_kinds import ComposedMessage, MessageKind
from nurture.runtime.public_links import LinkSpec
from nurture.runtime.published import Definitions

QUESTION_KIND: Final = "question"
"""The message kind. The `step` of such a message is the field it asks for."""

TEMPLATE: Final = folder.QUESTION
MAX_ANSWER_LENGTH: Final = 200

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


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its answer options; without options the answer is free text."""

    field: str
    text: str
    options: tuple[tuple[str, str], ...] = ()
    preferred: tuple[str, ...] = ()
    definition: FieldDefinition | None = None

    @property
    def number(self) -> bool:
        """Return whether the answer is a number."""
        return self.definition is not None and self.definition.type is FieldType.NUMBER


def build_question(field: str, conditions: list[Condition], definition: FieldDefinition | None = None) -> Question:
    """Return the question for *field*; options are its choices, or the values that the routing rules test."""
    text = _QUESTIONS.get(field, f"What is your {field.replace('_', ' ')}?")
    answers = tuple(dict.fromkeys(value for one in conditions for value in _tested_values(field, one)))
    if field == "country":
        return Question(field, text, countries(), tuple(code for code in answers if country_code(code) == code))
    if definition is not None and definition.type is not FieldType.TEXT:
        answers = ("yes", "no") if definition.type is FieldType.YES_NO else definition.choices
    return Question(field, text, tuple((value, value) for value in answers), definition=definition)


def _tested_values(field: str, condition: Condition) -> Iterator[str]:
    for one in leaves(condition):
        match one:
            case FieldCondition(name=name, comparison=Comparison.IS | Comparison.IN, value=value) if name == field:
                yield from (text for text in (value if isinstance(value, tuple) else (value,)) if isinstance(text, str))
            case _:
                pass


def build_question_messages(
    ctx: AppContext, lead: LeadSnapshot, definitions: Definitions, missing_field: MissingField, now: datetime
) -> list[NewMessage]:
    """Return the email that asks for a field, from the sender of the lead's track, or else of the main track.

    [] if no page could take the answer, it was asked before, or no track defines a sender.
    """
    enrollment = lead.view.enrollment
    program = definitions.programs.get(enrollment.track) if enrollment is not None else None
    if program is None:
        program = main_program(definitions)
    if program is None or not ctx.base_url or missing_field.requested_at != now:
        return []
    lead_id, kind, until = lead.view.lead.id, QUESTION_KIND, missing_field.due_at
    message = NewMessage.due_now(f"{kind}:{lead_id}:{missing_field.field}", kind, TO_LEAD, lead_id, kind, now, until)
    return [message._replace(track=program.track, track_version=program.version, step=missing_field.field)]


@dataclass(frozen=True, slots=True)
class Questions:
    """Composes questions to leads; they share nothing that is not cached."""

    ctx: AppContext

    @classmethod
    def load(cls, ctx: AppContext, _tx: Transaction, _batch: Sequence[DueMessage], _now: datetime) -> Self:
        """Return the composer."""
        return cls(ctx)

    def compose(self, tx: Transaction, message: DueMessage) -> ComposedMessage:
        """Compose the email that asks for a field, with a link to the answer page."""
        ctx, field = self.ctx, message.step
        program = ctx.definitions.program(tx, message.track or "", message.track_version or 0)
        policy = ctx.definitions.current(tx).policy
        links, envelope, values = address_lead(ctx, program, sender_address(program.sender), message, QUESTION_KIND)
        links.append(public_links.make_link(LinkSpec(public_links.QUESTION, message.lead_id, message.id)))
        text = build_question(field, [rule.when for rule in policy.routing]).text
        values["question"] = {"url": links[-1].url(ctx.base_url), "text": text, "field": field.replace("_", " ")}
        template = ctx.definitions.lead_email(tx, policy.version, TEMPLATE)
        return ComposedMessage(compose(template, values, envelope), links)


def withdrawal_reason(message: DueMessage) -> str:
    """Return why a due question is not to be sent any more, "" if the lead still waits for the field."""
    is_waiting = (message.custodian, message.custody_ref) == (Custodian.QUEUE, Queue.MISSING_FIELD)
    return "" if is_waiting else "left_track"


QUESTION: Final = MessageKind(QUESTION_KIND, Questions.load, withdrawal_reason, priority=1)
