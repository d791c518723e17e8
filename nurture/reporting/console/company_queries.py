"""Read what all people of a company got and did."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, case, distinct, func, select

from nurture.db.tables.delivery import message
from nurture.db.tables.leads import journal, lead
from nurture.db.tables.signals import IS_ANSWER, signal
from nurture.db.transaction import Transaction
from nurture.outbox.messages import MARKETING, TOUCH


class CompanyCounts(NamedTuple):
    """How many emails the people of a company got, when the last one, and how many of them clicked and replied."""

    emails: int
    last_email_at: datetime | None
    clicked: int
    replied: int


class CompanyEvent(NamedTuple):
    """Something that one of the people got or did, or that happened to it; *message_id* opens the email as sent.

    *kind* is email, click, reply or move; *what* is the email, the answer or the event, *detail* where, or why.
    """

    at: datetime
    kind: str
    lead_id: int
    fields: dict[str, Any]
    what: str
    detail: str
    message_id: int | None


def count_touches(tx: Transaction, members: Select[tuple[int]]) -> CompanyCounts:
    """Return what the people of a company got and did."""
    newest = func.max(message.c.accepted_at, type_=message.c.accepted_at.type)
    of_people = (message.c.lead_id.in_(members), message.c.kind.in_(MARKETING), message.c.accepted_at.is_not(None))
    emails, last_email_at = tx.execute(select(func.count(), newest).where(*of_people)).one()
    did = (func.count(distinct(case((signal.c.kind == kind, signal.c.lead_id)))) for kind in ("clicked", "replied"))
    clicked, replied = tx.execute(select(*did).where(IS_ANSWER, signal.c.lead_id.in_(members))).one()
    return CompanyCounts(emails, last_email_at, clicked, replied)


def list_events(tx: Transaction, members: Select[tuple[int]], limit: int) -> list[CompanyEvent]:
    """Return the newest emails, answers and moves of the people of a company, the newest first."""
    emails = _newest(
        message.c.accepted_at,
        message.c.lead_id,
        (func.coalesce(message.c.track, ""), func.coalesce(message.c.email, ""), message.c.id, message.c.kind),
        (message.c.lead_id.in_(members), message.c.kind.in_(MARKETING), message.c.accepted_at.is_not(None)),
        limit,
    )
    answers = _newest(
        signal.c.occurred_at,
        signal.c.lead_id,
        (signal.c.kind, func.coalesce(signal.c.track, ""), func.coalesce(signal.c.step, "")),
        (signal.c.lead_id.in_(members), IS_ANSWER),
        limit,
    )
    moves = _newest(
        journal.c.at,
        journal.c.lead_id,
        (journal.c.event, journal.c.reason),
        (journal.c.lead_id.in_(members), journal.c.custody_to.is_not(None)),
        limit,
    )
    found = [
        CompanyEvent(at, "email", lead_id, fields, name, track, message_id if kind == TOUCH else None)
        for at, lead_id, fields, track, name, message_id, kind in tx.execute(emails)
    ]
    found += [
        CompanyEvent(at, "reply" if kind == "replied" else "click", lead_id, fields, kind, f"{track} {step}", None)
        for at, lead_id, fields, kind, track, step in tx.execute(answers)
    ]
    found += [
        CompanyEvent(at, "move", lead_id, fields, event, reason, None)
        for at, lead_id, fields, event, reason in tx.execute(moves)
    ]
    return sorted(found, key=lambda one: one.at, reverse=True)[:limit]


def _newest(
    at: ColumnElement[Any],
    lead_id: ColumnElement[int],
    columns: Sequence[ColumnElement[Any]],
    where: Sequence[ColumnElement[bool]],
    limit: int,
) -> Select[Any]:
    query = select(at, lead.c.id, lead.c.fields, *columns).join(lead, lead.c.id == lead_id)
    return query.where(*where).order_by(at.desc()).limit(limit)
