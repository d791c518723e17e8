"""Read what all people of a company got and did."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import case, distinct, func, select

from nurture.db.tables.accounts import lead_account
from nurture.db.tables.delivery import message
from nurture.db.tables.signals import IS_ANSWER, signal
from nurture.db.transaction import Transaction
from nurture.outbox.messages import MARKETING


class CompanyCounts(NamedTuple):
    """How many emails the people of a company got, when the last one, and how many of them clicked and replied."""

    emails: int
    last_email_at: datetime | None
    clicked: int
    replied: int


def count_touches(tx: Transaction, account_id: int) -> CompanyCounts:
    """Return what the people of a company got and did."""
    members = select(lead_account.c.lead_id).where(lead_account.c.account_id == account_id)
    newest = func.max(message.c.accepted_at, type_=message.c.accepted_at.type)
    of_people = (message.c.lead_id.in_(members), message.c.kind.in_(MARKETING), message.c.accepted_at.is_not(None))
    emails, last_email_at = tx.execute(select(func.count(), newest).where(*of_people)).one()
    did = (func.count(distinct(case((signal.c.kind == kind, signal.c.lead_id)))) for kind in ("clicked", "replied"))
    clicked, replied = tx.execute(select(*did).where(IS_ANSWER, signal.c.lead_id.in_(members))).one()
    return CompanyCounts(emails, last_email_at, clicked, replied)
