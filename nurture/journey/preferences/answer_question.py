"""Record the answer of a lead to the question that routing waits for."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from nurture.db.tables.delivery import message
from nurture.definitions.fields import BUILT_IN
from nurture.domain.fields import FieldDefinition
from nurture.domain.lead import Custodian, FieldValue, Queue
from nurture.domain.signals import SignalKind
from nurture.errors import NotFound
from nurture.formats.dates import DateReader
from nurture.formats.lead_row import FIELDS, make_reader
from nurture.formats.places import country_code
from nurture.journey.engagement import signals
from nurture.journey.leads import snapshot
from nurture.journey.leads.changeset import FieldUpdate
from nurture.journey.leads.queries import load_fields
from nurture.journey.leads.transitions import LeadTransitions
from nurture.journey.preferences import unsubscribe
from nurture.journey.routing import queries
from nurture.journey.routing.lead_question import MAX_ANSWER_LENGTH, QUESTION_KIND, Question, build_question
from nurture.runtime.context import AppContext
from nurture.runtime.link_queries import TokenRecord


@dataclass(frozen=True, slots=True)
class QuestionPage:
    """A question to the lead of a link, with its sender and the current answer."""

    question: Question
    sender: str
    is_answered: bool


def load_question(ctx: AppContext, token: TokenRecord) -> QuestionPage | None:
    """Return the question of a link, None if it is no longer known."""
    with ctx.database.read() as tx:
        field = tx.execute(
            select(message.c.step).where(message.c.id == token.message_id, message.c.kind == QUESTION_KIND)
        ).scalar_one_or_none()
        if field is None:
            return None
        rules = ctx.definitions.current(tx).policy.routing
        definition = {**BUILT_IN, **ctx.definitions.declared_fields(tx)}.get(field)
        fields = load_fields(tx, token.lead_id)
        sender = unsubscribe.load_sender_name(ctx, tx, token)
    current = fields.get(field)
    question = build_question(field, [rule.when for rule in rules], definition)
    return QuestionPage(question, sender, bool(str(current or "").strip()))


def parse_answer(question: Question, text: str) -> FieldValue:
    """Return the value of an answer, None if it is empty or not among the choices of the question."""
    plain = " ".join(text.split())
    if not plain or len(plain) > MAX_ANSWER_LENGTH:
        return None
    if question.field == "country":
        return country_code(plain)
    definition = question.definition or FieldDefinition(question.field)
    read = FIELDS[question.field].read if question.field in FIELDS else make_reader(definition, DateReader())
    try:
        value: FieldValue = read(plain) if read is not None else plain
    except ValueError:
        return None
    return value


def save_answer(ctx: AppContext, token: TokenRecord, page: QuestionPage, value: FieldValue, now: datetime) -> None:
    """Store the answer in the lead's fields; a lead that waited for it becomes due for routing."""
    field = page.question.field
    with ctx.database.write() as tx:
        rows = snapshot.load_rows(tx, [token.lead_id])
        if not rows:
            raise NotFound(f"There is no lead {token.lead_id}; it may have been erased.")
        transitions = LeadTransitions(ctx.definitions.current(tx), now, "signals")
        (lead,) = snapshot.load_snapshots(ctx, tx, transitions.definitions, rows, now)
        fields = {**lead.view.lead.fields, field: value}
        transitions.changes.field_updates.append(FieldUpdate(token.lead_id, fields))
        custody_change = None
        if lead.view.custodian is Custodian.QUEUE and lead.ref == Queue.MISSING_FIELD:
            custody_change = transitions.set_custody(lead, Custodian.QUEUE, Queue.HAND_OFF, "offer to a rep", now)
        reason = f"the lead answered {field} by the link in message {token.message_id}"
        transitions.add_journal_entry(lead, "question_answered", reason, custody_change, ref=field)
        transitions.changes.write(tx, now)
        if field == "country" and isinstance(value, str):
            queries.set_country(tx, token.lead_id, value, now)
        queries.mark_filled(tx, [(token.lead_id, field, "lead")], now)
    key = f"submitted|{token.message_id}|{field}"
    signals.record(ctx, [unsubscribe.link_signal(ctx, token, SignalKind.SUBMITTED, key, now)], now)
