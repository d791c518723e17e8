"""Find leads by their id, their email address or an external id."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from nurture.db.transaction import Transaction
from nurture.domain.address import normalize_address
from nurture.domain.plain_text import index_key
from nurture.errors import InvalidState, NotFound
from nurture.journey.leads import history_queries, queries
from nurture.journey.leads.queries import LeadRef
from nurture.runtime.context import AppContext

_MAX_ID_DIGITS: Final = 18  # ids fit into 64 bits


def parse_id(text: str) -> int | None:
    """Return *text* as an id, None if it is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MAX_ID_DIGITS else None


def find_lead(ctx: AppContext, text: str) -> int:
    """Return the id of the lead that *text* identifies by its id, email address or external id.

    A number is tried as a lead id first; `source:id` is always an external id. Raises NotFound, which suggests similar
    ids, and InvalidState if several leads match.
    """
    reference = text.strip()
    if not reference:
        raise NotFound("No lead given. Write its id, email address or external id.")
    number, (source, _, external_id) = parse_id(reference), reference.partition(":")
    refs = (
        LeadRef(normalized=normalize_address(reference)),
        LeadRef(external_id=index_key(reference)),
        LeadRef(source=index_key(source), external_id=index_key(external_id)),
    )
    with ctx.database.read() as tx:
        if number is not None and history_queries.find_lead_record(tx, number) is not None:
            return number
        matches = queries.match_leads(tx, refs)
        if not matches:
            raise NotFound(_not_found_message(tx, reference))
    found = matches[min(matches)]
    count = len({lead_id for lead_id, _ in found})
    if count > 1:
        listed = ", ".join(f"{lead_id} ({source}:{reference})" for lead_id, source in found)
        raise InvalidState(f"{reference} matches {count} leads: {listed}. Write one of these ids.")
    return found[0][0]


def resolve_leads(tx: Transaction, texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return the ids of the leads that each text matches as a lead id, an address or an external id."""
    distinct = list(dict.fromkeys(texts))
    refs = [LeadRef(parse_id(text), normalize_address(text), None, index_key(text)) for text in distinct]
    matches = queries.match_leads(tx, refs)
    return {distinct[index]: tuple(sorted({lead_id for lead_id, _ in found})) for index, found in matches.items()}


def require_one(text: str, found: Mapping[str, Sequence[int]]) -> int:
    """Return the only lead that *text* matches in the result of `resolve_leads`. Raises InvalidState."""
    ids = found.get(text, ())
    if not ids:
        raise InvalidState(f"no lead matches {text!r}; use an id, an address or an external id")
    if len(ids) > 1:
        raise InvalidState(f"{text!r} matches several leads: {', '.join(map(str, ids))}; use the id")
    return ids[0]


def _not_found_message(tx: Transaction, reference: str) -> str:
    message = f"There is no lead {reference}."
    normal = normalize_address(reference)
    if history_queries.has_address(tx, normal):
        return f"The address {reference} exists, but no lead has it."
    if "@" in reference:
        suggestions = _closest(normal, history_queries.addresses_with_prefix(tx, normal[:2]))
    else:
        suggestions = _closest(reference, history_queries.external_ids_with_prefix(tx, reference[:2]))
    if suggestions:
        return f"{message} Did you mean {' or '.join(suggestions)}?"
    return f"{message} Write its id, email address or external id; `nurture leads list` lists leads."


def _closest(reference: str, candidates: Sequence[str]) -> list[str]:
    return get_close_matches(reference, sorted(set(candidates)), n=3, cutoff=0.75)
