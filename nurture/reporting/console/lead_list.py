"""The list of leads: search, filters, counts, and pages from the newest lead on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from nurture.db.transaction import Transaction
from nurture.domain.address import normalize_address
from nurture.domain.lead import Custodian
from nurture.domain.plain_text import index_key
from nurture.errors import NotFound, suggest
from nurture.journey.leads import history_queries, queries
from nurture.journey.leads.find import parse_id
from nurture.journey.leads.queries import LeadRef
from nurture.reporting.console import lead_list_queries
from nurture.reporting.console.lead_list_queries import DID, LeadFilter
from nurture.reporting.leads import LeadRow, describe_rows
from nurture.runtime.context import AppContext

PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class LeadPage:
    """One page of a list. *next_before* is where the next one begins, None at the end.

    A search looks at `lead_list_queries.WINDOW` leads at a time, so that one without a result is quick, too:
    *is_partial* says that older leads were not looked at, and *next_before* is where to look further. *count* is None
    if it is not known, and `lead_list_queries.MAX_COUNT` for as many or more.
    """

    leads: Sequence[LeadRow]
    next_before: int | None
    is_partial: bool
    count: int | None


def list_leads(
    ctx: AppContext, tx: Transaction, chosen: LeadFilter, now: datetime, *, before: int | None = None, limit: int = PAGE
) -> LeadPage:
    """Return the leads with ids below *before* that *chosen* lets through, the newest first; with *before* no count.

    Raises NotFound for an unknown custodian or *did*.
    """
    custodians = [kind.value for kind in Custodian]
    if chosen.custodian and chosen.custodian not in custodians:
        raise NotFound(f"There is no custodian {chosen.custodian!r}.", suggest(chosen.custodian, custodians))
    if chosen.did and chosen.did not in DID:
        raise NotFound(f"Leads cannot be listed by {chosen.did!r}.", suggest(chosen.did, DID))
    referenced = _find_by_reference(tx, chosen.text) if chosen.text and before is None else []
    if referenced:
        rows = history_queries.load_list_rows(tx, referenced)
        return LeadPage(describe_rows(ctx, tx, rows, now), None, False, len(rows))
    found = lead_list_queries.find_ids(tx, chosen, before, limit)
    rows = history_queries.load_list_rows(tx, found.ids)
    count = lead_list_queries.count_leads(tx, chosen, found) if before is None and not chosen.text else None
    return LeadPage(describe_rows(ctx, tx, rows, now), found.next_before, found.is_partial, count)


def _find_by_reference(tx: Transaction, text: str) -> list[int]:
    """Return the leads with this id, address or external id."""
    reference = text.strip()
    refs = [LeadRef(parse_id(reference), normalize_address(reference), None, index_key(reference))]
    matches = queries.match_leads(tx, refs)
    return sorted({lead_id for lead_id, _ in matches.get(0, ())})[: lead_list_queries.MAX_REFERENCED]
