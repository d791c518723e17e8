"""Find the lead that a person names: by its id, its address, or another system's id."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from sqlalchemy import Connection

from nurture.domain.address import normalise_address
from nurture.errors import NotFound, Refused
from nurture.journey.leads import history_queries
from nurture.runtime.context import House

MOST_DIGITS: Final = 18

"""Longer numbers are no ids of ours."""


def find_lead(house: House, text: str) -> int:
    """Return the id of the lead that *text* names: its id, email address, or another system's id.

    Our own ids come first; `source:id` names another system's for certain. Raises NotFound with what is near,
    and Refused where several leads are meant.
    """
    wanted = text.strip()
    if not wanted:
        raise NotFound("No lead is named. Write its id, email address or external id.")
    with house.database.read() as connection:
        if wanted.isascii() and wanted.isdigit() and len(wanted) <= MOST_DIGITS:
            kept = history_queries.find(connection, int(wanted))
            if kept is not None:
                return kept.id
        if "@" in wanted:
            found = _by_address(connection, wanted)
            if found is not None:
                return found
        return _by_external_id(connection, wanted)


def _by_address(connection: Connection, wanted: str) -> int | None:
    known, lead_id = history_queries.by_address(connection, normalise_address(wanted))
    if known and lead_id is None:
        raise NotFound(f"The address {wanted} is known here, but no lead has it.")
    return lead_id


def _by_external_id(connection: Connection, wanted: str) -> int:
    found = history_queries.by_external_id(connection, wanted, None)
    source, colon, external_id = wanted.partition(":")
    if not found and colon:
        found = history_queries.by_external_id(connection, external_id, source)
    leads = sorted({lead_id for _, lead_id in found})
    if len(leads) > 1:
        named = ", ".join(f"{lead_id} ({source}:{wanted})" for source, lead_id in found)
        raise Refused(f"{wanted} names {len(leads)} leads: {named}. Write one of these ids.")
    if not leads:
        raise NotFound(_nobody(connection, wanted))
    return leads[0]


def _nobody(connection: Connection, wanted: str) -> str:
    said = f"There is no lead {wanted}."
    normal = normalise_address(wanted)
    if "@" in wanted:
        near = _near(normal, history_queries.addresses_like(connection, normal[:2]))
    else:
        near = _near(wanted, history_queries.external_ids_like(connection, wanted[:2]))
    if near:
        return f"{said} Did you mean {' or '.join(near)}?"
    return f"{said} Write its id, email address or external id; `nurture leads list` lists leads."


def _near(wanted: str, known: Sequence[str]) -> list[str]:
    return get_close_matches(wanted, sorted(set(known)), n=3, cutoff=0.75)
