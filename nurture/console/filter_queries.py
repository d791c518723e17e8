"""Saved filters of the list of leads."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import and_, delete, func, or_, select

from nurture.db.tables.console import console_filter as saved
from nurture.db.tables.console import console_user as user
from nurture.db.transaction import Transaction


class SavedFilter(NamedTuple):
    """A filter under its name; *login* is whose it is."""

    id: int
    name: str
    query: str
    is_shared: bool
    login: str


def list_filters(tx: Transaction, user_id: int) -> Sequence[SavedFilter]:
    """Return the filters that the user saved, and those that others share, by name."""
    shared = and_(saved.c.is_shared, user.c.removed_at.is_(None))
    query = select(saved.c.id, saved.c.name, saved.c.query, saved.c.is_shared, user.c.login)
    query = query.join(user, user.c.id == saved.c.user_id).where(or_(saved.c.user_id == user_id, shared))
    return [SavedFilter._make(row) for row in tx.execute(query.order_by(func.lower(saved.c.name), saved.c.id))]


def count_filters(tx: Transaction, user_id: int) -> int:
    """Return how many filters the user saved."""
    return tx.execute(select(func.count()).where(saved.c.user_id == user_id)).scalar_one()


def replace_filter(tx: Transaction, user_id: int, name: str, query: str, now: datetime, *, is_shared: bool) -> None:
    """Save a filter; the user's older one of this name ends."""
    tx.execute(delete(saved).where(saved.c.user_id == user_id, saved.c.name == name))
    names = ("user_id", "name", "query", "is_shared", "created_at")
    tx.insert(saved, names, [(user_id, name, query, is_shared, now)])


def is_own_filter(tx: Transaction, filter_id: int, user_id: int, *, or_shared: bool) -> bool:
    """Return whether the user saved the filter, or it is one that is shared."""
    own = or_(saved.c.user_id == user_id, saved.c.is_shared) if or_shared else saved.c.user_id == user_id
    return tx.execute(select(saved.c.id).where(saved.c.id == filter_id, own)).first() is not None


def delete_filter(tx: Transaction, filter_id: int) -> None:
    """Delete a saved filter."""
    tx.execute(delete(saved).where(saved.c.id == filter_id))
