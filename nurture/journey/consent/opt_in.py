"""The one way back for who opted out: a newer opt-in by the lead, with its evidence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from nurture.domain.consent.suppression import Act, Logged, Source, Standing, covering, folded, stands, told
from nurture.domain.lead import Custodian, Queue
from nurture.errors import Refused
from nurture.journey.consent.suppression import About, address, entry_of, named
from nurture.journey.leads import signal_queries, snapshot, suppression_queries
from nurture.journey.leads.transitions import Mover
from nurture.runtime.context import House

LONGEST_EVIDENCE: Final = 500
_FEWEST_WORDS: Final = 3
_FEWEST_SIGNS: Final = 6  # in scripts that put no space between words
_JOURNALED: Final = "given before the database was restored; the suppression journal kept it"
_ADDRESS_WITHIN: Final = re.compile(r"\S@\S")


@dataclass(frozen=True, slots=True)
class OptedIn:
    """What an opt-in lifted, and what stands against the address all the same."""

    lifted: tuple[Standing, ...]
    standing: tuple[Standing, ...]


def opt_in(
    house: House,
    email: str,
    about: About,
    evidence: str,
    now: datetime,
    *,
    said_at: datetime | None = None,
    works: str | None = None,
    source: Source = Source.ADMIN,
) -> OptedIn:
    """Log that the lead wants mail again: it lifts older opt-outs of the same scope, and nothing else.

    *said_at* (UTC) is when the lead said so, now by default. A bounce is lifted by *works* only: how it is
    known that the address takes mail. *source* is the door by which it was said. Raises Refused where that
    lifts nothing, or the lead said no since.
    """
    said_at = said_at or now
    if said_at > now:
        raise Refused(f"{said_at:%Y-%m-%d %H:%M} is in the future. Say when the lead opted in.")
    evidence = checked_evidence(evidence)
    works = checked_evidence(works) if works is not None else None
    normal = address(email)
    database = house.database
    with database.write() as connection:
        about = named(house, connection, about)
        found = suppression_queries.find(connection, normal)
        suppression_queries.hold_leads(database, connection, [found[0]] if found else [])
        log = suppression_queries.logs(database, connection, [found[0]]).get(found[0], []) if found else []
        standing = stands(log)
        if found is None or not standing:
            return OptedIn((), ())
        entries = [
            Logged(Act.OPT_IN, *about, source, said_at),
            *([Logged(Act.OPT_IN, *about, Source.BOUNCE, now)] if works is not None else []),
        ]
        left = stands([*log, *entries])
        lifted = tuple(one for one in standing if one not in left)
        if not lifted:
            raise Refused(_lifts_nothing(standing, about, said_at))
        why = {source: evidence, Source.BOUNCE: works}
        suppression_queries.append(
            database, connection, [entry_of(found[0], one, why[one.source]) for one in entries]
        )
        if found[1] is not None:
            _bring_back(house, connection, found[1], left, now)
    return OptedIn(lifted, left)


def _lifts_nothing(standing: Sequence[Standing], about: About, said_at: datetime) -> str:
    alike = [one for one in standing if (one.scope, folded(one.ref)) == (about.scope, folded(about.ref))]
    if not alike:
        listed = ", ".join(told(one) for one in standing)
        return f"An opt-in for {about} lifts none of what stands: {listed}. Name its scope with --scope."
    newest = max(one.newest for one in alike)
    if all(one.source is Source.BOUNCE for one in alike):
        return (
            f"Mail to this address bounced on {newest:%Y-%m-%d %H:%M}. Say with --works how you know that it "
            "takes mail again."
        )
    return (
        f"The lead said no on {newest:%Y-%m-%d %H:%M}, which is not before {said_at:%Y-%m-%d %H:%M}. "
        "Only a newer opt-in counts."
    )


def take_back_in(
    house: House, connection: Connection, acts: Sequence[tuple[int, Logged]], now: datetime
) -> int:
    """Log opt-ins (address id, what) that a restored database has forgotten; return how many it had."""
    database = house.database
    addresses = {address_id for address_id, _ in acts}
    leads = suppression_queries.hold_leads(database, connection, addresses)
    logs = suppression_queries.logs(database, connection, addresses)
    new = [(id_, one) for id_, one in acts if one not in logs.get(id_, ())]
    suppression_queries.append(database, connection, [entry_of(id_, one, _JOURNALED) for id_, one in new])
    for address_id in sorted({id_ for id_, _ in new}):
        left = stands([*logs.get(address_id, ()), *(one for id_, one in new if id_ == address_id)])
        if address_id in leads:
            _bring_back(house, connection, leads[address_id], left, now)
    return len(new)


def _bring_back(
    house: House, connection: Connection, lead_id: int, left: Sequence[Standing], now: datetime
) -> None:
    """Let the rules look afresh at a lead that waits only because it had opted out."""
    database = house.database
    rows = snapshot.these(database, connection, [lead_id])
    if covering(left, "") is not None or [(row.kind, row.ref) for row in rows] != [
        ("queue", Queue.SUPPRESSED)
    ]:
        signal_queries.wake(database, connection, [lead_id], now)
        return
    mover = Mover(house.rulebooks.current(connection), now, "opt_in")
    for lead in snapshot.views(database, connection, rows, now, house.holidays):
        moved = mover.keep(lead, Custodian.INTAKE, "return", "classify", now)
        mover.note(lead, "returned", "opted in again", moved, ref="return")
    mover.changes.write(database, connection, now)


def checked_evidence(text: str) -> str:
    """Return evidence as it is kept. Raises Refused for what says nothing, or names an address."""
    plain = " ".join(text.split())
    if _ADDRESS_WITHIN.search(plain):
        raise Refused("The evidence holds an email address. Say how and when the lead said so, without it.")
    if len(plain) > LONGEST_EVIDENCE:
        raise Refused(f"The evidence is longer than {LONGEST_EVIDENCE} characters. Say it shorter.")
    words = {word.casefold() for word in re.findall(r"[^\W\d_]{2,}", plain)}
    signs = sum("\u2e80" <= sign <= "\ud7ff" for sign in plain)
    if len(words) < _FEWEST_WORDS and signs < _FEWEST_SIGNS:
        raise Refused(
            f"{plain!r} is no evidence. Say how and when the lead said so, as in "
            "'asked for it on the phone on 3 March'."
        )
    return plain
