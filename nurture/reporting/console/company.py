"""The page of a company: its people, its owner, open hand-offs, and what all its people got and did."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from nurture.db.transaction import Transaction
from nurture.errors import NotFound
from nurture.journey.ownership import queries
from nurture.journey.ownership.queries import AccountRow
from nurture.reporting.console import company_queries, handoff_queries
from nurture.reporting.console.company_queries import CompanyCounts, CompanyEvent
from nurture.reporting.console.handoffs import OpenLead, describe_open
from nurture.reporting.console.lead_list import LeadPage, list_leads
from nurture.reporting.console.lead_list_queries import LeadFilter, of_account
from nurture.runtime.context import AppContext

_MAX_OPEN: Final = 50
MAX_EVENTS: Final = 100


@dataclass(frozen=True, slots=True)
class Company:
    """The page: *touches* and *timeline* are those of all its people together, the newest first."""

    account: AccountRow
    owner: str
    people: LeadPage
    open: Sequence[OpenLead]
    touches: CompanyCounts
    timeline: Sequence[CompanyEvent]


def load_company(
    ctx: AppContext,
    tx: Transaction,
    account_id: int,
    now: datetime,
    *,
    before: int | None = None,
    reps: frozenset[str] | None = None,
) -> Company:
    """Return a company and one page of its people, in a constant number of statements. Raises NotFound.

    With *reps* only the people and hand-offs of these, and people who wait for sales.
    """
    account = queries.load_accounts(tx, [account_id]).get(account_id)
    if account is None:
        raise NotFound(f"There is no company {account_id}. `nurture accounts list` lists them.")
    definitions = ctx.definitions.find_current(tx)
    names = {one.id: one.name for one in definitions.policy.reps} if definitions is not None else {}
    people = list_leads(ctx, tx, LeadFilter(account=account_id, reps=reps), now, before=before)
    found = handoff_queries.list_open(tx, _MAX_OPEN, account=account_id, reps=reps)
    members = of_account(account_id, reps)
    return Company(
        account,
        names.get(account.owner, account.owner),
        people,
        describe_open(found, names, now),
        company_queries.count_touches(tx, members),
        company_queries.list_events(tx, members, MAX_EVENTS),
    )
