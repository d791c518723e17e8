"""Reports on broadcasts: whether they are released, who got them, who did not and why, and what they led to."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from nurture.db.transaction import Transaction
from nurture.definitions.folder import BROADCASTS
from nurture.domain.planning import broadcasts
from nurture.domain.planning.broadcasts import Recipient
from nurture.domain.planning.program import Program
from nurture.journey.broadcasts import queries as broadcast_queries
from nurture.journey.broadcasts.plan import LEFT_OUT
from nurture.journey.broadcasts.queries import Release
from nurture.journey.broadcasts.release import find_published
from nurture.journey.delivery.results import TOO_LATE
from nurture.journey.leads import snapshot, stop_queries
from nurture.reporting import queries
from nurture.runtime import publication_queries
from nurture.runtime.context import AppContext
from nurture.runtime.published import BROADCAST


@dataclass(slots=True)
class BroadcastReport:
    """One broadcast. Its leads are those of the audience; each is sent it, waits for it, or does not get it.

    *state* is draft (never released), released (waits for its time), planning, sending, done or stopped.
    """

    name: str
    version: int
    state: str
    topic: str
    when: datetime
    """In local time of *zone*, "" for the zone of each lead; so is *not_after*."""
    not_after: datetime
    zone: str
    release: Release | None
    stop: str = ""
    sent: int = 0
    waiting: int = 0
    held: Counter[str] = field(default_factory=Counter)
    """Those that wait longer than planned, by what holds them."""
    expired: Counter[str] = field(default_factory=Counter)
    """Those that were held until it was too late, by what held them."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Those that were not to get it when it was planned, by reason."""
    withdrawn: Counter[str] = field(default_factory=Counter)
    """Those that were not to get it any more when it was due, by reason; or their email could not be sent."""
    clicked: int = 0
    replied: int = 0
    unsubscribed: int = 0
    goal: str = ""
    reached_goal: int | None = None
    """Leads that were sent it and then reached the goal; None without one."""


@dataclass(frozen=True, slots=True)
class BroadcastVersion:
    """A published version of a broadcast: what differs from the one before, by whom, and to how many it was sent."""

    version: int
    published_at: datetime
    changed_files: tuple[str, ...]
    published_by: str
    sent: int


def list_versions(ctx: AppContext, name: str) -> list[BroadcastVersion]:
    """Return every published version of a broadcast, the newest first. Raises NotFound."""
    with ctx.database.read() as tx:
        track = find_published(ctx, tx, name).track
        sent = broadcast_queries.count_sent_by_version(tx, track)
        found = publication_queries.list_changes(tx, BROADCAST, track)
    return [BroadcastVersion(*one, sent=sent.get(one.version, 0)) for one in found]


def report_broadcasts(ctx: AppContext) -> list[BroadcastReport]:
    """Return every published broadcast, the one that is next or newest first, without what reached its goal."""
    with ctx.database.read() as tx:
        found = _report(tx, ctx.definitions.newest_broadcasts(tx))
    return sorted(found, key=lambda one: (one.when, one.name), reverse=True)


def report_broadcast(ctx: AppContext, name: str, now: datetime) -> BroadcastReport:
    """Return one broadcast, with what reached its goal, counted in batches of leads. Raises NotFound."""
    with ctx.database.read() as tx:
        program = find_published(ctx, tx, name)
        (found,) = _report(tx, {program.track: program})
    if program.exits:
        found.reached_goal = _count_reached(ctx, program, now)
    return found


def _report(tx: Transaction, programs: Mapping[str, Program]) -> list[BroadcastReport]:
    releases, stops = broadcast_queries.load_releases(tx), stop_queries.load_stops(tx)
    signals, found = queries.signals_by_step(tx), {}
    for path, program in programs.items():
        schedule, step = program.schedule, broadcasts.email_step(program).step
        assert schedule is not None
        by_kind = signals.get((path, step), {})
        found[path] = BroadcastReport(
            path.removeprefix(BROADCASTS),
            program.version,
            "draft",
            program.topic,
            *(schedule.when, schedule.not_after, schedule.zone),
            releases.get(path),
            str(stops.get(path, "")),
            clicked=by_kind.get("clicked", 0),
            replied=by_kind.get("replied", 0),
            unsubscribed=by_kind.get("unsubscribed", 0),
            goal=program.goal,
        )
    for path, state, reason, was_sent, count in queries.broadcast_messages(tx):
        if path in found:
            _count(found[path], state, reason or "", count, was_sent=was_sent)
    for one in found.values():
        one.state = _state(one)
    return list(found.values())


def _count(report: BroadcastReport, state: str, reason: str, count: int, *, was_sent: bool) -> None:
    if was_sent:
        report.sent += count
    elif state in ("planned", "claimed", "sending"):
        report.waiting += count
        if reason:
            report.held[reason] += count
    elif reason.startswith(LEFT_OUT):
        report.left_out[reason.removeprefix(LEFT_OUT)] += count
    elif reason.startswith(TOO_LATE):
        report.expired[reason.removeprefix(TOO_LATE).removeprefix(": ") or "not sent in time"] += count
    else:
        report.withdrawn[reason if state == "cancelled" else state] += count


def _state(one: BroadcastReport) -> str:
    if one.release is None:
        return "draft"
    if one.stop:
        return "stopped"
    if one.release.planned_at is None:
        return "planning" if one.release.last_lead_id else "released"
    return "sending" if one.waiting else "done"


def _count_reached(ctx: AppContext, program: Program, now: datetime) -> int:
    total, last = 0, 0
    while True:
        with ctx.database.read() as tx:
            definitions = ctx.definitions.current(tx).with_program(program)
            sent = broadcast_queries.list_sent_after(tx, program.track, last, ctx.batch_size)
            rows = snapshot.load_rows(tx, sent, lock=False)
            views = [one.view for one in snapshot.load_snapshots(ctx, tx, definitions, rows, now)]
        total += sum(
            broadcasts.reached_goal(Recipient(view, program, definitions.policy, sent[view.lead.id]), now)
            for view in views
        )
        if len(sent) < ctx.batch_size:
            return total
        last = max(sent)
