"""The accounts, laid out to be searched: read again only after one of them has changed."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from nurture.domain.routing.account import Account, AccountKind
from nurture.journey.accounts import queries
from nurture.journey.accounts.match.index import Directory, Known
from nurture.journey.accounts.queries import AccountRow


@dataclass
class Directories:
    """Keeps the newest directory of a database."""

    _stamp: tuple[int, str] | None = None
    _newest: Directory | None = None

    def current(self, connection: Connection) -> Directory:
        """Return all accounts as they are now."""
        stamp = queries.stamp(connection)
        if self._newest is None or stamp != self._stamp:
            rows = queries.everything(connection) if stamp[0] else []
            self._newest = Directory([Known(as_account(row), row.name, row.parent_id) for row in rows])
            self._stamp = stamp
        return self._newest


def as_account(row: AccountRow) -> Account:
    """Return an account as routing sees it."""
    return Account(row.id, row.owner, AccountKind(row.kind), tuple(row.domains))
