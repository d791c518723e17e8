"""Define accounts that reps own, and how certainly a lead belongs to one."""

from dataclasses import dataclass
from enum import StrEnum


class AccountKind(StrEnum):
    """Our relationship with the company."""

    CUSTOMER = "customer"
    PROSPECT = "prospect"
    PARTNER = "partner"


@dataclass(frozen=True, slots=True)
class Account:
    """A company as routing sees it; *owner* is a rep's id, "" for none. *domains* are registrable domains."""

    id: int
    owner: str
    kind: AccountKind = AccountKind.PROSPECT
    domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AccountMatch:
    """The account of a lead if it is certain, else the candidates, the most likely first; and why."""

    account: Account | None = None
    candidates: tuple[Account, ...] = ()
    reason: str = "no account matches"

    @property
    def is_ambiguous(self) -> bool:
        """Return whether a person must choose: there are candidates, and none is certain."""
        return self.account is None and bool(self.candidates)


NO_MATCH = AccountMatch()
