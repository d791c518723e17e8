"""Find the leads whose owner is another one after accounts have changed."""

from collections.abc import Iterable, Iterator, Sequence

from nurture.db.transaction import Transaction
from nurture.journey.ownership import queries
from nurture.journey.ownership.index_cache import build_index
from nurture.journey.ownership.match.domains import company_domain, site_domain
from nurture.journey.ownership.match.names import parse_name
from nurture.journey.ownership.queries import AccountRow, UnlinkedLead


def find_leads(tx: Transaction, before: Sequence[AccountRow], after: Sequence[AccountRow]) -> list[int]:
    """Return the leads whose account has another owner *after* the change, with at most two statements.

    Leads with an account on record are found by it. All others are read, and those of which only the changed
    accounts decide are matched with both.
    """
    old = {row.id: row for row in before}
    changed = [row for row in after if row.id not in old or _matched_by(row) != _matched_by(old[row.id])]
    if not changed:
        return []
    reowned = [row.id for row in changed if row.id in old and row.owner != old[row.id].owner]
    found = queries.list_linked_leads(tx, reowned) if reowned else []
    both = [*changed, *(old[row.id] for row in changed if row.id in old)]
    candidates = list(_may_match(queries.iterate_unlinked_leads(tx), both))
    if candidates:
        indexes = build_index(before), build_index(after)
        for one in candidates:
            matches = (index.match(one.email or "", one.company or "", one.website or "") for index in indexes)
            was, is_now = (match.account.owner if match.account is not None else "" for match in matches)
            if was != is_now:
                found.append(one.lead_id)
    return found


def _matched_by(row: AccountRow) -> tuple[str, str, list[str]]:
    return row.owner, row.name, row.domains


def _may_match(leads: Iterable[UnlinkedLead], accounts: Sequence[AccountRow]) -> Iterator[UnlinkedLead]:
    """Yield the leads whose certain match one of *accounts* may be, or may prevent: by domain or by name."""
    domains = {domain for row in accounts for domain in row.domains}
    names = {parse_name(row.name).core_key for row in accounts}
    for one in leads:
        if (
            company_domain(one.email or "") in domains
            or site_domain(one.website or "") in domains
            or (one.company and parse_name(one.company).core_key in names)
        ):
            yield one
