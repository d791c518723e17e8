"""Cache of the account index, rebuilt only after an account changed."""

from collections.abc import Iterable

from nurture.db.transaction import Transaction
from nurture.domain.routing.account import Account, AccountKind
from nurture.journey.ownership import queries
from nurture.journey.ownership.match.index import AccountIndex, IndexedAccount
from nurture.journey.ownership.queries import AccountRow
from nurture.runtime.lazy_fields import StampedCache


def load_index(cache: StampedCache[AccountIndex], tx: Transaction) -> AccountIndex:
    """Return the index of all accounts, from *cache* unless an account changed."""
    stamp = queries.load_version(tx)

    def build() -> AccountIndex:
        return build_index(queries.load_all(tx) if stamp[0] else [])

    return cache.get(stamp, build)


def build_index(rows: Iterable[AccountRow]) -> AccountIndex:
    """Return the index of these accounts."""
    return AccountIndex([IndexedAccount(to_account(row), row.name, row.parent_id) for row in rows])


def to_account(row: AccountRow) -> Account:
    """Return an account as routing needs it."""
    return Account(row.id, row.owner, AccountKind(row.kind), tuple(row.domains))
