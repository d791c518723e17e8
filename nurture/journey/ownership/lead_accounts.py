"""Find the account of each lead: the one on record, or else the one that certainly matches now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from nurture.db.transaction import Transaction
from nurture.domain.routing.account import AccountMatch
from nurture.journey.ownership import queries
from nurture.journey.ownership.index_cache import load_index, to_account
from nurture.journey.ownership.match.index import AccountIndex
from nurture.journey.ownership.queries import LinkedLead
from nurture.runtime.lazy_fields import StampedCache

NO_ACCOUNT: Final = AccountMatch(reason="confirmed by hand: it belongs to no account")


@dataclass(frozen=True, slots=True)
class LeadAccounts:
    """What is on record of a batch of leads, and the index of all accounts for those of which nothing is."""

    leads: Mapping[int, LinkedLead]
    index: AccountIndex

    @classmethod
    def load(cls, cache: StampedCache[AccountIndex], tx: Transaction, lead_ids: Sequence[int]) -> Self:
        """Read them with two statements, and all accounts if one has changed since *cache* was filled."""
        return cls(queries.load_linked_leads(tx, lead_ids), load_index(cache, tx))

    def is_on_record(self, lead_id: int) -> bool:
        """Return whether a person or an earlier match has decided the account of this lead."""
        lead = self.leads.get(lead_id)
        return lead is not None and lead.link is not None

    def find(self, lead_id: int, fields: Mapping[str, Any]) -> AccountMatch:
        """Return the account of a lead with these *fields*, or its candidates, and why."""
        lead = self.leads.get(lead_id)
        if lead is None or lead.link is None:
            return self.index.match_lead(lead.email if lead is not None else None, fields)
        if lead.account_row is None:
            return NO_ACCOUNT
        return AccountMatch(to_account(lead.account_row), (), lead.link.reason)
