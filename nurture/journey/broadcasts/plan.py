"""Plan the broadcasts that are due: write a message for each lead of their audiences, in batches."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from nurture.db import locks
from nurture.db.locks import Lock
from nurture.db.transaction import Transaction
from nurture.domain.planning import broadcasts
from nurture.domain.planning.broadcasts import Recipient, Times
from nurture.domain.planning.program import Program
from nurture.journey.broadcasts import queries
from nurture.journey.broadcasts.queries import BroadcastMessage, Release
from nurture.journey.leads import snapshot
from nurture.journey.leads.changeset import NewMessage
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.outbox.messages import BROADCAST, TO_LEAD
from nurture.runtime import quarantine
from nurture.runtime.batches import drain, gc_paused
from nurture.runtime.context import AppContext
from nurture.runtime.published import Definitions
from nurture.runtime.redact import redact

NO_ADDRESS: Final = "no email address"
LEFT_OUT: Final = "left out: "
"""How the reason of the cancelled message begins with which a lead of the audience gets nothing."""


class Candidate(NamedTuple):
    """A lead of the audience, and when it gets the broadcast; without *times*, why it does not."""

    lead: LeadSnapshot
    times: Times | None
    obstacle: str = ""


@dataclass
class PlanResult:
    """How many leads were looked at, how many messages were planned, and how many leads were left out, by reason."""

    leads: int = 0
    planned: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    was_due: bool = False

    def __add__(self, other: "PlanResult") -> "PlanResult":
        """Return the sum of two batches."""
        both = self.leads + other.leads, self.planned + other.planned, self.left_out + other.left_out
        return PlanResult(*both, self.was_due or other.was_due)


def plan_due(ctx: AppContext, now: datetime) -> PlanResult:
    """Plan every released broadcast that is due at *now* (UTC), batch by batch."""
    if quarantine.is_on(ctx, now):
        return PlanResult()
    with gc_paused():
        return sum(drain(lambda: plan_batch(ctx, now), lambda done: done.was_due), PlanResult())


def plan_batch(ctx: AppContext, now: datetime) -> PlanResult:
    """Plan the next set of leads of the broadcast that is due first; nothing is due: do nothing.

    The messages commit together with the place that the set has reached, so that a worker that dies loses nothing and
    repeats nothing.
    """
    with ctx.database.read() as tx:
        if queries.find_due(tx, now) is None:
            return PlanResult()
    with ctx.database.write() as tx:
        locks.acquire(tx, Lock.BROADCASTS)
        release = queries.find_due(tx, now)
        return _plan_next(ctx, tx, release, now) if release is not None else PlanResult()


def _plan_next(ctx: AppContext, tx: Transaction, release: Release, now: datetime) -> PlanResult:
    program = ctx.definitions.newest_broadcasts(tx, [release.track])[release.track]
    rows = snapshot.load_open_rows_after(tx, release.last_lead_id, ctx.batch_size)
    ids = [row.lead_id for row in rows]
    definitions = ctx.definitions.current(tx)
    leads = snapshot.load_snapshots(ctx, tx, definitions.with_program(program), snapshot.load_rows(tx, ids), now)
    candidates = list(find_candidates(tx, leads, program, definitions, release.released_at, now))
    planned = [_new_message(one, program, now) for one in candidates]
    queries.write_messages(tx, planned)
    is_last = len(rows) < ctx.batch_size
    reached = release._replace(last_lead_id=ids[-1] if ids else release.last_lead_id)
    queries.write_release(tx, reached._replace(planned_at=now if is_last else None))
    left_out = Counter(one.obstacle for one in candidates if one.obstacle)
    return PlanResult(len(rows), len(candidates) - left_out.total(), left_out, was_due=True)


def find_candidates(
    tx: Transaction,
    leads: list[LeadSnapshot],
    program: Program,
    definitions: Definitions,
    goal_since: datetime | None,
    now: datetime,
) -> Iterator[Candidate]:
    """Yield the leads of the audience who have not had the broadcast; an error leaves out only its lead."""
    finished = queries.load_finished(tx, program.track, [one.view.lead.id for one in leads])
    for lead in leads:
        if lead.view.lead.id in finished:
            continue
        one = Recipient(lead.view, program, definitions.policy, goal_since)
        try:
            if not broadcasts.fits(one, now).met:
                continue
            obstacle = NO_ADDRESS if lead.address_id is None else broadcasts.find_obstacle(one, now)
            times = broadcasts.plan_times(program, lead.view, now) if not obstacle else None
        except Exception as error:  # noqa: BLE001 - recorded on the message
            obstacle, times = f"error: {redact(error, lead.view.lead.fields)}", None
        yield Candidate(lead, times, obstacle)


def _new_message(one: Candidate, program: Program, now: datetime) -> BroadcastMessage:
    lead, email, times = one.lead.view.lead, broadcasts.email_step(program), one.times
    planned = NewMessage(
        send_key=f"{BROADCAST}:{program.name}:{lead.id}",
        kind=BROADCAST,
        recipient=TO_LEAD,
        lead_id=lead.id,
        email=email.emails[0],
        planned_at=now,
        send_at=times.send_at if times is not None else now,
        expires_at=times.expires_at if times is not None else now,
        state_at=now,
        track=program.track,
        track_version=program.version,
        step=email.step,
        topic=program.topic_key,
        state="planned" if times is not None else "cancelled",
    )
    return BroadcastMessage(planned, f"{LEFT_OUT}{one.obstacle}" if one.obstacle else None)
