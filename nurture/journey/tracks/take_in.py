"""Find the known leads that an audience fits: take them in over time, or keep them out."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from nurture.db.transaction import Transaction
from nurture.domain.consent.suppression import SuppressionScope, find_kept_refusals
from nurture.domain.planning.conditions import AnyOf, earliest
from nurture.domain.planning.entry import Entries, find_entry
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.planning.program import Program
from nurture.domain.policy.policy import Policy
from nurture.journey.leads import custody, enrollment_queries, snapshot
from nurture.journey.leads.snapshot import LeadSnapshot, SnapshotRow
from nurture.runtime.context import AppContext
from nurture.runtime.published import Definitions

SET_INTERVAL: Final = timedelta(minutes=15)
"""Leads that are taken in become due in sets, each as large as a batch of a sweep, at this distance."""


class KnownLead(NamedTuple):
    """A lead on the track *current*, "" for none, and the tracks whose audience it *fits*.

    It is due at *due_at*, None for no earlier than before, and kept out of the tracks *excluded_from*.
    """

    lead_id: int
    current: str
    fits: tuple[str, ...]
    due_at: datetime | None
    excluded_from: tuple[str, ...] = ()


def has_changed(new: Program, old: Program | None) -> bool:
    """Return whether *new* may take leads that *old* did not take; *old* None: it is the first version."""
    if old is None:
        return new.audience != AnyOf(())
    asked = ((one.audience, one.priority, one.re_entry, one.takes_over) for one in (new, old))
    return next(asked) != next(asked)


def find_former_topics(old: Mapping[str, Program], new: Mapping[str, Program]) -> dict[str, str]:
    """Return the topics in *old* of the tracks that have another one in *new*."""
    kept = ((name, old[name], program) for name, program in new.items() if name in old)
    return {name: was.topic for name, was, program in kept if was.topic_key not in ("", program.topic_key)}


def keep_refusals(view: LeadView, topics: Mapping[str, str]) -> LeadView:
    """Return the view of a lead as publishing leaves it, that refused the former *topics* of some tracks."""
    kept = find_kept_refusals(view.refusals, topics) if topics and (view.suppressions or view.statements) else ()
    refused = tuple(one._replace(scope=SuppressionScope.TRACK, ref=track) for one, track in kept)
    return replace(view, suppressions=(*view.suppressions, *refused)) if refused else view


def survey_known_leads(
    ctx: AppContext,
    tx: Transaction,
    changed: Collection[Program],
    programs: Mapping[str, Program],
    policy: Policy,
    now: datetime,
    *,
    former_topics: Mapping[str, str],
    take_in: bool,
    dry_run: bool = False,
    limit: int | None = None,
) -> list[KnownLead]:
    """Ask the *changed* audiences of every known lead, and return those that fit; *programs* are all tracks.

    Who refused one of the *former_topics*, by track, does not fit that track. With *take_in* they become due, set by
    set. Without it, those on another track enter only after the audience was once false for them. A *dry_run* writes
    nothing, and stops after the batch with which *limit* leads were asked. Leads that time alone will make fit become
    due then.
    """
    found: list[KnownLead] = []
    taken = asked = 0
    if changed and not dry_run:
        enrollment_queries.clear_exclusions(tx, [one.track for one in changed])
    for looked_at, batch in _ask_known_leads(ctx, tx, changed, programs, policy, now, former_topics):
        planned = []
        for lead in batch:
            if not lead.fits:
                planned.append(lead)
            elif take_in or not lead.current:
                planned.append(lead._replace(due_at=earliest((lead.due_at, _next_slot(ctx, taken, now)))))
                taken += len(lead.fits)
            else:
                planned.append(lead._replace(excluded_from=lead.fits))
        found += [one for one in planned if one.fits]
        if not dry_run:
            custody.bring_due_forward(tx, [(one.lead_id, one.due_at) for one in planned if one.due_at is not None])
            excluded = [(one.lead_id, track, now) for one in planned for track in one.excluded_from]
            enrollment_queries.exclude(tx, excluded)
        asked += looked_at
        if dry_run and limit is not None and asked >= limit:
            break
    return found


def wake_fitting_leads(ctx: AppContext, tx: Transaction, track: str, definitions: Definitions, now: datetime) -> None:
    """Make the known leads that *track* takes now due, set by set; others when time alone may make them fit."""
    programs, taken = definitions.programs, 0
    for _, batch in _ask_known_leads(ctx, tx, [programs[track]], programs, definitions.policy, now):
        due: list[tuple[int, datetime]] = []
        for lead in batch:
            due_at = earliest((lead.due_at, _next_slot(ctx, taken, now) if lead.fits else None))
            taken += len(lead.fits)
            if due_at is not None:
                due.append((lead.lead_id, due_at))
        custody.bring_due_forward(tx, due)


def count_fits(leads: Iterable[KnownLead]) -> Mapping[str, Counter[str]]:
    """Return how many leads each audience fits, by the track that they are on; "" is none."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for lead in leads:
        for track in lead.fits:
            counts[track][lead.current] += 1
    return counts


def _next_slot(ctx: AppContext, taken: int, now: datetime) -> datetime:
    return now + taken // ctx.batch_size * SET_INTERVAL


def _ask_known_leads(
    ctx: AppContext,
    tx: Transaction,
    asked: Collection[Program],
    programs: Mapping[str, Program],
    policy: Policy,
    now: datetime,
    former_topics: Mapping[str, str] | None = None,
) -> Iterator[tuple[int, list[KnownLead]]]:
    """Yield how many leads were looked at, and those that an audience could take, batch by batch.

    They are due when time may change its answer. If the audiences are published anew, with *former_topics*, it does not
    count that leads were kept out of them.
    """
    audiences, last = [Entries([one]) for one in asked], 0
    definitions = Definitions(programs, policy)
    while audiences:
        rows = snapshot.load_open_rows_after(tx, last, ctx.batch_size, may_enter=True)
        # Most leads are ruled out by a field, and their touches, signals and statements are not read.
        possible = [row for row in rows if _may_enter(row, audiences, programs)]
        snapshots = snapshot.load_snapshots(ctx, tx, definitions, possible, now)
        yield len(rows), [_ask(lead, audiences, programs, policy, now, former_topics) for lead in snapshots]
        if len(rows) < ctx.batch_size:
            return
        last = rows[-1].lead_id


def _ask(
    lead: LeadSnapshot,
    audiences: Collection[Entries],
    programs: Mapping[str, Program],
    policy: Policy,
    now: datetime,
    former_topics: Mapping[str, str] | None,
) -> KnownLead:
    view, enrollment = lead.view, lead.view.enrollment
    if former_topics is not None:
        view = keep_refusals(replace(view, excluded_from=frozenset()) if view.excluded_from else view, former_topics)
    current = programs.get(enrollment.track) if enrollment is not None else None
    answers = [find_entry(view, entries, policy, now, above=current) for entries in audiences]
    return KnownLead(
        view.lead.id,
        current.track if current is not None else "",
        tuple(one.program.track for one in answers if one.program is not None),
        earliest([one.change_at for one in answers]),
    )


def _may_enter(row: SnapshotRow, audiences: Collection[Entries], programs: Mapping[str, Program]) -> bool:
    above, is_customer = programs.get(row.track) if row.enrollment_id else None, row.customer_since is not None
    return any(one.may_take(row.fields, above, is_customer=is_customer) for one in audiences)
