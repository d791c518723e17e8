"""The log of actions in the console, and what decides whether an object is a user's own."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import and_, or_, select

from nurture.db.tables.console import console_action as entry
from nurture.db.tables.console import console_user as user
from nurture.db.tables.delivery import message
from nurture.db.tables.handoff import offer
from nurture.db.tables.leads import custody
from nurture.db.transaction import Transaction
from nurture.domain.lead import SALES_QUEUES, Custodian


class ActionRecord(NamedTuple):
    """An action of the log: who asked for it, on which object, and whether it was done."""

    at: datetime
    login: str
    action: str
    object: str
    outcome: str
    id: int


def add_action(tx: Transaction, at: datetime, user_id: int, name: str, target: str, outcome: str) -> None:
    """Write an action to the log."""
    tx.insert(entry, ("at", "user_id", "action", "object", "outcome"), [(at, user_id, name, target, outcome)])


def list_actions(
    tx: Transaction,
    limit: int,
    *,
    login: str = "",
    action: str = "",
    outcomes: Collection[str] = (),
    before: int | None = None,
) -> list[ActionRecord]:
    """Return the newest actions with ids below *before*: of a user, of a name, with one of some outcomes, or all."""
    columns = (entry.c.at, user.c.login, entry.c.action, entry.c.object, entry.c.outcome, entry.c.id)
    statement = select(*columns).join(user, user.c.id == entry.c.user_id)
    if login:
        statement = statement.where(user.c.login == login)
    if action:
        statement = statement.where(entry.c.action == action)
    if outcomes:
        statement = statement.where(entry.c.outcome.in_(sorted(outcomes)))
    if before is not None:
        statement = statement.where(entry.c.id < before)
    return [ActionRecord._make(row) for row in tx.execute(statement.order_by(entry.c.id.desc()).limit(limit))]


def list_logins(tx: Transaction) -> list[str]:
    """Return the logins of all users, removed ones too."""
    return list(tx.execute(select(user.c.login).distinct().order_by(user.c.login)).scalars())


def is_with_people(tx: Transaction, lead_id: int, people: Collection[str], *, or_waits: bool = False) -> bool:
    """Return whether one of these reps works the lead or is offered it; *or_waits*: or it waits for sales."""
    named = sorted(people)
    works = and_(custody.c.kind == Custodian.REP, custody.c.ref.in_(named))
    waits = (and_(custody.c.kind == Custodian.QUEUE, custody.c.ref.in_(SALES_QUEUES)),) if or_waits else ()
    held = select(custody.c.lead_id).where(custody.c.lead_id == lead_id, or_(works, *waits))
    offered = select(offer.c.lead_id).where(
        offer.c.lead_id == lead_id, offer.c.rep.in_(named), offer.c.state == "offered"
    )
    return tx.execute(held.union_all(offered)).first() is not None


def find_recipient(tx: Transaction, message_id: int) -> int | None:
    """Return the lead to whom a message goes, or about whom it is."""
    return tx.execute(select(message.c.lead_id).where(message.c.id == message_id)).scalar_one_or_none()


def has_offer(tx: Transaction, offer_id: int, person: str) -> bool:
    """Return whether the hand-off is open or accepted, and this person's."""
    own = (offer.c.id == offer_id, offer.c.rep == person, offer.c.state.in_(("offered", "accepted")))
    return tx.execute(select(offer.c.id).where(*own)).first() is not None
