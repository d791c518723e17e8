"""Companies that somebody owns already, and how surely a lead comes from one of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AccountKind(StrEnum):
    """What a company is to us."""

    CUSTOMER = "customer"
    PROSPECT = "prospect"
    PARTNER = "partner"


@dataclass(frozen=True, slots=True)
class Account:
    """A company as routing sees it; *owner* is a rep's id, "" for nobody. *domains* are registrable ones."""

    id: int
    owner: str
    kind: AccountKind = AccountKind.PROSPECT
    domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AccountMatch:
    """The account of a lead if that is certain, else the candidates, the likeliest first; and why."""

    account: Account | None = None
    candidates: tuple[Account, ...] = ()
    reason: str = "no account matches"

    @property
    def is_ambiguous(self) -> bool:
        """Tell whether a person must choose: there are candidates, and none is certain."""
        return self.account is None and bool(self.candidates)


NO_MATCH = AccountMatch()
