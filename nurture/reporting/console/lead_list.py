"""The list of leads: search, filters, counts, and pages from the newest lead on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from nurture.reporting.console.lead_list_queries import DID, WITH_SALES, FoundIds, LeadFilter
from nurture.reporting.leads import LeadRow, describe_rows
from nurture.runtime.context import AppContext

PAGE: Final = 50
FIT_WINDOW: Final = 5_000
"""Of how many leads one search grades the fit."""


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
    custodians = [*(kind.value for kind in Custodian), WITH_SALES]
    if chosen.custodian and chosen.custodian not in custodians:
        raise NotFound(f"There is no custodian {chosen.custodian!r}.", suggest(chosen.custodian, custodians))
    if chosen.did and chosen.did not in DID:
        raise NotFound(f"Leads cannot be listed by {chosen.did!r}.", suggest(chosen.did, DID))
    referenced = _find_by_reference(tx, chosen.text) if chosen.text and before is None and not chosen.fit else []
    if referenced:
        referenced = lead_list_queries.filter_ids(tx, replace(chosen, text=""), now, referenced)
    if referenced:
        rows = history_queries.load_list_rows(tx, referenced)
        return LeadPage(describe_rows(ctx, tx, rows, now), None, False, len(rows))
    found = find_page(ctx, tx, chosen, now, before, limit)
    rows = history_queries.load_list_rows(tx, found.ids)
    is_counted = before is None and not chosen.fit
    count = lead_list_queries.count_leads(tx, found) if is_counted else None
    return LeadPage(describe_rows(ctx, tx, rows, now), found.next_before, found.is_partial, count)


def find_page(
    ctx: AppContext, tx: Transaction, chosen: LeadFilter, now: datetime, before: int | None, limit: int
) -> FoundIds:
    """Return the ids of at most *limit* leads below *before* that *chosen* lets through, the newest first.

    The policy grades the fit of `FIT_WINDOW` leads at a time.
    """
    if not chosen.fit:
        return lead_list_queries.find_ids(tx, chosen, now, before, limit)
    policy = ctx.definitions.current(tx).policy
    found = lead_list_queries.find_ids(tx, chosen, now, before, FIT_WINDOW)
    graded = lead_list_queries.load_fields(tx, found.ids)
    ids = [lead_id for lead_id, fields in graded if policy.grade(fields)[0] == chosen.fit]
    if len(ids) > limit:
        return found._replace(ids=ids[:limit], next_before=ids[limit - 1], is_partial=False)
    return found._replace(ids=ids, is_partial=found.next_before is not None)


def _find_by_reference(tx: Transaction, text: str) -> list[int]:
    """Return the leads with this id, address or external id."""
    reference = text.strip()
    refs = [LeadRef(parse_id(reference), normalize_address(reference), None, index_key(reference))]
    matches = queries.match_leads(tx, refs)
    return sorted({lead_id for lead_id, _ in matches.get(0, ())})[: lead_list_queries.MAX_REFERENCED]
