"""Release a broadcast, so that the sweeps send it; count before that who gets it, and who does not, and why."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from nurture.db import locks
from nurture.db.locks import Lock
from nurture.db.transaction import Transaction
from nurture.definitions.folder import BROADCASTS
from nurture.domain.planning import broadcasts
from nurture.domain.planning.program import Program
from nurture.errors import InvalidState, NotFound, suggest
from nurture.journey.accounts.company_talks import mark_colleagues
from nurture.journey.broadcasts import queries
from nurture.journey.broadcasts.plan import Candidate, find_candidates
from nurture.journey.broadcasts.queries import Release
from nurture.journey.leads import snapshot
from nurture.runtime import publication_queries
from nurture.runtime.context import AppContext
from nurture.runtime.published import BROADCAST


class Released(NamedTuple):
    """A release, and the version of the broadcast that was in force. *is_new*: it was not waiting already."""

    release: Release
    program: Program
    is_new: bool


@dataclass(slots=True)
class BroadcastCounts:
    """The leads of the audience: those who would get the broadcast, and those who would not, by reason.

    *delayed* are those among *recipients* who get it later than planned; *expiring* are held until it is too late, by
    what holds them. *finished* have had it.
    """

    broadcast: str
    version: int
    recipients: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    delayed: Counter[str] = field(default_factory=Counter)
    expiring: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    finished: int = 0


def release(ctx: AppContext, name: str, by: str, now: datetime) -> Released:
    """Release the newest version of a broadcast: the sweeps plan it at its time, for all who have not had it.

    A second release plans again for those who have not had it, in the version that is newest then. Raises NotFound for
    a broadcast that is not published, and InvalidState for one whose time is over.
    """
    with ctx.database.write() as tx:
        locks.acquire(tx, Lock.BROADCASTS)
        program = find_published(ctx, tx, name)
        if broadcasts.is_over(program, now):
            raise InvalidState(f"Broadcast {name} is over. Write a later `when`, and publish it, to send it again.")
        before = queries.find_release(tx, program.track)
        if before is not None and before.planned_at is None:
            return Released(before, program, is_new=False)
        new = Release(program.track, now, by, program.topic, broadcasts.first_start(program))
        queries.write_release(tx, new)
        return Released(new, program, is_new=True)


def preview(ctx: AppContext, name: str, now: datetime) -> BroadcastCounts:
    """Count who would get the broadcast if it were planned now and nothing changed until then, in batches.

    Raises as `release` does.
    """
    with ctx.database.read() as tx:
        program = find_published(ctx, tx, name)
    if broadcasts.is_over(program, now):
        raise InvalidState(f"Broadcast {name} is over. Write a later `when`, and publish it, to send it again.")
    counts, last = BroadcastCounts(name, program.version), 0
    while True:
        with ctx.database.read() as tx:
            rows = snapshot.load_open_rows_after(tx, last, ctx.batch_size)
            ids = [row.lead_id for row in rows]
            counts.finished += len(queries.load_finished(tx, program.track, ids)) if ids else 0
            for one in _load_candidates(ctx, tx, rows, program, now):
                _count(one, program, now, counts)
        if len(rows) < ctx.batch_size:
            return counts
        last = ids[-1]


def find_published(ctx: AppContext, tx: Transaction, name: str) -> Program:
    """Return the newest version of the broadcast *name*. Raises NotFound."""
    path = f"{BROADCASTS}{name.removeprefix(BROADCASTS)}"
    found = ctx.definitions.newest_broadcasts(tx, [path])
    if path not in found:
        rows = publication_queries.load_newest_versions(tx)
        known = [row.name.removeprefix(BROADCASTS) for row in rows if row.kind == BROADCAST]
        raise NotFound(f"No broadcast {name} is published. {suggest(name, known, 'Run `nurture publish` first.')}")
    return found[path]


def _load_candidates(
    ctx: AppContext, tx: Transaction, rows: list[snapshot.SnapshotRow], program: Program, now: datetime
) -> Iterator[Candidate]:
    released = queries.find_release(tx, program.track)
    since = released.released_at if released is not None else now
    leads = load_with_holds(ctx, tx, rows, program, now)
    return find_candidates(tx, leads, program, ctx.definitions.current(tx), since, now)


def load_with_holds(
    ctx: AppContext, tx: Transaction, rows: list[snapshot.SnapshotRow], program: Program, now: datetime
) -> list[snapshot.LeadSnapshot]:
    """Return the leads of *rows* with what holds an email that asks to talk to sales, if that of *program* does."""
    definitions = ctx.definitions.current(tx).with_program(program)
    policy = definitions.policy
    full_until = snapshot.load_full_until(tx, policy, [program], now)
    leads = snapshot.load_snapshots(ctx, tx, definitions, rows, now, full_until)
    return mark_colleagues(tx, policy, {program.track: program}, leads, on_any_track=bool(program.calls_to_action))


def _count(one: Candidate, program: Program, now: datetime, counts: BroadcastCounts) -> None:
    if one.times is None:
        counts.left_out[one.obstacle] += 1
        return
    expected = broadcasts.expect(program, one.lead.view, one.times, now)
    if expected.at is None:
        counts.expiring[expected.cause] += 1
        return
    counts.recipients += 1
    if expected.cause:
        counts.delayed[expected.cause] += 1
    counts.first_at = min(counts.first_at or expected.at, expected.at)
    counts.last_at = max(counts.last_at or expected.at, expected.at)
