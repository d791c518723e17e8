"""What a person does to one lead by hand: enroll, leave, pause, resume, close."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection

from nurture.domain.consent.suppression import describe_suppression, find_covering
from nurture.domain.lead import MAX_TOUCH_INTERVAL_DAYS, Closing, Custodian
from nurture.domain.planning.planner import HoldReason, decide
from nurture.domain.planning.program import ToQueue, ToTrack
from nurture.domain.scoring import bant
from nurture.domain.scoring.bant import Confidence
from nurture.errors import InvalidState, NotFound
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import signal_queries, snapshot
from nurture.journey.leads.changeset import EnrollmentUpdate, FieldUpdate
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import LeadTransitions
from nurture.runtime.context import AppContext

MANUALLY: Final = "manually"
_EXTENDED: Final = ", extended"


@contextmanager
def _locked_lead(
    ctx: AppContext, lead_id: int, now: datetime
) -> Iterator[tuple[Connection, LeadSnapshot, LeadTransitions]]:
    """Lock one lead, and write at the end what was collected."""
    database = ctx.database
    with database.write() as connection:
        definitions = ctx.definitions.current(connection)
        rows = snapshot.load_rows(database, connection, [lead_id])
        if not rows:
            raise NotFound(f"There is no lead {lead_id}, or it was erased. `nurture leads list` lists them.")
        lead = snapshot.load_snapshots(database, connection, rows, now, ctx.holidays)[0]
        transitions = LeadTransitions(definitions, now, "manual")
        yield connection, lead, transitions
        transitions.changes.write(database, connection, now)


def enroll(ctx: AppContext, lead_id: int, track: str, now: datetime) -> None:
    """Put the lead on *track*. Raises InvalidState for a lead that sales has or that may not be mailed."""
    with _locked_lead(ctx, lead_id, now) as (_, lead, transitions):
        if track not in transitions.definitions.programs:
            known = ", ".join(sorted(transitions.definitions.programs)) or "none"
            raise NotFound(f"No track {track} is published. Published: {known}.")
        if lead.view.custodian in (Custodian.OFFER, Custodian.REP):
            raise InvalidState(f"Lead {lead_id} is with sales ({lead.ref}). Let them reject it first.")
        if (lead.view.custodian, lead.ref) == (Custodian.CLOSED, Closing.WON):
            raise InvalidState(f"Lead {lead_id} is closed as won. A customer goes back on no track.")
        if lead.view.suppressed_by or not lead.view.lead.consent_basis or lead.address_id is None:
            block_reason = lead.view.suppressed_by or "there is no address, or no consent or other basis on record"
            raise InvalidState(f"Lead {lead_id} may not be mailed: {block_reason}.")
        suppression = find_covering(lead.view.suppressions, track, transitions.definitions.programs[track].topic)
        if suppression is not None:
            raise InvalidState(f"Lead {lead_id} may not be mailed on {track}: {describe_suppression(suppression)}.")
        transitions.move_to(lead, ToTrack(track), "enrolled manually", event="enrolled")


def remove_from_track(ctx: AppContext, lead_id: int, queue: str, now: datetime) -> None:
    """Take the lead off its track, into a named queue where a person looks at it."""
    with _locked_lead(ctx, lead_id, now) as (_, lead, transitions):
        if lead.view.custodian is not Custodian.TRACK:
            raise InvalidState(f"Lead {lead_id} is on no track; its custodian is {lead.view.custodian.value}.")
        transitions.move_to(lead, ToQueue(queue), "taken off manually", event="left")


def is_paused_by(paused_by: str | None, actor: str) -> bool:
    """Whether a pause is of *actor* alone, and is none that they made longer for somebody else."""
    return paused_by is not None and paused_by.startswith(actor) and not paused_by.endswith(_EXTENDED)


def pause(
    ctx: AppContext, lead_id: int, until: datetime | None, now: datetime, *, by: str = MANUALLY, only_by: str = ""
) -> datetime | None:
    """Send the lead nothing until *until* (UTC), None to end the pause; return until when it is paused.

    *by* says who wanted it. *only_by*: whose pauses may be ended or made shorter, "" for anybody's. A longer
    one of somebody else stands, and to end it raises InvalidState.
    """
    with _locked_lead(ctx, lead_id, now) as (connection, lead, transitions):
        paused = lead.view.lead.paused_until
        if only_by and paused is not None and paused > now and not is_paused_by(lead.view.lead.paused_by, only_by):
            if until is None:
                raise InvalidState(f"Lead {lead_id} was paused until {paused:%Y-%m-%d}, but not {only_by.strip()}.")
            if until <= paused:
                return paused
            by += _EXTENDED
        leads_queries.pause(connection, lead_id, until, by, now)
        signal_queries.make_due(ctx.database, connection, [lead_id], now)
        reason = f"paused until {until:%Y-%m-%d %H:%M} UTC {by}" if until else f"resumed {by}"
        transitions.add_journal_entry(lead, "paused" if until else "resumed", reason, None)
    return until


def expedite(ctx: AppContext, lead_id: int, now: datetime, *, by: str = MANUALLY) -> bool:
    """End what the lead's track waits for now, as if it had waited; its window and caps still hold.

    Returns whether it waited for anything. Raises InvalidState for a lead that is on no track, or paused.
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
        track_view = replace(lead.view, lead=replace(lead.view.lead, call_on=None))  # the track alone
        decision = decide(track_view, program, replace(transitions.definitions.policy, criteria=()), now)
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
        custody_change = transitions.set_custody(lead, Custodian.TRACK, enrollment.track, "the wait was ended", now)
        transitions.add_journal_entry(
            lead, "expedited", f"{remaining.days} days sooner {by}", custody_change, step=position.step
        )
    return True


def set_touch_interval(ctx: AppContext, lead_id: int, days: int | None, now: datetime, *, by: str = MANUALLY) -> None:
    """Write to the lead once in *days* at most; None: as often as its track allows."""
    if days is not None and not 1 <= days <= MAX_TOUCH_INTERVAL_DAYS:
        raise InvalidState(
            f"One email in {days} days cannot be. Choose 1 to {MAX_TOUCH_INTERVAL_DAYS} days, or a pause."
        )
    with _locked_lead(ctx, lead_id, now) as (connection, lead, transitions):
        leads_queries.set_touch_interval(connection, lead_id, days, now)
        signal_queries.make_due(ctx.database, connection, [lead_id], now)
        reason = f"one email in {days} days at most, {by}" if days else f"as often as its track allows, {by}"
        transitions.add_journal_entry(lead, "frequency_changed", reason, None)


def clear_timeline(ctx: AppContext, lead_id: int, now: datetime, *, by: str = MANUALLY) -> None:
    """Note that the lead does not decide by the day that it named, and names no other."""
    with _locked_lead(ctx, lead_id, now) as (connection, lead, transitions):
        leads_queries.clear_timeline(connection, lead_id, now)
        signal_queries.make_due(ctx.database, connection, [lead_id], now)
        transitions.add_journal_entry(
            lead, "timeline_cleared", f"the date on which it decides is withdrawn, {by}", None
        )


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
    """Keep what *source* said of the lead's budget, authority or need, with the day and how sure it is."""
    day = stated_on or now.date()
    if not answers:
        raise InvalidState("Nothing was said. Add --budget, --authority or --need.")
    if day > now.date():
        raise InvalidState(f"{day} is yet to come. Write the day on which it was said.")
    with _locked_lead(ctx, lead_id, now) as (connection, lead, transitions):
        fields = dict(lead.view.lead.fields)
        for field, value in answers.items():
            fields |= bant.bant_fields(field, value, source, day, confidence)
        transitions.changes.field_updates.append(FieldUpdate(lead_id, fields))
        signal_queries.make_due(ctx.database, connection, [lead_id], now)
        transitions.add_journal_entry(
            lead, "qualified", f"{' and '.join(answers)} {confidence.name.lower()} by {source} on {day}", None
        )
