"""Find the stored account that a row of a file means, only if that is certain."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from nurture.domain.plain_text import index_key
from nurture.journey.ownership.match.names import parse_name
from nurture.journey.ownership.queries import AccountRow

UNNAMED: Final = "file"
"""The source of files whose system is not named: an id there may be the number of a row."""


class KnownAccounts:
    """The stored accounts, while the rows of a file of *source* find theirs. Each row takes an account of its own."""

    def __init__(self, rows: Iterable[AccountRow], source: str) -> None:
        self._source = source
        self._by_id: dict[str, AccountRow] = {}
        self._by_name: defaultdict[str, list[AccountRow]] = defaultdict(list)
        self._by_domain: defaultdict[str, list[AccountRow]] = defaultdict(list)
        self._taken: set[int] = set()
        self._ids: set[str] = set()
        for row in rows:
            self._by_name[parse_name(row.name).key].append(row)
            for domain in row.domains:
                self._by_domain[domain].append(row)
            if row.source == source:
                self._by_id[row.external_id] = row
        self._ids |= self._by_id.keys()

    def find(self, key: str, name: str, domains: Sequence[str], *, has_id: bool) -> AccountRow | None:
        """Return the account with the id *key* or, without ids, with this name and one of *domains*.

        An account of another source is the same if it alone has this name and one of *domains*.
        """
        if has_id:
            found = self._by_id.get(key)
            if found is not None and self._source == UNNAMED and not _is_same_company(found, name, domains):
                found = self._by_id.get(_other_id(key, domains[0] if domains else name))
            return found or self._find_elsewhere(name, domains)
        own = [row for row in self._by_name[parse_name(name).key] if row.source == self._source and self._is_free(row)]
        same = [row for row in own if not domains or set(domains) & set(row.domains)]
        without_domain = [row for row in own if not row.domains]
        chosen = same if len(same) == 1 else without_domain if len(own) == 1 else []
        return chosen[0] if chosen else self._find_elsewhere(name, domains)

    def _find_elsewhere(self, name: str, domains: Sequence[str]) -> AccountRow | None:
        key = parse_name(name).key
        with_domain = {row.id: row for domain in domains for row in self._by_domain[domain]}
        found = [row for row in with_domain.values() if row.source != self._source and parse_name(row.name).key == key]
        return found[0] if len(found) == 1 and self._is_free(found[0]) else None

    def free_id(self, key: str, name: str, domains: Sequence[str]) -> str:
        """Return an id for a new account: *key*, with its domain or name if another account has it."""
        return key if key not in self._ids else _other_id(key, domains[0] if domains else name)

    def take(self, row: AccountRow | None, external_id: str) -> None:
        """Note that a row of the file stands for an account."""
        self._ids.add(external_id)
        if row is not None:
            self._taken.add(row.id)

    def _is_free(self, row: AccountRow) -> bool:
        return row.id not in self._taken


def _is_same_company(row: AccountRow, name: str, domains: Sequence[str]) -> bool:
    return parse_name(row.name).core_key == parse_name(name).core_key or bool(set(domains) & set(row.domains))


def _other_id(key: str, detail: str) -> str:
    return index_key(f"{key} {detail.casefold()}")
