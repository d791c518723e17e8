"""Bring a restored database up to date: opt-outs since its backup, and messages that may have been sent.

The gap from the backup to now is replayed with the same planner. Each touch that falls due in it is presumed
sent; at the end these become `unknown`. The quarantine ends last, so an interrupted run can be repeated: it
continues where it stopped.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from nurture.db import clock_row, suppression_journal
from nurture.db.locks import Lock, acquire
from nurture.db.machine_state import Machine
from nurture.db.suppression_journal import WITHDRAWN, JournalContents, JournalLine
from nurture.db.transaction import Transaction
from nurture.definitions.folder import BROADCASTS
from nurture.domain.consent.suppression import (
    LogAction,
    SuppressionLogEntry,
    SuppressionScope,
    SuppressionSource,
    parse_source,
)
from nurture.domain.delivery.stops import Stop, StopAction, name_stopped
from nurture.domain.lead import Custodian
from nurture.domain.planning import broadcasts
from nurture.domain.planning.program import ToQueue
from nurture.domain.policy.business_hours import EscalationAction
from nurture.errors import FileUnreadable, InvalidState, Misconfigured, NotFound
from nurture.journey.broadcasts import queries as broadcast_queries
from nurture.journey.broadcasts.plan import plan_due
from nurture.journey.broadcasts.queries import Release
from nurture.journey.consent import opt_in, statements, suppression
from nurture.journey.consent.suppression import OptOut
from nurture.journey.delivery import stopping
from nurture.journey.erasure import erase
from nurture.journey.handoff import queries as handoff_queries
from nurture.journey.handoff.escalation import answer_escalation, describe_step
from nurture.journey.leads import due_queries, snapshot, stop_queries, suppression_queries
from nurture.journey.leads.transitions import LeadTransitions
from nurture.journey.tracks import advance, enroll
from nurture.mail.providers.base import SuppressedAddress, SuppressionListProvider
from nurture.operations import restore_gap_queries
from nurture.outbox import circuit_breakers
from nurture.outbox.messages import PRESUMED_SENT, TO_LEAD
from nurture.runtime import quarantine
from nurture.runtime.batches import drain
from nurture.runtime.context import AppContext
from nurture.simulation.engine import MAX_ROUNDS_PER_TIMESTAMP, DiscardingProvider

HandoffChoice = Literal["reoffer", "leave"]
"""A manager's choice: send the briefs again, or not, because the reps have them."""

QUEUE: Final = "after-restore"
"""The queue of leads whose briefs are not sent again: a person looks up what their reps did."""

_REOFFERED_REASON: Final = "offered again after a restore, as a manager chose"
_BY_RESTORE: Final = "the restore"
_STOPPED_REASON: Final = "it was stopped after the backup; why is lost"
_LEFT_REASON: Final = "the database was restored: look up what its rep did since"


def reoffer_handoffs(
    ctx: AppContext, tx: Transaction, choice: HandoffChoice, leads: Sequence[int], now: datetime
) -> None:
    """Offer *leads* again from *now* on, or move them to QUEUE."""
    if choice == "leave":
        restore_gap_queries.mark_sales_mail_unknown(tx)
    if not leads:
        return
    definitions = ctx.definitions.current(tx)
    transitions = LeadTransitions(definitions, now, "restore")
    rows = snapshot.load_rows(tx, leads)
    opened = handoff_queries.load_open_offers(tx, leads)
    new_expiries = []
    for lead in snapshot.load_snapshots(ctx, tx, definitions, rows, now):
        offer = opened.get(lead.view.lead.id)
        if choice == "leave":
            transitions.move_to(lead, ToQueue(QUEUE), _LEFT_REASON)
        elif offer is None:
            moved = transitions.set_custody(lead, Custodian.QUEUE, lead.ref, "offer to a rep", now)
            transitions.add_journal_entry(lead, "offered_again", _REOFFERED_REASON, moved, ref=lead.ref)
        else:
            escalation_steps = answer_escalation(definitions.policy, ctx.holidays, offer.rep, offer.tier, now)
            expires_at = next(step.due_at for step in escalation_steps if step.action is EscalationAction.TAKE_BACK)
            new_expiries.append((offer.id, expires_at))
            first = escalation_steps[0]
            action = f"{offer.rep} answers; else {describe_step(definitions.policy, offer.rep, first)}"
            moved = transitions.set_custody(lead, Custodian.OFFER, lead.ref, action, first.due_at)
            transitions.add_journal_entry(lead, "offered_again", _REOFFERED_REASON, moved, ref=lead.ref)
    if choice == "leave":
        handoff_queries.record_answers(tx, [(one.id, "withdrawn", None) for one in opened.values()], now)
    restore_gap_queries.renew_offers(tx, new_expiries, now)
    transitions.changes.write(tx, now)


MIN_STEP: Final = timedelta(minutes=1)
"""The shortest step of the replay."""


class _PresumedProvider(DiscardingProvider):
    """Stands for the provider that sent email in the gap."""

    name = PRESUMED_SENT


@dataclass
class RestoreReport:
    """The result of a restore; *notes* are for a person to read.

    *handoffs* are the leads whose brief may have been sent in the gap. With *needs_decision*, a manager must
    choose what to do with them, and the quarantine is still on.
    """

    since: datetime
    journals: Sequence[Path] = ()
    suppressed: int = 0
    opted_in: int = 0
    erased: int = 0
    unknown: int = 0
    handoffs: Sequence[int] = ()
    needs_decision: bool = False
    already_done_at: datetime | None = None
    notes: list[str] = field(default_factory=list)


def restore(
    ctx: AppContext,
    since: datetime,
    now: datetime,
    *,
    by: str,
    journals: Sequence[Path] = (),
    without_journal: str = "",
    choice: HandoffChoice | None = None,
) -> RestoreReport:
    """Replay the gap from *since* (UTC), when the backup was made, to *now*, and end the quarantine.

    *journals* are suppression journals of other machines; *without_journal* is the reason why there is none.
    Raises InvalidState for a *since* in the future, or without both a journal and a reason; ClockWentBackwards;
    FileUnreadable.
    """
    machine = quarantine.require_machine(ctx)
    if since > now:
        raise InvalidState(f"--since {since:%Y-%m-%d %H:%M} UTC is in the future. Give the time of the backup.")
    active = quarantine.check(ctx, now, exempt=False)
    found = RestoreReport(since)
    with ctx.database.write() as tx:
        clock_row.advance_to(tx, now)
        before = circuit_breakers.last_restored(tx, since)
    if active is None and before is not None:
        return replace(found, already_done_at=before)
    files = sorted({*(path.resolve() for path in machine.list_journals()), *(path.resolve() for path in journals)})
    journaled = _read_journals(files, found)
    if not without_journal.strip():
        _require_journal_since(journaled, machine, since)
    reason = active.reason if active is not None else "`nurture admin restored` is bringing the database up to date"
    quarantine.start(ctx, reason, now, is_outdated=True)
    with ctx.database.write() as tx:
        restore_gap_queries.leap_ids_after_restore(tx)
    gap_ctx = replace(ctx, provider=_PresumedProvider())
    of_addresses = [line for line in journaled.entries if line.address_hash]
    _apply_journals(gap_ctx, of_addresses, now, found)
    _apply_provider_lists(ctx, now, found)
    with ctx.database.read() as tx:
        last = restore_gap_queries.find_last_move(tx)
    first = min(since, last or since)
    releases = {line.ref: line.at for line in journaled.entries if line.action == suppression_journal.RELEASED}
    _apply_releases(gap_ctx, {track: at for track, at in releases.items() if at >= first}, now, found)
    stops = [line for line in journaled.entries if line.action in suppression_journal.STOPS and first <= line.at <= now]
    _replay_gap_with_stops(gap_ctx, first, now, stops, found)
    with ctx.database.write() as tx:
        found.handoffs = restore_gap_queries.list_handed_off(tx)
        if found.handoffs and choice is None:
            found.needs_decision = True
            return found
        if choice is not None:
            reoffer_handoffs(gap_ctx, tx, choice, found.handoffs, now)
        found.unknown = restore_gap_queries.mark_unknown(tx)
        reason = f"; without a journal: {without_journal.strip()}" if without_journal.strip() else ""
        _end_quarantine(ctx, tx, machine, f"restored by {by}{reason}", since, now)
    return found


def _end_quarantine(
    ctx: AppContext, tx: Transaction, machine: Machine, by: str, since: datetime, now: datetime
) -> None:
    """End the quarantine, and make this the newest state of the database that the machine has seen."""
    newest_seen = max(machine.newest_generation_of_any_copy() or 0, 0)
    generation = clock_row.leap_generation(tx, newest_seen)
    quarantine.record_location(ctx, tx, machine)
    machine.suppression_journal.open_file()
    machine.record_generation(generation)  # before the commit: if that fails, the quarantine stays on
    circuit_breakers.release(tx, quarantine.KIND, quarantine.NAME, by, now, restored_since=since)


def _read_journals(files: Sequence[Path], report: RestoreReport) -> JournalContents:
    try:
        journaled = suppression_journal.read_journals(files)
    except OSError as error:
        raise FileUnreadable(f"The journal {error.filename} cannot be read: {error.strerror}.") from error
    if journaled.unreadable:
        report.notes.append(f"{journaled.unreadable} lines of the journals are incomplete and were skipped")
    report.journals = files
    return journaled


def _require_journal_since(journaled: JournalContents, machine: Machine, since: datetime) -> None:
    if journaled.started_at is None or journaled.started_at > since:
        raise InvalidState(
            f"No suppression journal in {machine.folder} reaches back to {since:%Y-%m-%d %H:%M} UTC, so opt-outs "
            "since then are unknown. Give the journals of the machines that ran then (--journal FILE), or the "
            'reason why there is none (--without-journal "REASON"), which is recorded.'
        )


def _apply_journals(ctx: AppContext, entries: Sequence[JournalLine], now: datetime, report: RestoreReport) -> None:
    """Apply journal entries to the suppression log, also for addresses that are not in the database."""
    machine, database = quarantine.require_machine(ctx), ctx.database
    by_address_hash: dict[str, list[JournalLine]] = defaultdict(list)
    for entry in entries:
        by_address_hash[entry.address_hash].append(entry)
    erased: list[str] = []
    with database.write() as tx:
        known: dict[str, int] = {}
        for address_id, normal in suppression_queries.iterate_addresses(tx):
            address_hash = normal if normal in by_address_hash else machine.address_hash(normal)
            if address_hash in by_address_hash:
                known[address_hash] = address_id
                if normal != address_hash and any(
                    line.action == suppression_journal.ERASED for line in by_address_hash[address_hash]
                ):
                    erased.append(normal)
        known |= suppression_queries.add_erased_addresses(tx, sorted(by_address_hash.keys() - known.keys()))
        retracted = {
            line._replace(action=action)
            for line in entries
            if line.action == LogAction.RETRACT
            for action in (LogAction.SUPPRESS, WITHDRAWN)
        }
        known_entries = [
            (known[line.address_hash], line)
            for line in entries
            if line.action != suppression_journal.ERASED and line not in retracted
        ]
        opt_outs = [
            OptOut(id_, parse_source(line.source), SuppressionScope(line.scope), line.ref, line.at)
            for id_, line in known_entries
            if line.action == LogAction.SUPPRESS
        ]
        report.suppressed += sum(suppression.opt_out(tx, opt_outs, now))
        opt_ins = [
            (
                id_,
                SuppressionLogEntry(
                    LogAction.OPT_IN, SuppressionScope(line.scope), line.ref, parse_source(line.source), line.at
                ),
            )
            for id_, line in known_entries
            if line.action == LogAction.OPT_IN
        ]
        withdrawn = [
            (id_, line.ref, line.at, statements.SOURCE) for id_, line in known_entries if line.action == WITHDRAWN
        ]
        evidence = "restored from the suppression journal"
        report.suppressed += statements.add_withdrawals(tx, withdrawn, now, evidence)
        report.opted_in += opt_in.restore_opt_ins(ctx, tx, opt_ins, now)
    for normal in erased:
        erase.erase_person(ctx, normal, now)
    report.erased += len(erased)


def _apply_releases(ctx: AppContext, releases: Mapping[str, datetime], now: datetime, report: RestoreReport) -> None:
    """Stop the broadcasts of *releases* (track: time) that the backup does not know: nobody knows who had them.

    One that is published in the backup is released again, so that the replay presumes its due messages to be sent.
    """
    with ctx.database.write() as tx:
        acquire(tx, Lock.BROADCASTS)
        acquire(tx, Lock.STOPS)
        known, stops = broadcast_queries.load_releases(tx), stop_queries.load_stops(tx)
        lost = [track for track, at in releases.items() if track not in known or known[track].released_at < at]
        for track, program in ctx.definitions.newest_broadcasts(tx, lost).items():
            due_at = broadcasts.first_start(program)
            release = Release(track, releases[track], _BY_RESTORE, program.topic, due_at)
            broadcast_queries.write_release(tx, release)
        for track in lost:
            name = track.removeprefix(BROADCASTS)
            when = f"{releases[track]:%Y-%m-%d %H:%M} UTC"
            reason = f"it was released on {when}, after the backup: who had it is not known"
            if track not in stops:
                stop_queries.append_stop(tx, Stop(track, StopAction.STOP, reason, _BY_RESTORE, now))
            report.notes.append(
                f"broadcast {name} is stopped: {reason}. `nurture broadcasts start {name}` sends it to all who are not "
                "known to have had it"
            )


def _repeat_stop(ctx: AppContext, line: JournalLine, report: RestoreReport) -> None:
    """Stop or start mail as a person did after the backup, so that the replay presumes sent what was.

    A broadcast that is stopped stays so: who had it is not known.
    """
    what = name_stopped(line.ref) or "all mail"
    try:
        if line.action == StopAction.START and not line.ref.startswith(BROADCASTS):
            stopping.start(ctx, line.ref, "", _BY_RESTORE, line.at)
        elif line.action != StopAction.START:
            to_sales = line.action == StopAction.STOP_ALL
            stopping.stop(ctx, line.ref, _STOPPED_REASON, _BY_RESTORE, line.at, to_sales=to_sales)
    except (InvalidState, NotFound):
        return  # the backup, or a restore before, has it; or the track is newer than the backup
    done = "started" if line.action == StopAction.START else "stopped"
    report.notes.append(f"{what} was {done} on {line.at:%Y-%m-%d %H:%M} UTC, after the backup; it is again")


def _apply_provider_lists(ctx: AppContext, now: datetime, report: RestoreReport) -> None:
    """Suppress the addresses on the provider's suppression lists, if it has any."""
    if not isinstance(ctx.provider, SuppressionListProvider):
        report.notes.append(f"{ctx.provider.name} has no suppression list to read")
        return
    try:
        provider_opt_outs: Sequence[SuppressedAddress] = ctx.provider.list_suppressions()
    except Misconfigured as error:
        report.notes.append(f"{error} {ctx.provider.name} itself still suppresses the addresses on it")
        return
    addressed = {}
    for one in provider_opt_outs:
        try:
            addressed[suppression.parse_address(one.email), one.source] = one
        except InvalidState:
            report.notes.append("an entry of the provider's list is not an address and was skipped")
    with ctx.database.write() as tx:
        normals = sorted({normal for normal, _ in addressed})
        known = suppression.get_or_create_addresses(tx, normals)
        opt_outs = [
            OptOut(known[normal], SuppressionSource(one.source), at=one.at, evidence=_list_evidence(ctx, one))
            for (normal, _), one in addressed.items()
        ]
        report.suppressed += sum(suppression.opt_out(tx, opt_outs, now))
    report.notes.append(f"{len(provider_opt_outs):,} entries of {ctx.provider.name}'s lists were read")


def _list_evidence(ctx: AppContext, listed: SuppressedAddress) -> str:
    since = f" since {listed.at:%Y-%m-%d %H:%M:%S} UTC" if listed.at is not None else ""
    return f"on the suppression list of {ctx.provider.name}{since}"


def _replay_gap_with_stops(
    ctx: AppContext, since: datetime, now: datetime, stops: Sequence[JournalLine], report: RestoreReport
) -> None:
    """Advance leads from *since* to *now*, and stop and start mail meanwhile as people did."""
    for line in stops:
        _replay_gap(ctx, since, line.at)
        _repeat_stop(ctx, line, report)
        since = line.at
    _replay_gap(ctx, since, now)


def _replay_gap(ctx: AppContext, since: datetime, now: datetime) -> None:
    """Advance leads from *since* to *now*, presuming that each due touch was sent at its time."""
    at = since
    while True:
        for _ in range(MAX_ROUNDS_PER_TIMESTAMP):
            moved = enroll.classify(ctx, at).total() + advance.advance(ctx, at).leads + plan_due(ctx, at).leads
            if not _count_as_sent(ctx, at) and not moved:
                break
        with ctx.database.read() as tx:
            next_due = due_queries.find_next_due(tx, (Custodian.INTAKE, Custodian.TRACK), TO_LEAD)
        if at >= now or next_due is None or next_due > now:
            return
        at = min(max(next_due, at + MIN_STEP), now)


def _count_as_sent(ctx: AppContext, at: datetime) -> int:
    def mark_batch() -> int:
        with ctx.database.write() as tx:
            return restore_gap_queries.mark_as_sent(tx, at, ctx.batch_size)

    return sum(drain(mark_batch, lambda sent: sent >= ctx.batch_size))
