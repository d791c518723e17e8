"""Hear what leads do: record it once, make of it what it means, and wake the lead."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from nurture.db.errors import passes
from nurture.domain.consent.suppression import source_of
from nurture.domain.lead import Custodian
from nurture.domain.plain_text import index_key
from nurture.domain.scoring import scoring as scoring_scoring
from nurture.domain.scoring.scoring import Points
from nurture.domain.signals import SUPPRESSING, Signal, SignalKind, SignalVerdict
from nurture.errors import Refused
from nurture.journey.consent import suppression
from nurture.journey.consent.suppression import OptOut
from nurture.journey.engagement import click_filtering
from nurture.journey.engagement.click_filtering import Visited
from nurture.journey.handoff import follow_up
from nurture.journey.leads import changeset, signal_queries, snapshot, suppression_queries
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads.signal_queries import Answered, Recorded, Unapplied
from nurture.journey.leads.transitions import Mover
from nurture.journey.scoring import queries as scoring_queries
from nurture.journey.scoring import rescore
from nurture.journey.scoring.queries import Scored, Stated
from nurture.runtime.context import House

RETURNING: Final = frozenset(
    {
        SignalKind.REGISTERED,
        SignalKind.ATTENDED,
        SignalKind.SUBMITTED,
        SignalKind.REQUESTED_DEMO,
        SignalKind.REPLIED,
        SignalKind.DECIDING,
    }
)
"""Kinds that bring back a lead that was given up."""


def record(house: House, heard: Sequence[Recorded], now: datetime, visits: Sequence[Visited] = ()) -> int:
    """Write signals and apply them at once; return how many were new.

    The one door for everything that a lead does. Each natural key counts once, however often it comes.
    *heard* is believed as it is told; *visits*, clicks and opens, are judged by how they came in. Nothing is
    recorded of a lead that was erased.
    """
    with house.database.write() as connection:
        living = changeset.hold_living(house.database, connection, [one.lead_id for one in heard])
        heard = [one for one in heard if one.lead_id in living]
        # At once, not when the rules are next read: nothing may go out between.
        _opt_out(house, connection, heard, now)
        new = signal_queries.record(house.database, connection, heard)
        new += click_filtering.take_down(house, connection, visits, now)
    if new:
        listen(house, now)
    return new


def record_apart(house: House, heard: Sequence[Recorded], now: datetime) -> tuple[int, list[int]]:
    """Do as `record`, without the signals that the database refuses; return also the places of these."""
    try:
        return record(house, heard, now), []
    except DBAPIError as error:
        if passes(error):
            raise
    new, refused = 0, []
    for place, one in enumerate(heard):
        try:
            new += record(house, [one], now)
        except DBAPIError:
            refused.append(place)
    return new, refused


def listen(house: House, now: datetime) -> int:
    """Apply recorded signals until none waits; return how many were applied.

    First of all, verdicts and scores are brought up to what the policy says now.
    """
    click_filtering.rejudge(house, now)
    rescore.rescore(house, now)
    total = 0
    while True:
        done = listen_batch(house, now, house.batch)
        total += done
        if done < house.batch:
            return total


def listen_batch(house: House, now: datetime, limit: int) -> int:
    """Apply at most *limit* signals in one transaction."""
    database = house.database
    with database.write() as connection:
        heard = signal_queries.unapplied(database, connection, limit)
        if not heard:
            return 0
        book = house.rulebooks.current(connection)
        by_lead: dict[int, list[Unapplied]] = defaultdict(list)
        for one in heard:
            by_lead[one.lead_id].append(one)
        scored = [_scored(of_lead, book.policy.points) for of_lead in by_lead.values()]
        scoring_queries.write(database, connection, [one for one in scored if one is not None], now)
        stated = [_stated(of_lead) for of_lead in by_lead.values()]
        scoring_queries.write_timelines(database, connection, [one for one in stated if one is not None])
        suppression.opt_out(database, connection, list(_opt_outs(heard)), now)
        signal_queries.wake(database, connection, list(by_lead), now, parked=True)
        asking = [one.lead_id for one in heard if one.kind in book.policy.request_signals]
        signal_queries.wake_decisions(database, connection, asking, now)
        answered = [one for one in heard if one.kind == SignalKind.REPLIED]
        follow_up.heard(house, connection, answered, now)
        returning = RETURNING | book.policy.request_signals
        back = [one.lead_id for one in heard if SignalKind(one.kind) in returning]
        _bring_back(house, connection, back, Mover(book, now, "listen"))
        signal_queries.mark_applied(database, connection, [one.id for one in heard], now)
    return len(heard)


def _fresh(heard: Sequence[Unapplied]) -> list[Unapplied]:
    """Return what no rep has answered yet."""
    since = heard[0].evidence_since
    return [one for one in heard if since is None or one.occurred_at >= since]


def _scored(heard: Sequence[Unapplied], points: Points) -> Scored | None:
    """Add points to the kept sums; None where these are of other points, and are to be reckoned anew."""
    first = heard[0]
    if first.scored_under not in (None, points.key):
        return None
    sums = first.engagement, first.engagement_2, first.engagement_3, first.engagement_4
    engagement = scoring_scoring.add(
        snapshot.kept(sums, first.engagement_at, first.scored_under),
        points,
        [Signal(SignalKind(one.kind), one.occurred_at, SignalVerdict(one.verdict)) for one in _fresh(heard)],
    )
    return Scored.of(first.lead_id, engagement)


def _stated(heard: Sequence[Unapplied]) -> Stated | None:
    """Return when the lead decides, None where it said nothing newer than is known."""
    found, newest = None, heard[0].decides_stated_at
    for one in sorted(_fresh(heard), key=lambda one: (one.occurred_at, one.id)):
        stated = _day(one.value) if one.kind == SignalKind.DECIDING else None
        if stated is not None and (newest is None or one.occurred_at >= newest):
            found, newest = Stated(one.lead_id, stated, one.occurred_at), one.occurred_at
    return found


def _day(value: str | None) -> date | None:
    """Read a stated date; None for what is none, so that one door's mistake stops nobody's signals."""
    try:
        return date.fromisoformat(value or "")
    except ValueError:
        return None


def _opt_out(house: House, connection: Connection, heard: Sequence[Recorded], now: datetime) -> None:
    """Log the opt-outs among signals that come in. A repeat counts only if the lead opted in between."""
    stopping = [one for one in heard if SignalKind(one.kind) in SUPPRESSING]
    if not stopping:
        return
    database = house.database
    known = signal_queries.known_keys(database, connection, [one.natural_key for one in stopping])
    addresses = suppression_queries.addresses_of(database, connection, [one.lead_id for one in stopping])
    acts = [
        OptOut(addresses[one.lead_id], source, at=one.occurred_at, again=one.natural_key in known)
        for one in stopping
        if one.lead_id in addresses
        for source in (source_of(SignalKind(one.kind), one.source, one.value),)
    ]
    suppression.opt_out(database, connection, acts, now)


def _opt_outs(heard: Iterable[Unapplied]) -> Iterable[OptOut]:
    for one in heard:
        kind = SignalKind(one.kind)
        if kind in SUPPRESSING and one.address_id is not None:
            yield OptOut(one.address_id, source_of(kind, one.source, one.value), at=one.occurred_at)


def _bring_back(house: House, connection: Connection, lead_ids: Sequence[int], mover: Mover) -> None:
    """Return given-up leads that show new interest to intake, so that the rules look at them afresh."""
    back = signal_queries.returning(house.database, connection, lead_ids) if lead_ids else []
    if not back:
        return
    leads_queries.spend_accepted(house.database, connection, back)
    rows = snapshot.these(house.database, connection, back)
    for lead in snapshot.views(house.database, connection, rows, mover.now, house.holidays):
        moved = mover.keep(lead, Custodian.INTAKE, "return", "classify", mover.now)
        mover.note(lead, "returned", "a new interest after the lead was given up", moved, ref="return")
    mover.changes.write(house.database, connection, mover.now)


def checked(kind: str, value: str | None) -> tuple[SignalKind, str | None]:
    """Return a signal's kind and value as they are stored. Raises Refused, naming what is known."""
    try:
        found = SignalKind(kind)
    except ValueError:
        known = ", ".join(one.value for one in SignalKind)
        raise Refused(f"There is no kind of signal {kind!r}. Known: {known}.") from None
    if found is not SignalKind.DECIDING:
        return found, value
    try:
        return found, date.fromisoformat(value or "").isoformat()
    except ValueError:
        raise Refused(f"A lead decides on a date, not {value!r}. Write it as 2027-03-31.") from None


def told(
    lead_id: int,
    kind: SignalKind,
    value: str | None,
    at: datetime,
    now: datetime,
    email: str | None = None,
    link: str | None = None,
    answered: Answered | None = None,
) -> Recorded:
    """Return a signal that a person or a file tells of; the same words of the same second are one signal.

    *answered* is the touch of *email* that the lead answered, so that conditions on it see the answer.
    """
    second = at.replace(microsecond=0).isoformat()
    key = index_key(
        "|".join(("told", str(lead_id), kind.value, second, email or "", link or "", value or ""))
    )
    enrollment_id, track, message_id = answered or Answered()
    return Recorded(
        lead_id=lead_id,
        kind=kind.value,
        occurred_at=at,
        recorded_at=now,
        natural_key=key,
        source="told",
        enrollment_id=enrollment_id,
        track=track,
        step=email,
        link=link,
        message_id=message_id,
        value=value,
    )


def answered_touch(house: House, lead_id: int, email: str | None) -> Answered | None:
    """Return the lead's newest touch of the step *email*, None if there is none."""
    if email is None:
        return None
    with house.database.read() as connection:
        return signal_queries.newest_touches(house.database, connection, [(lead_id, email)]).get(
            (lead_id, email)
        )
