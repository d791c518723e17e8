"""How leads ended, told by whoever knows: each telling counts once, and none that contradicts is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, Literal, NamedTuple

from sqlalchemy import Connection

from nurture.domain.lead import Closing, Custodian
from nurture.domain.plain_text import index_key
from nurture.errors import NotFound, Refused
from nurture.journey.handoff import queries as handoff_queries
from nurture.journey.handoff.follow_up import CLOSED
from nurture.journey.leads import snapshot
from nurture.journey.leads.snapshot import Claimed
from nurture.journey.leads.transitions import Mover
from nurture.journey.outcomes import queries
from nurture.journey.outcomes.queries import Joined, Open, Stands, Told
from nurture.runtime.context import House

FINAL: Final = (Closing.WON.value, Closing.LOST.value)
_SAME: Final = 0.005  # amounts are money

Verdict = Literal["closed", "same", "completed", "contradicts", "known"]


class Telling(NamedTuple):
    """What somebody says of how a lead ended. *happened_at* (UTC) None is when it is told.

    *key* tells it from other things that the same source says of the lead; "" makes one of its content.
    """

    lead_id: int
    closing: Closing
    happened_at: datetime | None = None
    amount: float | None = None
    reason: str = ""
    key: str = ""


def tell(house: House, told: Sequence[Telling], source: str, now: datetime) -> list[Verdict]:
    """Take in what *source* says, one verdict each, in order; a constant number of statements.

    A lead that is not closed is closed, wherever it is. What is known already changes nothing, an amount
    completes what had none, and what contradicts is kept for a person to settle. Raises NotFound for a lead
    that there is not.
    """
    if not told:
        return []
    with house.database.write() as connection:
        return tell_within(house, connection, told, source, now)


def tell_within(
    house: House, connection: Connection, told: Sequence[Telling], source: str, now: datetime
) -> list[Verdict]:
    """Do as `tell` does, in the caller's transaction."""
    database = house.database
    ids = sorted({one.lead_id for one in told})
    rows = snapshot.these(database, connection, ids)
    missing = sorted(set(ids) - {row.lead_id for row in rows})
    if missing:
        raise NotFound(f"There is no lead {missing[0]}. `nurture leads list` lists them.")
    leads = {
        lead.view.lead.id: lead for lead in snapshot.views(database, connection, rows, now, house.holidays)
    }
    keys = [_key(one, source) for one in told]
    weighing = _Weighing(
        leads, queries.standing(database, connection, ids), queries.known(database, connection, keys)
    )
    verdicts = [weighing.weigh(one, key, now) for one, key in zip(told, keys, strict=True)]
    _close(house, connection, weighing, source, now)
    queries.complete(database, connection, weighing.amounts)
    said = zip(told, keys, verdicts, strict=True)
    queries.keep(
        database,
        connection,
        [_told(one, key, source, verdict, now) for one, key, verdict in said if verdict != "known"],
    )
    return verdicts


class _Weighing:
    """What stands while tellings are weighed one after the other."""

    def __init__(self, leads: Mapping[int, Claimed], standing: Mapping[int, Stands], known: set[str]) -> None:
        self.leads, self._known = leads, known
        self._stands: dict[int, tuple[str, float | None, int | None]] = {}
        for lead_id, lead in leads.items():
            if lead.view.custodian is Custodian.CLOSED and lead.ref in FINAL:
                row = standing.get(lead_id)
                same = row is not None and row.closing == lead.ref
                self._stands[lead_id] = (
                    (lead.ref, row.amount, row.id) if same and row else (lead.ref, None, None)
                )
        self.closing: dict[int, Telling] = {}
        self.amounts: list[tuple[int, float]] = []

    def weigh(self, one: Telling, key: str, now: datetime) -> Verdict:
        """Say what a telling means beside what stands, and let it stand if nothing did."""
        del now
        if key in self._known:
            return "known"
        self._known.add(key)
        stands = self._stands.get(one.lead_id)
        lead = self.leads[one.lead_id]
        if stands is None:
            if lead.view.custodian is Custodian.CLOSED and lead.ref == one.closing.value:
                return "same"
            self._stands[one.lead_id] = (one.closing.value, one.amount, None)
            self.closing[one.lead_id] = one
            return "closed"
        closing, amount, outcome_id = stands
        if closing != one.closing.value:
            return "contradicts"
        if one.amount is None or (amount is not None and abs(amount - one.amount) < _SAME):
            return "same"
        if amount is not None:
            return "contradicts"
        self._stands[one.lead_id] = (closing, one.amount, outcome_id)
        if outcome_id is not None:
            self.amounts.append((outcome_id, one.amount))
        elif one.lead_id in self.closing:
            self.closing[one.lead_id] = self.closing[one.lead_id]._replace(amount=one.amount)
        return "completed"


def _close(house: House, connection: Connection, weighing: _Weighing, source: str, now: datetime) -> None:
    if not weighing.closing:
        return
    database = house.database
    mover = Mover(house.rulebooks.current(connection), now, "outcome")
    opened = handoff_queries.open_of(database, connection, list(weighing.closing))
    handoff_queries.answer(
        database, connection, [(one.id, "withdrawn", "closed") for one in opened.values()], now
    )
    for lead_id, one in weighing.closing.items():
        because = f"closed as {one.closing.value}, as {source} says"
        mover.close(
            weighing.leads[lead_id],
            one.closing,
            because,
            reason=one.reason,
            happened_at=one.happened_at,
            amount=one.amount,
            source=source,
        )
    won = mover.changes.write(database, connection, now)
    handoff_queries.follow_up(database, connection, [(id_, CLOSED) for id_ in sorted(won)], now)


def _key(one: Telling, source: str) -> str:
    if one.key:
        return f"{index_key(source)}|{one.lead_id}|{sha256(one.key.encode()).hexdigest()[:32]}"
    when = one.happened_at.astimezone(UTC).isoformat() if one.happened_at else ""
    said = f"{one.closing.value}|{when}|{one.amount}|{one.reason}"
    return f"{index_key(source)}|{one.lead_id}|{sha256(said.encode(errors='replace')).hexdigest()[:32]}"


def _told(one: Telling, key: str, source: str, verdict: Verdict, now: datetime) -> Told:
    at = one.happened_at or now
    closing = one.closing.value
    return Told(key, one.lead_id, closing, at, one.amount, one.reason, source, now, verdict)


def counted(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Return how many tellings there were of each verdict, all of them named."""
    found = Counter(verdicts)
    return {name: found[name] for name in ("closed", "completed", "same", "contradicts", "known")}


def contradicting(house: House) -> list[Open]:
    """Return the tellings that contradict what stands and wait for a person."""
    with house.database.read() as connection:
        return queries.contradicting(connection)


def listing(house: House, closing: Closing | None, limit: int) -> list[Joined]:
    """Return outcomes, the newest first, with hand-off, policy, track and touch."""
    with house.database.read() as connection:
        return queries.joined(connection, closing.value if closing else None, limit)


def settle(house: House, telling_id: int, *, take: bool, by: str, now: datetime) -> Open:
    """Settle a contradiction: *take* what was told later, or keep what stands; *by* is written down.

    Raises NotFound where there is none of this id, or it was settled already.
    """
    with house.database.write() as connection:
        found = queries.contradicting(connection, telling_id)
        rows = snapshot.these(house.database, connection, [one.lead_id for one in found])
        if not found or not queries.settle(connection, telling_id, "took" if take else "kept", now):
            raise NotFound(
                f"There is no open contradiction {telling_id}. `nurture handoffs outcomes list` shows them."
            )
        one = found[0]
        lead = snapshot.views(house.database, connection, rows, now, house.holidays)[0]
        mover = Mover(house.rulebooks.current(connection), now, "outcome")
        if take:
            _take(house, connection, lead, one, mover, by)
        else:
            because = f"stays {one.stands}, though {one.source} says {one.closing} ({by})"
            mover.note(lead, "outcome_kept", because, None, ref=one.closing)
        mover.changes.write(house.database, connection, now)
    return one


def _take(house: House, connection: Connection, lead: Claimed, one: Open, mover: Mover, by: str) -> None:
    because = f"closed as {one.closing} instead of {one.stands}, as {one.source} says ({by})"
    stands = queries.standing(house.database, connection, [one.lead_id]).get(one.lead_id)
    if lead.view.custodian is not Custodian.CLOSED or stands is None:
        mover.close(
            lead,
            Closing(one.closing),
            because,
            reason=one.reason,
            happened_at=one.happened_at,
            amount=one.amount,
            source=one.source,
        )
        return
    queries.replace(connection, stands.id, one)
    moved = mover.keep(lead, Custodian.CLOSED, one.closing, "", None)
    mover.note(lead, "outcome_changed", because, moved, ref=one.closing)


def require_agreement(verdict: Verdict, lead_id: int) -> None:
    """Raise Refused where a person has contradicted what stands."""
    if verdict == "contradicts":
        raise Refused(
            f"Lead {lead_id} is closed otherwise already, and cannot become two things. What you say is "
            "kept: `nurture handoffs outcomes list` shows both, `nurture handoffs outcomes resolve` decides."
        )
