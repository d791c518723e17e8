"""Cache of the account index, rebuilt only after an account changed."""

from nurture.db.transaction import Transaction
from nurture.domain.routing.account import Account, AccountKind
from nurture.journey.accounts import queries
from nurture.journey.accounts.match.index import AccountIndex, IndexedAccount
from nurture.journey.accounts.queries import AccountRow
from nurture.runtime.lazy_fields import StampedCache


def load_index(cache: StampedCache[AccountIndex], tx: Transaction) -> AccountIndex:
    """Return the index of all accounts, from *cache* unless an account changed."""
    stamp = queries.load_version(tx)

    def build() -> AccountIndex:
        rows = queries.load_all(tx) if stamp[0] else []
        return AccountIndex([IndexedAccount(to_account(row), row.name, row.parent_id) for row in rows])

    return cache.get(stamp, build)


def to_account(row: AccountRow) -> Account:
    """Return an account as routing needs it."""
    return Account(row.id, row.owner, AccountKind(row.kind), tuple(row.domains))
