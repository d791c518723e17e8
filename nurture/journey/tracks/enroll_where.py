"""Enroll all known leads that meet a condition in one track, and count those that are left out, by reason."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from nurture.db.transaction import Transaction
from nurture.domain.lead import OWNER, Custodian, is_parked
from nurture.domain.planning.conditions import Condition, evaluate
from nurture.domain.planning.entry import may_enter_again
from nurture.domain.planning.lead_view import TouchState
from nurture.domain.planning.missing_fields import fields_used
from nurture.domain.planning.program import Program, ToTrack
from nurture.domain.policy.policy_wording import describe_condition
from nurture.errors import InvalidState, NotFound, suggest
from nurture.journey.leads import snapshot, stop_queries
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import LeadTransitions
from nurture.runtime.context import AppContext


@dataclass(slots=True)
class EnrollmentCounts:
    """The leads that enter *track*, by the track that they are on ("": none), and those left out, by reason."""

    track: str
    entering: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


def enroll_where(
    ctx: AppContext, track: str, condition: Condition, now: datetime, *, dry_run: bool = False
) -> EnrollmentCounts:
    """Enroll the open leads that meet *condition* in *track*, batch by batch; a *dry_run* only counts.

    Their own track is interrupted: `finally: previous` brings them back to their step. Run twice, it enrolls nobody
    again. Raises NotFound for a track that is not published, and InvalidState for one that is retired.
    """
    found, last, with_owners = EnrollmentCounts(track), 0, OWNER in fields_used(condition)
    while True:
        with ctx.database.read() if dry_run else ctx.database.write() as tx:
            definitions, program = ctx.definitions.current(tx), require_program(ctx, tx, track)
            rows = snapshot.load_open_rows_after(tx, last, ctx.batch_size)
            ids = [row.lead_id for row in rows]
            chosen = rows if dry_run else snapshot.load_rows(tx, ids)  # locked
            transitions, reason = LeadTransitions(definitions, now, "manual"), describe_condition(condition)
            for lead in snapshot.load_snapshots(ctx, tx, definitions, chosen, now, with_owners=with_owners):
                context = definitions.policy.evaluation_context(lead.view, since=lead.view.lead.signals_since)
                if evaluate(condition, context, now).met:
                    enroll_lead(lead, program, transitions, f"enrolled by condition: {reason}", found)
            if not dry_run:
                transitions.changes.write(tx, now)
        if len(rows) < ctx.batch_size:
            return found
        last = ids[-1]


def require_program(ctx: AppContext, tx: Transaction, track: str) -> Program:
    """Return the published program of *track*. Raises NotFound; InvalidState for a retired one."""
    programs = ctx.definitions.current(tx).programs
    if track not in programs:
        raise NotFound(f"No track {track} is published. {suggest(track, programs)}")
    stop = stop_queries.load_stops(tx).get(track)
    if stop is not None and stop.move_to:
        raise InvalidState(f"Track {track} is retired. Enroll the leads in {stop.move_to}.")
    return programs[track]


def enroll_lead(
    lead: LeadSnapshot,
    program: Program,
    transitions: LeadTransitions,
    reason: str,
    found: EnrollmentCounts,
    *,
    interrupts: bool = True,
) -> None:
    """Enroll a lead, or count why it does not enter.

    *interrupts*: its own track is interrupted; otherwise it leaves that, or a queue in which nobody in sales works.
    """
    obstacle = _find_obstacle(lead, program, transitions.now, leaves_queue=not interrupts)
    if obstacle:
        found.left_out[obstacle] += 1
        return
    enrollment = lead.view.enrollment
    found.entering[enrollment.track if enrollment is not None else ""] += 1
    if enrollment is not None and interrupts:
        transitions.take_over(lead, program.track, reason)
    else:
        transitions.move_to(lead, ToTrack(program.track), reason, event="enrolled")


def _find_obstacle(lead: LeadSnapshot, program: Program, now: datetime, *, leaves_queue: bool) -> str:
    """Return why the lead does not enter, "" if nothing stands against it."""
    view, ends_at = lead.view, program.ends_at(lead.view.lead.zone)
    if view.enrollment is not None and view.enrollment.track == program.track:
        return "on it already"
    if view.custodian in (Custodian.OFFER, Custodian.REP):
        return "with sales"
    if view.custodian is Custodian.INTAKE:
        return "not classified yet"
    if view.custodian is Custodian.CLOSED:
        return "closed"
    if view.queue and not (leaves_queue and is_parked(view.queue)):
        return f"in the queue {view.queue}"
    if program.for_customers != view.lead.is_customer:
        return f"the track is for {program.for_whom}"
    if not view.permission(now, program).allowed:
        return "may not be mailed"
    if not may_enter_again(program, view, now):
        return "on it before, and `re_entry` keeps them out"
    if ends_at is not None and ends_at <= now:
        return "the last day of the track is over"
    in_flight = any(touch.state is TouchState.IN_FLIGHT for touch in view.touches)
    return "an email to them is being sent; try again later" if in_flight else ""
