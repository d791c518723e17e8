"""Record signals once each, apply their effects, and wake the lead."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Final

from sqlalchemy.exc import DBAPIError

from nurture.db.errors import is_transaction_conflict
from nurture.db.transaction import Transaction
from nurture.domain.consent.suppression import source_for_signal
from nurture.domain.lead import Custodian
from nurture.domain.plain_text import index_key
from nurture.domain.scoring import scoring as scoring_scoring
from nurture.domain.scoring.scoring import Points
from nurture.domain.signals import SUPPRESSING_KINDS, Signal, SignalKind, SignalVerdict
from nurture.errors import InvalidState
from nurture.journey.consent import suppression
from nurture.journey.consent.suppression import OptOut
from nurture.journey.engagement import click_filtering
from nurture.journey.engagement.click_filtering import EngagementEvent
from nurture.journey.handoff import follow_up
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import signal_queries, snapshot, suppression_queries
from nurture.journey.leads.custody import lock_existing_leads
from nurture.journey.leads.signal_queries import NewSignal, TouchRef, UnappliedSignal
from nurture.journey.leads.transitions import LeadTransitions
from nurture.journey.scoring import queries as scoring_queries
from nurture.journey.scoring import rescore
from nurture.journey.scoring.queries import EngagementUpdate, TimelineUpdate
from nurture.runtime import publication_queries
from nurture.runtime.batches import drain
from nurture.runtime.context import AppContext

REENGAGING_KINDS: Final = frozenset(
    {
        SignalKind.REGISTERED,
        SignalKind.ATTENDED,
        SignalKind.SUBMITTED,
        SignalKind.REQUESTED_DEMO,
        SignalKind.REPLIED,
        SignalKind.DECIDING,
    }
)
"""Kinds that return a closed lead to intake."""


def record(ctx: AppContext, signals: Sequence[NewSignal], now: datetime, clicks: Sequence[EngagementEvent] = ()) -> int:
    """Store signals and apply them at once; return how many were new.

    Each natural key counts once. *signals* are trusted; *clicks*, which include opens, are classified first.
    Nothing is recorded of an erased lead.
    """
    with ctx.database.write() as tx:
        new = _record(tx, signals, now) + click_filtering.record_clicks(tx, clicks, now)
    if new:
        apply_pending_signals(ctx, now)
    return new


def _record(tx: Transaction, signals: Sequence[NewSignal], now: datetime) -> int:
    remaining_leads = lock_existing_leads(tx, [one.lead_id for one in signals])
    signals = [one for one in signals if one.lead_id in remaining_leads]
    # At once, not when definitions are next read: no mail may go out in between.
    _record_opt_outs(tx, signals, now)
    return signal_queries.record_signals(tx, signals)


def record_valid(tx: Transaction, signals: Sequence[NewSignal], now: datetime) -> tuple[int, list[int]]:
    """Store signals, but skip those that the database rejects; return how many were new, and the skipped positions.

    The caller applies them.
    """
    if not signals:
        return 0, []
    try:
        with tx.savepoint():
            return _record(tx, signals, now), []
    except DBAPIError as error:
        if is_transaction_conflict(error):
            raise
    new, rejected = 0, []
    for index, one in enumerate(signals):
        try:
            with tx.savepoint():
                new += _record(tx, [one], now)
        except DBAPIError:
            rejected.append(index)
    return new, rejected


def apply_if_published(ctx: AppContext, now: datetime) -> None:
    """Apply recorded signals if a policy is published; otherwise the first run after publication does."""
    with ctx.database.read() as tx:
        ready = any(row.kind == publication_queries.POLICY for row in publication_queries.load_versions_in_force(tx))
    if ready:
        apply_pending_signals(ctx, now)


def apply_pending_signals(ctx: AppContext, now: datetime) -> int:
    """Apply recorded signals until none is left; return how many were applied.

    Verdicts and scores are brought up to date with the policy first.
    """
    click_filtering.reclassify(ctx, now)
    rescore.rescore(ctx, now)
    return sum(drain(lambda: apply_signals_batch(ctx, now, ctx.batch_size), lambda done: done >= ctx.batch_size))


def apply_signals_batch(ctx: AppContext, now: datetime, limit: int) -> int:
    """Apply at most *limit* signals in one transaction."""
    with ctx.database.write() as tx:
        signals = signal_queries.lock_unapplied(tx, limit)
        if not signals:
            return 0
        definitions = ctx.definitions.current(tx)
        by_lead: dict[int, list[UnappliedSignal]] = defaultdict(list)
        for one in signals:
            by_lead[one.lead_id].append(one)
        scores = [_to_score(of_lead, definitions.policy.points) for of_lead in by_lead.values()]
        scoring_queries.write_engagement(tx, [one for one in scores if one is not None], now)
        timelines = [_to_timeline(of_lead) for of_lead in by_lead.values()]
        scoring_queries.write_timelines(tx, [one for one in timelines if one is not None])
        suppression.opt_out(tx, list(_to_opt_outs(signals)), now)
        signal_queries.make_due(tx, list(by_lead), now, include_parked=True)
        requesting = [one.lead_id for one in signals if one.kind in definitions.policy.request_signals]
        signal_queries.make_decisions_due(tx, requesting, now)
        replies = [one for one in signals if one.kind == SignalKind.REPLIED]
        follow_up.record_replies(ctx, tx, replies, now)
        reengaging = REENGAGING_KINDS | definitions.policy.request_signals
        lead_ids = [one.lead_id for one in signals if SignalKind(one.kind) in reengaging]
        _return_to_intake(ctx, tx, lead_ids, LeadTransitions(definitions, now, "signals"))
        signal_queries.mark_applied(tx, signals, now)
    return len(signals)


def _since_last_answer(signals: Sequence[UnappliedSignal]) -> list[UnappliedSignal]:
    """Return the signals since a rep last answered."""
    since = signals[0].signals_since
    return [one for one in signals if since is None or one.occurred_at >= since]


def _to_score(signals: Sequence[UnappliedSignal], points: Points) -> EngagementUpdate | None:
    """Return the change of the stored scores, or None if they use other points and must be computed anew."""
    first = signals[0]
    if first.points_key not in (None, points.key):
        return None
    sums = first.engagement, first.engagement_2, first.engagement_3, first.engagement_4
    engagement = scoring_scoring.add_signals(
        snapshot.stored_engagement(sums, first.engagement_at, first.points_key),
        points,
        [
            Signal(SignalKind(one.kind), one.occurred_at, SignalVerdict(one.verdict))
            for one in _since_last_answer(signals)
        ],
    )
    return EngagementUpdate.from_engagement(first.lead_id, engagement)


def _to_timeline(signals: Sequence[UnappliedSignal]) -> TimelineUpdate | None:
    """Return when the lead decides, None if it said nothing newer than what is stored."""
    found, newest = None, signals[0].decides_stated_at
    for one in sorted(_since_last_answer(signals), key=lambda one: (one.occurred_at, one.id)):
        day = _parse_date(one.value) if one.kind == SignalKind.DECIDING else None
        if day is not None and (newest is None or one.occurred_at >= newest):
            found, newest = TimelineUpdate(one.lead_id, day, one.occurred_at), one.occurred_at
    return found


def _parse_date(value: str | None) -> date | None:
    """Return a stated date, or None if it is invalid, so that one bad value does not block other signals."""
    try:
        return date.fromisoformat(value or "")
    except ValueError:
        return None


def _record_opt_outs(tx: Transaction, signals: Sequence[NewSignal], now: datetime) -> None:
    """Log opt-outs among incoming signals. A repeat counts only if the lead opted in since."""
    opt_out_signals = [one for one in signals if SignalKind(one.kind) in SUPPRESSING_KINDS]
    if not opt_out_signals:
        return
    known = signal_queries.find_existing_keys(tx, [one.natural_key for one in opt_out_signals])
    addresses = suppression_queries.load_address_ids(tx, [one.lead_id for one in opt_out_signals])
    opt_outs = [
        _to_opt_out(one, addresses[one.lead_id])._replace(repeated=one.natural_key in known)
        for one in opt_out_signals
        if one.lead_id in addresses
    ]
    suppression.opt_out(tx, opt_outs, now)


def _to_opt_outs(signals: Iterable[UnappliedSignal]) -> Iterable[OptOut]:
    for one in signals:
        if SignalKind(one.kind) in SUPPRESSING_KINDS and one.address_id is not None:
            yield _to_opt_out(one, one.address_id)


def _to_opt_out(signal: NewSignal | UnappliedSignal, address_id: int) -> OptOut:
    source = source_for_signal(SignalKind(signal.kind), signal.source, signal.value)
    return OptOut(address_id, source, at=signal.occurred_at, evidence=signal.verdict_reason or None)


def _return_to_intake(ctx: AppContext, tx: Transaction, lead_ids: Sequence[int], transitions: LeadTransitions) -> None:
    """Return closed leads that show new interest to intake, to be classified again."""
    returning = signal_queries.find_reactivatable(tx, lead_ids) if lead_ids else []
    if not returning:
        return
    leads_queries.reset_accepted_engagement(tx, returning)
    rows = snapshot.load_rows(tx, returning)
    for lead in snapshot.load_snapshots(ctx, tx, transitions.definitions, rows, transitions.now):
        moved = transitions.set_custody(lead, Custodian.INTAKE, "return", "classify", transitions.now)
        transitions.add_journal_entry(lead, "returned", "new interest after the lead was closed", moved, ref="return")
    transitions.changes.write(tx, transitions.now)


def validate_signal(kind: str, value: str | None) -> tuple[SignalKind, str | None]:
    """Return a signal's kind and value as stored. Raises InvalidState with the valid kinds."""
    try:
        found = SignalKind(kind)
    except ValueError:
        known = ", ".join(one.value for one in SignalKind)
        raise InvalidState(f"Unknown signal kind {kind!r}.", f"Known: {known}.") from None
    if found is not SignalKind.DECIDING:
        return found, value
    try:
        return found, date.fromisoformat(value or "").isoformat()
    except ValueError:
        raise InvalidState(f"Invalid decision date {value!r}.", "Write it as 2027-03-31.") from None


def build_reported_signal(
    lead_id: int,
    kind: SignalKind,
    value: str | None,
    at: datetime,
    now: datetime,
    email: str | None = None,
    link: str | None = None,
    touch: TouchRef | None = None,
) -> NewSignal:
    """Return a signal reported by a person or a file; equal content in the same second is one signal.

    *touch* is the touch of *email* that the lead answered, for conditions on it.
    """
    second = at.replace(microsecond=0).isoformat()
    key = index_key("|".join(("reported", str(lead_id), kind.value, second, email or "", link or "", value or "")))
    enrollment_id, track, message_id = touch or TouchRef()
    return NewSignal(
        lead_id=lead_id,
        kind=kind.value,
        occurred_at=at,
        recorded_at=now,
        natural_key=key,
        source="reported",
        enrollment_id=enrollment_id,
        track=track,
        step=email,
        link=link,
        message_id=message_id,
        value=value,
    )


def find_answered_touch(ctx: AppContext, lead_id: int, email: str | None) -> TouchRef | None:
    """Return the lead's newest touch of the step *email*, or None."""
    if email is None:
        return None
    with ctx.database.read() as tx:
        return signal_queries.find_latest_touches(tx, [(lead_id, email)]).get((lead_id, email))
