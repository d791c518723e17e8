"""Take the answer of a lead to the one question that routing waits for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Table, select

from nurture.db.tables import core
from nurture.domain.lead import NEEDS, Custodian, Fact, Queue
from nurture.domain.signals import SignalKind
from nurture.errors import NotFound
from nurture.formats.places import country_code
from nurture.journey.engagement import signals
from nurture.journey.leads import origin_queries, snapshot
from nurture.journey.leads.changeset import Factual
from nurture.journey.leads.transitions import Mover
from nurture.journey.preferences import unsubscribe
from nurture.journey.routing import queries
from nurture.journey.routing.ask_lead import ASK, LONGEST, Question, question_of
from nurture.runtime.context import House
from nurture.runtime.token_queries import Kept

_message: Table = core.Message.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Asking:
    """A question to the lead of a link, who asks, and what is known by now."""

    question: Question
    sender: str
    known: bool


def show(house: House, kept: Kept) -> Asking | None:
    """Return the question that the link of an email asks; None if nothing is known of it."""
    with house.database.read() as connection:
        field = connection.execute(
            select(_message.c.step).where(_message.c.id == kept.message_id, _message.c.kind == ASK)
        ).scalar_one_or_none()
        if field is None:
            return None
        rules = house.rulebooks.current(connection).policy.routing
        facts = origin_queries.facts_of(connection, kept.lead_id)
        sender = unsubscribe.sender_of(house, connection, kept)
    known = facts.get(field)
    return Asking(question_of(field, [rule.when for rule in rules]), sender, bool(str(known or "").strip()))


def read(question: Question, told: str) -> Fact:
    """Return what an answer means; None for none, or for one that the question does not know."""
    plain = " ".join(told.split())
    if not plain or len(plain) > LONGEST:
        return None
    if question.field == "country":
        return country_code(plain)
    if question.number:
        return int(plain) if plain.isascii() and plain.isdigit() and len(plain) <= 9 else None
    return plain


def answer(house: House, kept: Kept, asking: Asking, value: Fact, now: datetime) -> None:
    """Keep what the lead answered as a fact; if it waited for that, it is routed at once."""
    field = asking.question.field
    with house.database.write() as connection:
        rows = snapshot.these(house.database, connection, [kept.lead_id])
        if not rows:
            raise NotFound(f"There is no lead {kept.lead_id}; it may have been erased.")
        (lead,) = snapshot.views(house.database, connection, rows, now, house.holidays)
        mover = Mover(house.rulebooks.current(connection), now, "listen")
        facts = {**lead.view.lead.facts, field: value}
        mover.changes.facts.append(Factual(kept.lead_id, facts))
        moved = None
        if lead.view.custodian is Custodian.QUEUE and lead.ref == f"{NEEDS}{field}":
            moved = mover.keep(lead, Custodian.QUEUE, Queue.HAND_OFF, "offer to a rep", now)
        because = f"the lead told its {field}, by the link in message {kept.message_id}"
        mover.note(lead, "told", because, moved, ref=field)
        mover.changes.write(house.database, connection, now)
        if field == "country" and isinstance(value, str):
            queries.set_country(connection, kept.lead_id, value, now)
        queries.fill(house.database, connection, [(kept.lead_id, field, "lead")], now)
    key = f"submitted|{kept.message_id}|{field}"
    signals.record(house, [unsubscribe.answered(house, kept, SignalKind.SUBMITTED, key, now)], now)
