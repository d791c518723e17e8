"""Find a lead by its id, its email address or an external id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from nurture.db.transaction import Transaction
from nurture.domain.address import normalize_address
from nurture.errors import InvalidState, NotFound
from nurture.journey.leads import history_queries
from nurture.journey.leads.queries import MAX_ID_DIGITS
from nurture.runtime.context import AppContext


def find_lead(ctx: AppContext, text: str) -> int:
    """Return the id of the lead that *text* identifies by its id, email address or external id.

    A number is tried as a lead id first; `source:id` is always an external id. Raises NotFound, which suggests similar
    ids, and InvalidState if several leads match.
    """
    reference = text.strip()
    if not reference:
        raise NotFound("No lead given. Write its id, email address or external id.")
    with ctx.database.read() as tx:
        if reference.isascii() and reference.isdigit() and len(reference) <= MAX_ID_DIGITS:
            record = history_queries.find_lead_record(tx, int(reference))
            if record is not None:
                return record.id
        if "@" in reference:
            found = _find_by_address(tx, reference)
            if found is not None:
                return found
        return _find_by_external_id(tx, reference)


def require_one(text: str, found: Mapping[str, Sequence[int]]) -> int:
    """Return the only lead that *text* matches in the result of `resolve_leads`. Raises InvalidState."""
    ids = found.get(text, ())
    if not ids:
        raise InvalidState(f"no lead matches {text!r}; use an id, an address or an external id")
    if len(ids) > 1:
        raise InvalidState(f"{text!r} matches several leads: {', '.join(map(str, ids))}; use the id")
    return ids[0]


def _find_by_address(tx: Transaction, email: str) -> int | None:
    is_known, lead_id = history_queries.find_by_address(tx, normalize_address(email))
    if is_known and lead_id is None:
        raise NotFound(f"The address {email} exists, but no lead has it.")
    return lead_id


def _find_by_external_id(tx: Transaction, reference: str) -> int:
    found = history_queries.find_by_external_id(tx, reference, None)
    source, colon, external_id = reference.partition(":")
    if not found and colon:
        found = history_queries.find_by_external_id(tx, external_id, source)
    leads = sorted({lead_id for _, lead_id in found})
    if len(leads) > 1:
        listed = ", ".join(f"{lead_id} ({source}:{reference})" for source, lead_id in found)
        raise InvalidState(f"{reference} matches {len(leads)} leads: {listed}. Write one of these ids.")
    if not leads:
        raise NotFound(_not_found_message(tx, reference))
    return leads[0]


def _not_found_message(tx: Transaction, reference: str) -> str:
    message = f"There is no lead {reference}."
    normal = normalize_address(reference)
    if "@" in reference:
        suggestions = _closest(normal, history_queries.addresses_with_prefix(tx, normal[:2]))
    else:
        suggestions = _closest(reference, history_queries.external_ids_with_prefix(tx, reference[:2]))
    if suggestions:
        return f"{message} Did you mean {' or '.join(suggestions)}?"
    return f"{message} Write its id, email address or external id; `nurture leads list` lists leads."


def _closest(reference: str, candidates: Sequence[str]) -> list[str]:
    return get_close_matches(reference, sorted(set(candidates)), n=3, cutoff=0.75)
