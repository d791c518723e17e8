"""Account assignment of leads: list candidates, assign manually, route the lead."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from nurture.domain.lead import Custodian, Queue
from nurture.errors import NotFound
from nurture.journey.leads import signal_queries, snapshot
from nurture.journey.leads.queries import load_fields
from nurture.journey.leads.transitions import LeadTransitions
from nurture.journey.ownership import queries
from nurture.journey.ownership.lead_accounts import LeadAccounts
from nurture.journey.ownership.queries import AccountLink, AccountRow
from nurture.runtime.context import AppContext

_ACCOUNT_QUEUES: Final = frozenset({Queue.ACCOUNT_AMBIGUOUS, Queue.ACCOUNT_OWNER_UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class AccountDetails:
    """An account and the number of its leads."""

    id: int
    name: str
    owner: str
    kind: str
    domains: tuple[str, ...]
    parent: int | None
    source: str
    external_id: str
    leads: int


@dataclass(frozen=True, slots=True)
class AccountAssignment:
    """The account of a lead, or its candidates; *confirmed* if a person assigned it."""

    lead: int
    reason: str
    confirmed: bool
    account: AccountDetails | None
    candidates: tuple[AccountDetails, ...]


def list_accounts(ctx: AppContext, name_filter: str = "") -> list[AccountDetails]:
    """Return the accounts whose name or domain contains *name_filter*, by name."""
    needle = name_filter.casefold()
    with ctx.database.read() as tx:
        counts = queries.count_leads(tx)
        rows = queries.load_all(tx)
    found = [row for row in rows if needle in row.name.casefold() or any(needle in one for one in row.domains)]
    return [_details(row, counts.get(row.id, 0)) for row in sorted(found, key=lambda row: row.name.casefold())]


def find_assignment(ctx: AppContext, lead_id: int) -> AccountAssignment:
    """Return the stored account assignment of a lead, or else what matches now."""
    with ctx.database.read() as tx:
        accounts, counts = LeadAccounts.load(ctx.account_index, tx, [lead_id]), queries.count_leads(tx)
        match = accounts.find(lead_id, load_fields(tx, lead_id))
        stored = accounts.leads.get(lead_id)
        link = stored.link if stored is not None else None
        matched = [match.account] if match.account is not None else list(match.candidates)
        rows = queries.load_accounts(tx, [one.id for one in matched])
    candidates = tuple(_details(rows[one.id], counts.get(one.id, 0)) for one in matched)
    confirmed = link is not None and link.method == "manual"
    if match.account is not None:
        return AccountAssignment(lead_id, match.reason, confirmed, candidates[0], ())
    return AccountAssignment(lead_id, match.reason, confirmed, None, candidates)


def assign_account(ctx: AppContext, lead_id: int, account_id: int | None, now: datetime) -> None:
    """Assign a lead to an account, or to none; a lead that waited for this becomes due for routing.

    Raises NotFound if there is no such account or lead.
    """
    with ctx.database.write() as tx:
        if account_id is not None and not queries.load_accounts(tx, [account_id]):
            raise NotFound(f"There is no account {account_id}. `nurture leads accounts list` lists them.")
        rows = snapshot.load_rows(tx, [lead_id])
        if not rows:
            raise NotFound(f"There is no lead {lead_id}. `nurture leads list` lists them.")
        transitions = LeadTransitions(ctx.definitions.current(tx), now, "handoff")
        (lead,) = snapshot.load_snapshots(ctx, tx, transitions.definitions, rows, now)
        reason = f"account {account_id}" if account_id is not None else "no account"
        queries.replace_link(tx, AccountLink(lead_id, account_id, "manual", "assigned manually", now))
        custody_change = None
        if lead.view.custodian is Custodian.QUEUE and lead.ref in _ACCOUNT_QUEUES:
            custody_change = transitions.set_custody(lead, Custodian.QUEUE, Queue.HAND_OFF, "offer to a rep", now)
        transitions.add_journal_entry(
            lead, "account", f"assigned manually: {reason}", custody_change, ref=str(account_id or "")
        )
        transitions.changes.write(tx, now)
        signal_queries.make_reowned_due(tx, [lead_id], (), now)


def _details(row: AccountRow, count: int) -> AccountDetails:
    return AccountDetails(
        row.id, row.name, row.owner, row.kind, tuple(row.domains), row.parent_id, row.source, row.external_id, count
    )
