"""Accounts and their leads."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, delete, exists, func, or_, select, update

from nurture.db.row_values import column_types, row_columns
from nurture.db.tables.accounts import account, lead_account
from nurture.db.tables.handoff import offer
from nurture.db.tables.leads import address, custody, lead
from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian
from nurture.domain.planning.callback import CALLBACK_RULE

_OWNER_COUNTS: Final = (Custodian.TRACK.value, Custodian.RESTING.value, Custodian.QUEUE.value)


class AccountRow(NamedTuple):
    """A stored account."""

    id: int
    source: str
    external_id: str
    name: str
    domains: list[str]
    owner: str
    kind: str
    parent_id: int | None


class NewAccount(NamedTuple):
    """An account to insert or update."""

    source: str
    external_id: str
    name: str
    domains: list[str]
    owner: str
    kind: str
    created_at: datetime
    updated_at: datetime


class AccountLink(NamedTuple):
    """The account of a lead, None for none, with method and reason of the match."""

    lead_id: int
    account_id: int | None
    method: str
    reason: str
    at: datetime


def load_version(tx: Transaction) -> tuple[int, str]:
    """Return the number of accounts and the last change; equal values mean that no account changed."""
    count, newest = tx.execute(select(func.count(), func.max(account.c.updated_at))).one()
    return count, str(newest)


def load_all(tx: Transaction) -> list[AccountRow]:
    """Return all accounts, by id."""
    statement = select(*[account.c[name] for name in AccountRow._fields]).order_by(account.c.id)
    return [AccountRow._make(row) for row in tx.execute(statement)]


def load_accounts(tx: Transaction, ids: Sequence[int]) -> dict[int, AccountRow]:
    """Return these accounts by id."""
    chosen = tx.ids("chosen", sorted(set(ids)))
    statement = select(*[account.c[name] for name in AccountRow._fields]).join(chosen, chosen.c.id == account.c.id)
    return {row.id: row for row in map(AccountRow._make, tx.execute(statement))}


def insert_accounts(tx: Transaction, rows: Sequence[NewAccount]) -> None:
    """Insert new accounts."""
    tx.insert(account, NewAccount._fields, rows)


def update_accounts(tx: Transaction, rows: Sequence[NewAccount]) -> None:
    """Update known accounts."""
    if not rows:
        return
    new = tx.rows("new", column_types(account, NewAccount._fields), rows)
    tx.execute(
        update(account)
        .where(account.c.source == new.c.source, account.c.external_id == new.c.external_id)
        .values(name=new.c.name, domains=new.c.domains, owner=new.c.owner, kind=new.c.kind, updated_at=new.c.updated_at)
    )


def set_parents(tx: Transaction, parents: Sequence[tuple[int, int | None]], now: datetime) -> None:
    """Set the parents of accounts; *parents* are (account id, parent id)."""
    if not parents:
        return
    children = tx.rows("children", {"id": BigInteger(), "parent": BigInteger()}, parents)
    tx.execute(update(account).where(account.c.id == children.c.id).values(parent_id=children.c.parent, updated_at=now))


class LinkedLead(NamedTuple):
    """The address of a lead, and its account if one is on record: a *link* without *account_row* says: none."""

    email: str | None
    link: AccountLink | None
    account_row: AccountRow | None


def load_linked_leads(tx: Transaction, lead_ids: Sequence[int]) -> dict[int, LinkedLead]:
    """Return the address and the account on record of these leads, by lead id."""
    chosen = tx.ids("chosen", lead_ids)
    link_columns = [column.label(f"link_{column.key}") for column in row_columns(AccountLink, lead_account)]
    account_columns = [account.c[name] for name in AccountRow._fields]
    statement = (
        select(lead.c.id, address.c.email, *link_columns, *account_columns)
        .join(chosen, chosen.c.id == lead.c.id)
        .outerjoin(address, address.c.id == lead.c.address_id)
        .outerjoin(lead_account, lead_account.c.lead_id == lead.c.id)
        .outerjoin(account, account.c.id == lead_account.c.account_id)
    )
    found = {}
    for lead_id, email, *values in tx.execute(statement):
        link, row = AccountLink._make(values[: len(link_columns)]), AccountRow._make(values[len(link_columns) :])
        is_linked, has_account = link.lead_id is not None, row.id is not None
        found[lead_id] = LinkedLead(email, link if is_linked else None, row if has_account else None)
    return found


def insert_links(tx: Transaction, rows: Sequence[AccountLink]) -> None:
    """Insert matches; existing links, such as manual ones, are kept."""
    tx.insert(lead_account, AccountLink._fields, rows, ignore_conflicts=True)


def replace_link(tx: Transaction, row: AccountLink) -> None:
    """Insert or replace a manual assignment."""
    tx.execute(delete(lead_account).where(lead_account.c.lead_id == row.lead_id))
    tx.insert(lead_account, AccountLink._fields, [row])


def count_leads(tx: Transaction) -> dict[int, int]:
    """Return the number of leads by account id, without accounts that have none."""
    statement = (
        select(lead_account.c.account_id, func.count())
        .where(lead_account.c.account_id.is_not(None))
        .group_by(lead_account.c.account_id)
    )
    return dict(tx.execute(statement).tuples().all())


def load_former_owners(tx: Transaction, lead_ids: Sequence[int]) -> dict[int, str]:
    """Return the rep of each lead's newest accepted offer or callback promise, by lead id."""
    chosen = tx.ids("chosen", lead_ids)
    newest = (
        select(func.max(offer.c.id).label("id"))
        .join(chosen, chosen.c.id == offer.c.lead_id)
        .where(or_(offer.c.state == "accepted", offer.c.reason == CALLBACK_RULE))
        .group_by(offer.c.lead_id)
        .subquery()
    )
    query = select(offer.c.lead_id, offer.c.rep).join(newest, newest.c.id == offer.c.id)
    return dict(tx.execute(query).tuples().all())


class UnlinkedLead(NamedTuple):
    """A lead without an account on record, and by what one is found for it."""

    lead_id: int
    email: str | None
    company: str | None
    website: str | None


def list_linked_leads(tx: Transaction, account_ids: Sequence[int]) -> list[int]:
    """Return the leads that are on record as belonging to these accounts."""
    chosen = tx.ids("chosen", account_ids)
    statement = select(lead_account.c.lead_id).join(chosen, chosen.c.id == lead_account.c.account_id)
    return list(tx.execute(statement).scalars())


def iterate_unlinked_leads(tx: Transaction) -> Iterator[UnlinkedLead]:
    """Yield the open leads without an account on record that no rep has."""
    named = [lead.c.fields[name].as_string() for name in ("company", "website")]
    statement = (
        select(lead.c.id, address.c.email, *named)
        .join(custody, custody.c.lead_id == lead.c.id)
        .outerjoin(address, address.c.id == lead.c.address_id)
        .where(custody.c.kind.in_(_OWNER_COUNTS), ~exists().where(lead_account.c.lead_id == lead.c.id))
    )
    return map(UnlinkedLead._make, tx.execute(statement))
