"""The accounts, laid out to be searched: read again only after one of them has changed."""

from __future__ import annotations

from sqlalchemy import Connection

from nurture.domain.routing.account import Account, AccountKind
from nurture.journey.accounts import queries
from nurture.journey.accounts.match.index import Directory, Known
from nurture.journey.accounts.queries import AccountRow
from nurture.runtime.stamped_cache import StampedCache


def current_index(cache: StampedCache[Directory], connection: Connection) -> Directory:
    """Return all accounts as they are now, from *cache* unless one of them has changed."""
    stamp = queries.stamp(connection)

    def build() -> Directory:
        rows = queries.everything(connection) if stamp[0] else []
        return Directory([Known(as_account(row), row.name, row.parent_id) for row in rows])

    return cache.get(stamp, build)


def as_account(row: AccountRow) -> Account:
    """Return an account as routing sees it."""
    return Account(row.id, row.owner, AccountKind(row.kind), tuple(row.domains))
