"""Find the rep of each lead: the owner of its account, who had it before, or whom its field `owner` names."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from nurture.db.transaction import Transaction
from nurture.domain.lead import OWNER
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import Rep
from nurture.journey.ownership.lead_accounts import LeadAccounts
from nurture.journey.ownership.match.index import AccountIndex
from nurture.journey.ownership.queries import load_former_owners
from nurture.runtime.lazy_fields import StampedCache


def load_owners(
    cache: StampedCache[AccountIndex],
    tx: Transaction,
    policy: Policy,
    leads: Mapping[int, Mapping[str, Any]],
    now: datetime,
) -> dict[int, Rep]:
    """Return the rep of each of *leads* (id: fields), by lead id, in a constant number of statements.

    A lead without any, or only with reps who have left, is not in the result.
    """
    reps, lead_ids = policy.reps_by_label, sorted(leads)
    accounts, former = LeadAccounts.load(cache, tx, lead_ids), load_former_owners(tx, lead_ids)
    owners: dict[int, Rep] = {}
    for id_, fields in leads.items():
        account = accounts.find(id_, fields).account
        labels = account.owner if account is not None else "", former.get(id_, ""), str(fields.get(OWNER) or "")
        found = (reps[label.casefold()] for label in labels if label.casefold() in reps)
        rep = next((one for one in found if one.left_on is None or one.left_on >= now.date()), None)
        if rep is not None:
            owners[id_] = rep
    return owners
