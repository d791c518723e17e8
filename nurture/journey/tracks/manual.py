"""Manual actions on one lead: enroll, remove, pause, resume, expedite, qualify."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from typing import Final

from nurture.db.transaction import Transaction
from nurture.domain.lead import MAX_TOUCH_INTERVAL_DAYS, Custodian, PausedBy, Queue
from nurture.domain.planning.entry import Entries
from nurture.domain.planning.planner import HoldReason, decide
from nurture.domain.planning.program import ToQueue, ToTrack
from nurture.domain.scoring import bant
from nurture.domain.scoring.bant import Confidence
from nurture.errors import InvalidState, NotFound
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import signal_queries, snapshot
from nurture.journey.leads.changeset import EnrollmentUpdate, FieldUpdate
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import LeadTransitions, find_mailing_block
from nurture.runtime.context import AppContext

MANUALLY: Final = "manually"


@contextmanager
def _locked_lead(
    ctx: AppContext, lead_id: int, now: datetime
) -> Iterator[tuple[Transaction, LeadSnapshot, LeadTransitions]]:
    """Lock one lead, and write the collected changes at the end."""
    with ctx.database.write() as tx:
        definitions = ctx.definitions.current(tx)
        rows = snapshot.load_rows(tx, [lead_id])
        if not rows:
            raise NotFound(f"There is no lead {lead_id}, or it was erased. `nurture leads list` lists them.")
        lead = snapshot.load_snapshots(ctx, tx, definitions, rows, now)[0]
        transitions = LeadTransitions(definitions, now, "manual")
        yield tx, lead, transitions
        transitions.changes.write(tx, now)


def enroll(ctx: AppContext, lead_id: int, track: str, now: datetime, *, by: str = MANUALLY) -> None:
    """Enroll the lead in *track*; *by* says in the journal who asked for it.

    Raises InvalidState if it is with sales, may not be mailed, or is no customer and the track for customers, or the
    reverse.
    """
    with _locked_lead(ctx, lead_id, now) as (_, lead, transitions):
        if track not in transitions.definitions.programs:
            known = ", ".join(sorted(transitions.definitions.programs)) or "none"
            raise NotFound(f"No track {track} is published. Published: {known}.")
        stop = lead.view.stops.get(track)
        if stop is not None and stop.move_to:
            raise InvalidState(f"Track {track} is retired. Enroll the lead in {stop.move_to}.")
        ends_at = transitions.definitions.programs[track].ends_at(lead.view.lead.zone)
        if ends_at is not None and ends_at <= now:
            raise InvalidState(f"Track {track} is over: its last day has passed. Move `ends_on` in its track.yaml.")
        if lead.view.custodian in (Custodian.OFFER, Custodian.REP):
            raise InvalidState(f"Lead {lead_id} is with sales ({lead.ref}). Ask them to reject it first.")
        program = transitions.definitions.programs[track]
        if program.for_customers != lead.view.lead.is_customer:
            what = "is a customer" if lead.view.lead.is_customer else "is no customer"
            raise InvalidState(f"Lead {lead_id} {what}, and {track} is for {program.for_whom}. Name another track.")
        block = find_mailing_block(lead, now)
        if block is not None:
            remedy = f" Record one: `nurture leads consent {lead_id} --grant BASIS --evidence TEXT`."
            message = f"Lead {lead_id} may not be mailed: {block[1]}."
            raise InvalidState(message + (remedy if block[0] == Queue.NO_CONSENT_BASIS else ""))
        block = find_mailing_block(lead, now, transitions.definitions.programs[track])
        if block is not None:
            raise InvalidState(f"Lead {lead_id} may not be mailed on {track}: {block[1]}.")
        transitions.move_to(lead, ToTrack(track), f"enrolled {by}", event="enrolled")


def remove_from_track(ctx: AppContext, lead_id: int, queue: str, now: datetime, *, by: str = MANUALLY) -> None:
    """Move the lead from its track to a named queue for manual review."""
    with _locked_lead(ctx, lead_id, now) as (_, lead, transitions):
        if lead.view.custodian is not Custodian.TRACK:
            raise InvalidState(f"Lead {lead_id} is on no track; its custodian is {lead.view.custodian.value}.")
        transitions.move_to(lead, ToQueue(queue), f"removed {by}", event="left")


def pause(
    ctx: AppContext,
    lead_id: int,
    until: datetime | None,
    now: datetime,
    *,
    by: str = MANUALLY,
    paused_by: PausedBy = PausedBy.OPERATOR,
) -> datetime | None:
    """Pause mail to the lead until *until* (UTC), None to end the pause; return the end of its pause.

    *by* says in the journal who asked for it. Only an operator may end or shorten the pause of somebody else: a longer
    one is kept, and ending it raises InvalidState.
    """
    with _locked_lead(ctx, lead_id, now) as (tx, lead, transitions):
        paused = lead.view.lead.paused_until
        is_other = paused_by is not PausedBy.OPERATOR and lead.view.lead.paused_by != paused_by
        if is_other and paused is not None and paused > now:
            if until is None:
                raise InvalidState(f"Lead {lead_id} is paused until {paused:%Y-%m-%d}, but not {by}.")
            if until <= paused:
                return paused
            paused_by = PausedBy.SEVERAL
        leads_queries.pause(tx, [lead_id], until, paused_by, now)
        signal_queries.make_due(tx, [lead_id], now)
        if until is None:
            transitions.add_journal_entry(lead, "resumed", f"resumed {by}", None)
        else:
            transitions.add_pause(lead, until, f" {by}")
    return until


def expedite(ctx: AppContext, lead_id: int, now: datetime, *, by: str = MANUALLY) -> bool:
    """End the current wait of the lead's track; send window and caps still apply. Return whether it was waiting.

    Raises InvalidState if the lead is on no track or paused.
    """
    with _locked_lead(ctx, lead_id, now) as (_, lead, transitions):
        enrollment = lead.view.enrollment
        if enrollment is None or lead.view.custodian is not Custodian.TRACK:
            raise InvalidState(f"Lead {lead_id} is on no track; its custodian is {lead.view.custodian.value}.")
        if (lead.view.lead.paused_until or now) > now:
            raise InvalidState(f"Lead {lead_id} is paused until {lead.view.lead.paused_until:%Y-%m-%d}.")
        program = transitions.definitions.programs.get(enrollment.track)
        if program is None:
            raise NotFound(f"Track {enrollment.track} is not published. Run `nurture publish`.")
        # Without the requested callback, which is not a wait of the track.
        track_view = replace(lead.view, lead=replace(lead.view.lead, call_on=None))
        decision = decide(track_view, program, Entries(), replace(transitions.definitions.policy, criteria=()), now)
        position, wake_at = decision.position or enrollment.position, decision.wake_at
        if decision.hold not in (HoldReason.WAITING, HoldReason.NOT_DUE) or wake_at is None:
            return False
        remaining = wake_at - now
        transitions.changes.enrollment_updates.append(
            EnrollmentUpdate(
                enrollment.id,
                lead_id,
                position.step,
                position.visit,
                position.anchor - remaining,
                min(position.reached_at - remaining, now),
            )
        )
        custody_change = transitions.set_custody(lead, Custodian.TRACK, enrollment.track, "wait ended", now)
        transitions.add_journal_entry(
            lead, "expedited", f"{remaining.days} days earlier, {by}", custody_change, step=position.step
        )
    return True


def set_touch_interval(ctx: AppContext, lead_id: int, days: int | None, now: datetime, *, by: str = MANUALLY) -> None:
    """Send the lead at most one email in *days*; None leaves the frequency to its track."""
    if days is not None and not 1 <= days <= MAX_TOUCH_INTERVAL_DAYS:
        raise InvalidState(
            f"{days} days between emails is out of range. Choose 1 to {MAX_TOUCH_INTERVAL_DAYS} days, or a pause."
        )
    with _locked_lead(ctx, lead_id, now) as (tx, lead, transitions):
        leads_queries.set_touch_interval(tx, lead_id, days, now)
        signal_queries.make_due(tx, [lead_id], now)
        reason = f"one email in {days} days at most, {by}" if days else f"as often as its track allows, {by}"
        transitions.add_journal_entry(lead, "frequency_changed", reason, None)


def clear_timeline(ctx: AppContext, lead_id: int, now: datetime, *, by: str = MANUALLY) -> None:
    """Withdraw the date on which the lead said that it decides."""
    with _locked_lead(ctx, lead_id, now) as (tx, lead, transitions):
        leads_queries.clear_timeline(tx, lead_id, now)
        signal_queries.make_due(tx, [lead_id], now)
        transitions.add_journal_entry(lead, "timeline_cleared", f"decision date withdrawn, {by}", None)


def qualify(
    ctx: AppContext,
    lead_id: int,
    answers: Mapping[str, str],
    now: datetime,
    *,
    source: str,
    confidence: Confidence = Confidence.STATED,
    stated_on: date | None = None,
) -> None:
    """Record *answers* on the lead's budget, authority or need, with source, day and confidence."""
    day = stated_on or now.date()
    if not answers:
        raise InvalidState("No answer given. Add --budget, --authority or --need.")
    if day > now.date():
        raise InvalidState(f"{day} is in the future. Write the day on which it was said.")
    with _locked_lead(ctx, lead_id, now) as (tx, lead, transitions):
        fields = dict(lead.view.lead.fields)
        for field, value in answers.items():
            fields |= bant.bant_fields(field, value, source, day, confidence)
        transitions.changes.field_updates.append(FieldUpdate(lead_id, fields))
        signal_queries.make_due(tx, [lead_id], now)
        transitions.add_journal_entry(
            lead, "qualified", f"{' and '.join(answers)} {confidence.name.lower()} by {source} on {day}", None
        )
