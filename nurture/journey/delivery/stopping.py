"""Stop and start tracks, broadcasts and all mail; retire tracks. Each decision is kept with who, when and why."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from nurture.db import locks
from nurture.db.locks import Lock
from nurture.db.transaction import Transaction
from nurture.definitions.folder import BROADCASTS
from nurture.domain.delivery.stops import ALL_TRACKS, Stop, StopAction, Stops, start_command
from nurture.domain.planning.content import emails_of
from nurture.domain.planning.program import Program
from nurture.domain.planning.touch_timing import MIN_TIME_TO_SEND
from nurture.errors import InvalidState, NotFound, suggest
from nurture.journey.broadcasts import queries as broadcast_queries
from nurture.journey.leads import enrollment_queries, stop_queries
from nurture.journey.tracks import take_in
from nurture.outbox.messages import TO_LEAD, TO_NOTIFIER, TO_REP
from nurture.runtime import publication_queries
from nurture.runtime.context import AppContext
from nurture.runtime.published import BROADCAST


@dataclass(frozen=True, slots=True)
class StopResult:
    """A recorded decision, and the messages that it concerns.

    *sending* were given to the provider before it; *planned* wait for a start, or go when they may.
    """

    stop: Stop
    planned: int
    sending: int


def require_track(name: str) -> str:
    """Return the name of a track or broadcast; raises NotFound for an empty one, which would mean all mail."""
    if not name.strip():
        raise NotFound("No track is named. `nurture tracks list` lists them; `nurture mail stop` stops all mail.")
    return name


def stop(ctx: AppContext, track: str, reason: str, by: str, now: datetime, *, to_sales: bool = False) -> StopResult:
    """Stop the mail of *track* (or `broadcasts/NAME`), with ALL_TRACKS all mail to leads, with *to_sales* all mail.

    No provider call begins after this is committed. Raises NotFound for a track that is not published, InvalidState
    without a reason, or if it is stopped already.
    """
    if not reason.strip():
        raise InvalidState("A stop needs a reason, for whoever starts the mail again. Add --reason.")
    action = StopAction.STOP_ALL if to_sales else StopAction.STOP
    with ctx.database.write() as tx:
        stops = _lock_stops(tx, track)
        if track in stops and stops[track].action is action:
            raise InvalidState(f"Stopped already: {stops[track]}. To start again: `{start_command(stops[track])}`.")
        return _record(tx, Stop(track, action, reason.strip(), by, now))


def retire(ctx: AppContext, track: str, move_to: str, reason: str, by: str, now: datetime) -> StopResult:
    """Stop *track* for good: nobody enters, and its leads move to *move_to*.

    Raises NotFound for a track that is not published, InvalidState if *move_to* cannot take the leads.
    """
    with ctx.database.write() as tx:
        stops = _lock_stops(tx, require_track(track), require_track(move_to), kinds=("track",))
        if track in stops and stops[track].move_to:
            raise InvalidState(f"Retired already: {stops[track]}. To change that: `{start_command(stops[track])}`.")
        if move_to == track or (move_to in stops and stops[move_to].move_to):
            raise InvalidState(f"{move_to} cannot take the leads of {track}: it is retired itself. Name another track.")
        programs = ctx.definitions.current(tx).programs
        if programs[track].for_customers != programs[move_to].for_customers:
            whom = programs[move_to].for_whom
            raise InvalidState(f"{move_to} cannot take the leads of {track}: it is for {whom}. Name another track.")
        enrollment_queries.make_tracks_due(tx, [track], now)
        return _record(tx, Stop(track, StopAction.RETIRE, reason.strip(), by, now, move_to))


def start(ctx: AppContext, track: str, reason: str, by: str, now: datetime) -> StopResult:
    """End the stop of *track*, or for ALL_TRACKS that of all mail. At most the next email of each lead is due.

    Planned emails are sent in the newest version of their track or broadcast, as send windows, caps and limits allow.
    The leads that *track* would have taken over meanwhile become due, set by set. Raises NotFound for a track that is
    not published, and InvalidState if it is not stopped.
    """
    with ctx.database.write() as tx:
        stops = _lock_stops(tx, track)
        if track not in stops:
            listed = "; ".join(map(str, stops.values())) or "nothing is"
            raise InvalidState(f"{f'Track {track}' if track else 'All mail'} is not stopped. Stopped now: {listed}.")
        current = ctx.definitions.find_current(tx)
        programs = dict(current.programs) if current is not None else {}
        programs |= ctx.definitions.newest_broadcasts(tx, [track] if track else broadcast_queries.list_planned(tx))
        enrollment_queries.make_tracks_due(tx, [track] if track else None, now)
        for program in programs.values() if not track else [programs[track]]:
            _renew_planned(tx, program, now)
        stop_queries.make_held_due(tx, now)
        result = _record(tx, Stop(track, StopAction.START, reason.strip(), by, now))
        if track and current is not None and track in current.programs:
            take_in.wake_fitting_leads(ctx, tx, track, current, now)
        return result


def _lock_stops(tx: Transaction, *tracks: str, kinds: Collection[str] = ("track", BROADCAST)) -> Stops:
    """Wait for the workers that are about to call; return the active stops.

    Raises NotFound for a track, or broadcast, that is not published.
    """
    published = {row.name for row in publication_queries.load_newest_versions(tx) if row.kind in kinds}
    for track in tracks:
        if track not in (ALL_TRACKS, *published):
            what = "broadcast" if track.startswith(BROADCASTS) else "track"
            raise NotFound(f"No {what} {track.removeprefix(BROADCASTS)} is published. {suggest(track, published)}")
    locks.acquire(tx, Lock.STOPS)
    return stop_queries.load_stops(tx)


def _renew_planned(tx: Transaction, program: Program, now: datetime) -> None:
    expires_at = None if program.schedule is not None else now + max(program.grace, MIN_TIME_TO_SEND)
    stop_queries.renew_planned(tx, program.track, program.version, emails_of(program), now, expires_at)


def _record(tx: Transaction, stop: Stop) -> StopResult:
    stop_queries.append_stop(tx, stop)
    recipients = (TO_LEAD,) if stop.action is not StopAction.STOP_ALL else (TO_LEAD, TO_REP, TO_NOTIFIER)
    planned, sending = (
        stop_queries.count_messages(tx, state, stop.track or None, recipients) for state in ("planned", "sending")
    )
    return StopResult(stop, planned, sending)
