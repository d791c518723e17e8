"""Read which pieces of content leads have had, for tracks that send nothing twice."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import String, func, select

from nurture.db.tables.delivery import message
from nurture.db.tables.leads import custody
from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian
from nurture.domain.planning.content import emails_of, once_pieces, piece_of
from nurture.domain.planning.lead_view import TouchState
from nurture.domain.planning.program import Program
from nurture.journey.leads.snapshot import TOUCH_STATES, LeadSnapshot, leads_on

_NOT_RECEIVED = [state for state, touch in TOUCH_STATES.items() if touch in (TouchState.CANCELLED, TouchState.REJECTED)]


class ContentLeft(NamedTuple):
    """How many leads of a track have had all of its content, and how many have one piece left."""

    track: str
    pieces: int
    exhausted: int
    nearly: int

    def __str__(self) -> str:
        """Return it for a marketer, "" if everybody has more than one piece left."""
        if not self.exhausted and not self.nearly:
            return ""
        counts = f"leads with none of its {self.pieces} pieces left: {self.exhausted:,}; with one left: {self.nearly:,}"
        return f"{self.track}: {counts}. Write new ones: they go to everybody who had the rest"


def with_received(
    tx: Transaction, leads: list[LeadSnapshot], programs: Mapping[str, Program], *, on_any_track: bool = False
) -> list[LeadSnapshot]:
    """Return *leads* with what they have had, if a track of theirs asks for it: one statement for all of them.

    *on_any_track*: if any track asks for it, because they may come to it.
    """
    asking = {name for name, program in programs.items() if once_pieces(program)}
    ids = [one.view.lead.id for one in leads_on(leads, asking, on_any_track=on_any_track)]
    if not ids:
        return leads
    chosen = tx.ids("chosen", ids)
    query = (
        select(message.c.lead_id, message.c.track, message.c.email)
        .join(chosen, chosen.c.id == message.c.lead_id)
        .where(message.c.kind == "touch", message.c.state.not_in(_NOT_RECEIVED))
        .distinct()
    )
    received: defaultdict[int, set[str]] = defaultdict(set)
    for lead_id, track, email in tx.execute(query):
        received[lead_id].add(piece_of(programs[track], email) if track in programs else f"{track}/{email}")
    return [
        replace(one, view=replace(one.view, received=frozenset(received.get(one.view.lead.id, ())))) for one in leads
    ]


def count_content_left(tx: Transaction, programs: Mapping[str, Program]) -> list[ContentLeft]:
    """Return for each track that sends nothing twice how many leads have had all of it, or all but one piece."""
    found = []
    for name, program in sorted(programs.items()):
        pieces = once_pieces(program)
        if not pieces:
            continue
        sources = [
            (other.track, email, piece_of(other, email))
            for other in programs.values()
            for email in emails_of(other)
            if piece_of(other, email) in pieces
        ]
        known = tx.rows("known", {"track": String(), "email": String(), "piece": String()}, sources)
        had = (
            select(message.c.lead_id, func.count(known.c.piece.distinct()).label("pieces"))
            .join(known, (known.c.track == message.c.track) & (known.c.email == message.c.email))
            .join(custody, custody.c.lead_id == message.c.lead_id)
            .where(message.c.kind == "touch", message.c.state.not_in(_NOT_RECEIVED))
            .where(custody.c.kind == Custodian.TRACK.value, custody.c.ref == name)
            .group_by(message.c.lead_id)
            .subquery()
        )
        counts = dict(tx.execute(select(had.c.pieces, func.count()).group_by(had.c.pieces)).tuples().all())
        found.append(ContentLeft(name, len(pieces), counts.get(len(pieces), 0), counts.get(len(pieces) - 1, 0)))
    return found
