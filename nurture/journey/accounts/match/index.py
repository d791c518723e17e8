"""Find the account of a lead: certain, a choice for a person, or none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from rapidfuzz import fuzz, process

from nurture.domain.routing.account import NO_MATCH, Account, Match
from nurture.journey.accounts.match.domains import company_domain, label
from nurture.journey.accounts.match.names import Name, taken_apart

ALIKE: Final = 90.0
"""Percent of letters, words in any order. One slip in ten letters: below that, other words begin to pass."""

MOST_CANDIDATES: Final = 5
MOST_IN_BLOCK: Final = 400
"""A key that more accounts share tells nothing: of such blocks none is searched."""

_FEW: Final = 4  # letters at either end of a name, of which a slip elsewhere leaves one whole


@dataclass(frozen=True, slots=True)
class Known:
    """An account as it was imported: what routing sees of it, and its name."""

    account: Account
    name: str
    parent: int | None = None


@dataclass(slots=True)
class Directory:
    """All accounts, laid out so that a lead is looked up in none but the few that can be its own."""

    known: Sequence[Known]
    _named: list[Name] = field(init=False)
    _by_domain: dict[str, list[int]] = field(init=False)
    _by_label: dict[str, list[int]] = field(init=False)
    _by_name: dict[str, list[int]] = field(init=False)
    _by_core: dict[str, list[int]] = field(init=False)
    _by_initials: dict[str, list[int]] = field(init=False)
    _blocks: dict[str, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        self._named = [taken_apart(one.name) for one in self.known]
        self._by_domain, self._by_label = defaultdict(list), defaultdict(list)
        self._by_name, self._by_core = defaultdict(list), defaultdict(list)
        self._by_initials, self._blocks = defaultdict(list), defaultdict(list)
        for place, (one, name) in enumerate(zip(self.known, self._named, strict=True)):
            for domain in one.account.domains:
                self._by_domain[domain].append(place)
            for own in {label(domain) for domain in one.account.domains}:
                self._by_label[own].append(place)
            self._by_name[name.key].append(place)
            self._by_core[name.core_key].append(place)
            if name.initials:
                self._by_initials[name.initials].append(place)
            for key in _keys(name):
                self._blocks[key].append(place)

    def match(self, email: str = "", company: str = "", website: str = "") -> Match:
        """Return the account of a lead of this address, company and website.

        An address at the account's own domain is certain. A name alone is so only if it is the same, hardly
        chance, and no domain speaks against it. What is alike is a choice for a person, never a guess.
        """
        if not self.known:
            return NO_MATCH
        own, site = company_domain(email) if email else "", company_domain(website) if website else ""
        name = taken_apart(company) if company else None
        found = self._of_domain(own, name, "address")
        if found is None and site and site != own:
            found = self._of_domain(site, name, "website")
        if found is not None:
            return found
        return self._of_name(name, own or site) if name is not None else NO_MATCH

    def _of_domain(self, domain: str, name: Name | None, of: str) -> Match | None:
        places = self._by_domain.get(domain, []) if domain else []
        if not places:
            return None
        if len(places) == 1:
            return self._certain(places[0], f"the {of} is at its domain")
        meant = [place for place in places if name is not None and self._named[place].key == name.key]
        if len(meant) == 1:
            return self._certain(meant[0], f"the {of} is at its domain, and the name is its own")
        return self._unsure(meant or places, f"{len(places)} accounts share the domain of the {of}")

    def _of_name(self, name: Name, domain: str) -> Match:
        same = self._by_name.get(name.key, [])
        family = self._by_core.get(name.core_key, [])
        labelled = set(self._by_label.get(label(domain), [])) if domain else set()
        near = [place for place in (same or family) if place in labelled]
        if len(near) == 1 and len(label(domain)) >= _FEW:
            return self._certain(near[0], "the name is the same, and so is the domain but for its ending")
        if same:
            return self._of_same_name(name, same, domain)
        if family:
            return self._unsure(family, "the name is the same but for a country or a word such as group")
        if domain and not labelled:
            return NO_MATCH  # a company of its own, whose name is at most alike
        if name.key in self._by_initials:
            return self._unsure(self._by_initials[name.key], "the name is its initials")
        alike = self._alike(name)
        return self._unsure(alike, "the name is alike") if alike else NO_MATCH

    def _of_same_name(self, name: Name, same: Sequence[int], domain: str) -> Match:
        if len(same) > 1:
            return self._unsure(same, f"{len(same)} accounts have this name")
        if domain and self.known[same[0]].account.domains:
            return self._unsure(same, "the name is the same, the domain is another")
        if len(self._by_core[name.core_key]) > 1:
            return self._unsure(self._by_core[name.core_key], "several accounts of a group have this name")
        if not name.distinctive:
            return self._unsure(same, "the name is the same, but many companies may have it")
        return self._certain(same[0], "the name is the same")

    def _alike(self, name: Name) -> list[int]:
        blocks = (self._blocks.get(key, []) for key in _keys(name))
        places = sorted({place for block in blocks if len(block) <= MOST_IN_BLOCK for place in block})
        found = process.extract(
            name.core,
            [self._named[place].core for place in places],
            scorer=fuzz.token_sort_ratio,
            score_cutoff=ALIKE,
            limit=MOST_CANDIDATES,
        )
        return [places[at] for _, _, at in found]

    def _certain(self, place: int, because: str) -> Match:
        return Match(self.known[place].account, (), because)

    def _unsure(self, places: Iterable[int], because: str) -> Match:
        """Let a person choose; parents first, then by id: the same question has the same answer."""
        chosen = sorted(places, key=lambda place: (self.known[place].parent is not None, self._id(place)))
        return Match(None, tuple(self.known[place].account for place in chosen[:MOST_CANDIDATES]), because)

    def _id(self, place: int) -> int:
        return self.known[place].account.id


def _keys(name: Name) -> set[str]:
    """Return under what a name is filed: its words, and the letters at both its ends."""
    words = name.core.split()
    key = name.core_key
    return {*words, f"^{key[:_FEW]}", f"{key[-_FEW:]}$"}
