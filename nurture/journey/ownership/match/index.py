"""Match a lead with accounts: a certain match, candidates for a person, or none."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rapidfuzz import fuzz, process

from nurture.domain.routing.account import NO_MATCH, Account, AccountMatch
from nurture.journey.ownership.match.domains import company_domain, domain_label, is_own_domain, site_domain
from nurture.journey.ownership.match.names import CompanyName, parse_name

MIN_SIMILARITY: Final = 90.0
"""Percent of equal letters, words in any order: one typo in ten letters. Below that, different words match."""

MAX_CANDIDATES: Final = 5
MAX_BLOCK_SIZE: Final = 400
"""Larger blocks are not searched: a key that more accounts share does not distinguish them."""

_AFFIX_LENGTH: Final = 4  # letters at each end of a name; one typo leaves at least one end intact


@dataclass(frozen=True, slots=True)
class IndexedAccount:
    """An account as routing needs it, with its name and parent."""

    account: Account
    name: str
    parent: int | None = None


@dataclass(slots=True)
class AccountIndex:
    """All accounts, indexed so that a lead is compared only with the few that can match."""

    accounts: Sequence[IndexedAccount]
    _names: list[CompanyName] = field(init=False)
    _by_domain: dict[str, list[int]] = field(init=False)
    _by_label: dict[str, list[int]] = field(init=False)
    _by_name: dict[str, list[int]] = field(init=False)
    _by_core: dict[str, list[int]] = field(init=False)
    _by_initials: dict[str, list[int]] = field(init=False)
    _blocks: dict[str, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        self._names = [parse_name(one.name) for one in self.accounts]
        self._by_domain, self._by_label = defaultdict(list), defaultdict(list)
        self._by_name, self._by_core = defaultdict(list), defaultdict(list)
        self._by_initials, self._blocks = defaultdict(list), defaultdict(list)
        for position, (one, name) in enumerate(zip(self.accounts, self._names, strict=True)):
            for domain in one.account.domains:
                if is_own_domain(domain, one.name):
                    self._by_domain[domain].append(position)
            for own in {domain_label(domain) for domain in one.account.domains}:
                self._by_label[own].append(position)
            self._by_name[name.key].append(position)
            self._by_core[name.core_key].append(position)
            if name.initials:
                self._by_initials[name.initials].append(position)
            for key in _block_keys(name):
                self._blocks[key].append(position)

    def match_lead(self, email: str | None, fields: Mapping[str, object]) -> AccountMatch:
        """Return the account of a lead, by its address and by the company and the website among its *fields*."""
        return self.match(email or "", str(fields.get("company") or ""), str(fields.get("website") or ""))

    def match(self, email: str = "", company: str = "", website: str = "") -> AccountMatch:
        """Return the account of a lead with this address, company and website.

        An address at the account's own domain is a certain match. A name alone is certain only if it is equal,
        distinctive and not contradicted by a domain. Similar names become candidates for a person.
        """
        if not self.accounts:
            return NO_MATCH
        email_domain = company_domain(email) if email else ""
        website_domain = site_domain(website) if website else ""
        name = parse_name(company) if company else None
        found = self._match_domain(email_domain, name, "address")
        if found is None and website_domain and website_domain != email_domain:
            found = self._match_domain(website_domain, name, "website")
        if found is not None:
            return found
        return self._match_name(name, email_domain or website_domain) if name is not None else NO_MATCH

    def _match_domain(self, domain: str, name: CompanyName | None, source: str) -> AccountMatch | None:
        positions = self._by_domain.get(domain, []) if domain else []
        if not positions:
            return None
        if len(positions) == 1:
            return self._matched(positions[0], f"the {source} is at its domain")
        same_name = [position for position in positions if name is not None and self._names[position].key == name.key]
        if len(same_name) == 1:
            return self._matched(same_name[0], f"the {source} is at its domain, and the name is the same")
        return self._undecided(same_name or positions, f"{len(positions)} accounts share the domain of the {source}")

    def _match_name(self, name: CompanyName, domain: str) -> AccountMatch:
        same = self._by_name.get(name.key, [])
        same_core = self._by_core.get(name.core_key, [])
        same_label = set(self._by_label.get(domain_label(domain), [])) if domain else set()
        if same:
            return self._match_same_name(name, same, domain)
        if same_core:
            return self._undecided(same_core, "the name differs only in a country or a word such as group")
        if domain and not same_label:
            return NO_MATCH  # another company with a domain of its own
        if name.key in self._by_initials:
            return self._undecided(self._by_initials[name.key], "the name equals its initials")
        similar = self._find_similar(name)
        return self._undecided(similar, "the name is similar") if similar else NO_MATCH

    def _match_same_name(self, name: CompanyName, same: Sequence[int], domain: str) -> AccountMatch:
        if len(same) > 1:
            return self._undecided(same, f"{len(same)} accounts have this name")
        if domain and self.accounts[same[0]].account.domains:
            return self._undecided(same, "the name is the same, but the domain differs")
        if len(self._by_core[name.core_key]) > 1:
            return self._undecided(self._by_core[name.core_key], "several accounts of a group have this name")
        if not name.is_distinctive:
            return self._undecided(same, "the name is the same, but too common to be certain")
        return self._matched(same[0], "the name is the same")

    def _find_similar(self, name: CompanyName) -> list[int]:
        blocks = (self._blocks.get(key, []) for key in _block_keys(name))
        positions = sorted({position for block in blocks if len(block) <= MAX_BLOCK_SIZE for position in block})
        found = process.extract(
            name.core,
            [self._names[position].core for position in positions],
            scorer=fuzz.token_sort_ratio,
            score_cutoff=MIN_SIMILARITY,
            limit=MAX_CANDIDATES,
        )
        return [positions[index] for _, _, index in found]

    def _matched(self, position: int, reason: str) -> AccountMatch:
        return AccountMatch(self.accounts[position].account, (), reason)

    def _undecided(self, positions: Iterable[int], reason: str) -> AccountMatch:
        """Return candidates for a person, parents first, then by id, so that the order is stable."""
        chosen = sorted(
            positions, key=lambda position: (self.accounts[position].parent is not None, self._id(position))
        )
        return AccountMatch(
            None, tuple(self.accounts[position].account for position in chosen[:MAX_CANDIDATES]), reason
        )

    def _id(self, position: int) -> int:
        return self.accounts[position].account.id


def _block_keys(name: CompanyName) -> set[str]:
    """Return the block keys of a name: its words, and the letters at both ends."""
    words = name.core.split()
    key = name.core_key
    return {*words, f"^{key[:_AFFIX_LENGTH]}", f"{key[-_AFFIX_LENGTH:]}$"}
