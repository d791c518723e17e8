"""Accounts and their leads."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, delete, func, select, update

from nurture.db.row_values import column_types, row_columns
from nurture.db.tables.accounts import account, lead_account
from nurture.db.transaction import Transaction


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


def load_links(tx: Transaction, lead_ids: Sequence[int]) -> dict[int, AccountLink]:
    """Return the account links of these leads, by lead id."""
    chosen = tx.ids("chosen", lead_ids)
    statement = select(*row_columns(AccountLink, lead_account)).join(chosen, chosen.c.id == lead_account.c.lead_id)
    return {row.lead_id: row for row in map(AccountLink._make, tx.execute(statement))}


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
