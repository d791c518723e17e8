"""Manual actions on many leads, batch by batch: enroll, move, pause; and why some of them are left out."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian, PausedBy
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import signal_queries, snapshot
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import LeadTransitions
from nurture.journey.tracks.enroll_where import EnrollmentCounts, enroll_lead, require_program
from nurture.runtime.context import AppContext


@dataclass(slots=True)
class PauseCounts:
    """How many leads are paused, and those left out, by reason."""

    paused: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class ChosenLeads:
    """Leads by id, and who chose them, as the journal says it. *check* is called before each batch, and may raise."""

    lead_ids: Sequence[int]
    by: str
    check: Callable[[], None] = lambda: None


def enroll_chosen(
    ctx: AppContext, chosen: ChosenLeads, track: str, now: datetime, *, interrupts: bool, dry_run: bool = False
) -> EnrollmentCounts:
    """Enroll these leads in *track*; a *dry_run* only counts. Run twice, it enrolls nobody again.

    *interrupts*: their own track is interrupted, and `finally: previous` brings them back; otherwise they leave it, and
    leads that wait for nobody in sales leave their queue. Raises NotFound for a track that is not published, and
    InvalidState for one that is retired.
    """
    found = EnrollmentCounts(track)
    with ctx.database.read() as tx:
        require_program(ctx, tx, track)
    for tx, leads, transitions in _batches(ctx, chosen, now, dry_run=dry_run):
        program = require_program(ctx, tx, track)
        for lead in leads:
            enroll_lead(lead, program, transitions, f"enrolled by {chosen.by}", found, interrupts=interrupts)
    return found


def pause_chosen(
    ctx: AppContext, chosen: ChosenLeads, until: datetime, now: datetime, *, dry_run: bool = False
) -> PauseCounts:
    """Pause mail to these leads until *until* (UTC); a longer pause is kept. A *dry_run* only counts."""
    found = PauseCounts()
    for tx, leads, transitions in _batches(ctx, chosen, now, dry_run=dry_run):
        paused: list[int] = []
        for lead in leads:
            obstacle = _why_not_paused(lead, until)
            if obstacle:
                found.left_out[obstacle] += 1
                continue
            paused.append(lead.view.lead.id)
            transitions.add_pause(lead, until, f" by {chosen.by}")
        found.paused += len(paused)
        if paused and not dry_run:
            leads_queries.pause(tx, paused, until, PausedBy.OPERATOR, now)
            signal_queries.make_due(tx, paused, now)
    return found


def _why_not_paused(lead: LeadSnapshot, until: datetime) -> str:
    paused_until = lead.view.lead.paused_until
    if lead.view.custodian is Custodian.CLOSED:
        return "closed"
    return "paused for as long already" if paused_until is not None and paused_until >= until else ""


def _batches(
    ctx: AppContext, chosen: ChosenLeads, now: datetime, *, dry_run: bool
) -> Iterator[tuple[Transaction, list[LeadSnapshot], LeadTransitions]]:
    """Yield the leads in batches, each locked in a transaction of its own, which writes the transitions at its end."""
    for start in range(0, len(chosen.lead_ids), ctx.batch_size):
        chosen.check()
        with _batch(ctx, chosen.lead_ids[start : start + ctx.batch_size], now, dry_run=dry_run) as batch:
            yield batch


@contextmanager
def _batch(
    ctx: AppContext, ids: Sequence[int], now: datetime, *, dry_run: bool
) -> Iterator[tuple[Transaction, list[LeadSnapshot], LeadTransitions]]:
    with ctx.database.read() if dry_run else ctx.database.write() as tx:
        definitions = ctx.definitions.current(tx)
        rows = snapshot.load_rows(tx, ids, lock=not dry_run)
        transitions = LeadTransitions(definitions, now, "manual")
        yield tx, snapshot.load_snapshots(ctx, tx, definitions, rows, now), transitions
        if not dry_run:
            transitions.changes.write(tx, now)
