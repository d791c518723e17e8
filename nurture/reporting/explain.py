"""The explanation of one lead: where it is, what holds it, and its history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Final

from nurture.db import locks
from nurture.db.transaction import Transaction
from nurture.domain.consent.permission import NO_BASIS, MailPermission, may_mail
from nurture.domain.lead import Custodian, FieldValues, Lead, Queue, describe_custody, full_name, is_parked
from nurture.domain.scoring.bant import BANT_FIELDS, TIMELINE, BantValue, find_bant_value
from nurture.errors import NotFound
from nurture.formats.lead_row import UNCLEAR_CONSENT
from nurture.formats.places import name_countries
from nurture.journey.leads import consent_queries, history_queries, snapshot, suppression_queries
from nurture.journey.leads.history_queries import HistoryEvent, LeadRecord
from nurture.journey.leads.snapshot import SnapshotRow
from nurture.reporting.leads import load_fit, load_points
from nurture.runtime.context import AppContext

if TYPE_CHECKING:
    from nurture.domain.policy.business_hours import EscalationStep


_MAX_NOTES: Final = 5
"""Of how many hand-offs the notes of reps are shown."""


@dataclass(frozen=True, slots=True)
class CurrentEnrollment:
    """The lead's position on its track."""

    id: int
    track: str
    step: str
    visit: int
    entered_at: datetime
    anchor_at: datetime
    reached_at: datetime


@dataclass(frozen=True, slots=True)
class HoldStatus:
    """What the planner decides now. *guard* is the name of the guard that holds the lead, "" if none does.

    *skipped_guard* is the guard that would hold a lead whose request has precedence.
    """

    guard: str
    reason: str
    until: datetime | None
    skipped_guard: str = ""


@dataclass(frozen=True, slots=True)
class LeadExplanation:
    """Everything that explains the state of one lead at *at*."""

    at: datetime
    lead_id: int
    name: str
    company: str
    source: str
    custodian: str
    ref: str
    owner: str
    since: datetime | None
    next_action: str
    due_at: datetime | None
    readiness: str
    first_contact_at: datetime
    zone: str
    """The time zone of the lead, "" if it is unknown."""
    enrollment: CurrentEnrollment | None
    suspended: tuple[str, ...]
    """The tracks that others interrupted, each with its step and the day; the last one continues first."""
    hold: HoldStatus
    engagement: float
    fit: str
    """The fit letter; "" if the policy has no fit rules."""
    fit_reason: str
    bant: Mapping[str, str]
    """Known budget, authority and need: value, source, date and confidence."""
    decides_on: date | None
    decides_stated_at: datetime | None
    call_on: date | None
    """The day on which the lead asked to be called."""
    consent_basis: str | None
    consent: str
    """What the consent history and the suppressions of its address mean: whether it may be mailed, and why."""
    suppressions: tuple[str, ...]
    """Suppressions of its address: scope and source."""
    paused_until: datetime | None
    touch_interval_days: int | None
    """The lead asked for at most one touch in this many days."""
    history: tuple[HistoryEvent, ...]
    notes: tuple[str, ...] = ()
    """What reps wrote when they gave it back, the newest first."""
    escalation_steps: tuple[EscalationStep, ...] = ()
    """What happens if its rep does not answer, or does not follow up."""


def explain(ctx: AppContext, lead_id: int, now: datetime) -> LeadExplanation:
    """Explain a lead at *now* (UTC), without writing. Raises NotFound for an unknown id."""
    with ctx.database.read() as tx:
        locks.use_snapshot(tx)
        record = history_queries.find_lead_record(tx, lead_id)
        if record is None:
            raise NotFound(f"There is no lead {lead_id}. List leads with `nurture leads list`.")
        rows = snapshot.load_rows(tx, [lead_id], lock=False)
        addresses = [record.address_id] if record.address_id is not None else []
        suppressions = suppression_queries.load_suppressions(tx, addresses).get(record.address_id or 0, ())
        statements = consent_queries.load_statements(tx, addresses).get(record.address_id or 0, ())
        hold = _hold_status(ctx, tx, rows[0], now) if rows else _NO_CUSTODIAN
        fit, fit_reason = load_fit(ctx, tx, record)
        name_codes = _code_namer(ctx, tx)
        return LeadExplanation(
            at=now,
            lead_id=lead_id,
            name=full_name(record.fields),
            company=str(record.fields.get("company") or ""),
            source=record.source,
            custodian=record.kind or "nobody",
            ref=record.ref or "",
            owner=_describe_owner(record),
            since=record.since,
            next_action=name_codes(record.next_action or ""),
            due_at=record.due_at,
            readiness=name_codes(record.readiness),
            first_contact_at=record.first_contact_at,
            zone=record.zone,
            enrollment=_current_enrollment(rows[0]) if rows else None,
            suspended=tuple(
                f"{one.enrollment.track}, step {one.enrollment.position.step}, interrupted on {one.left_at.date()}"
                for one in snapshot.load_past_stays(tx, [lead_id]).get(lead_id, ())
                if not one.enrollment.ended
            ),
            hold=replace(hold, reason=name_codes(hold.reason)),
            engagement=record.score_at(load_points(ctx, tx), now),
            fit=fit,
            fit_reason=name_codes(fit_reason),
            bant=_describe_bant(record.fields),
            decides_on=record.decides_on,
            decides_stated_at=record.decides_stated_at,
            call_on=record.call_on,
            consent_basis=record.consent_basis,
            consent=_describe_consent(may_mail(statements, suppressions, None, now), record),
            suppressions=tuple(f"{one.scope} {one.ref}".rstrip() + f": {one.source}" for one in suppressions),
            paused_until=record.paused_until if record.paused_until and record.paused_until > now else None,
            touch_interval_days=record.touch_interval_days,
            history=tuple(
                replace(one, reason=name_codes(one.reason))
                for one in history_queries.load_history(tx, lead_id, record.address_id)
            ),
            notes=_rep_notes(tx, lead_id),
            escalation_steps=_remaining_steps(ctx, tx, record),
        )


def _code_namer(ctx: AppContext, tx: Transaction) -> Callable[[str], str]:
    """Return what replaces names of rules by their labels, and codes of countries by their names."""
    from nurture.journey.handoff.why_now import name_rules  # noqa: PLC0415 - as below

    definitions = ctx.definitions.find_current(tx)
    if definitions is None:
        return name_countries
    return lambda reason: name_countries(name_rules(reason, definitions.policy))


def _rep_notes(tx: Transaction, lead_id: int) -> tuple[str, ...]:
    from nurture.journey.handoff.lead_profile_queries import load_earlier_offers  # noqa: PLC0415 - as below

    ended = load_earlier_offers(tx, [lead_id], _MAX_NOTES).get(lead_id, ())
    return tuple(f"{one.note} ({one.rep}, {one.reason or one.state})" for one in ended if one.note)


def _remaining_steps(ctx: AppContext, tx: Transaction, record: LeadRecord) -> tuple[EscalationStep, ...]:
    """Return the escalation steps that are still ahead of an open offer or an accepted lead."""
    if record.kind not in (Custodian.OFFER, Custodian.REP):
        return ()
    # Only a lead that sales has needs them.
    from nurture.journey.handoff import queries as handoff_queries  # noqa: PLC0415
    from nurture.journey.handoff.escalation import current_escalation  # noqa: PLC0415

    is_open = record.kind == Custodian.OFFER
    load = handoff_queries.load_open_offers if is_open else handoff_queries.load_accepted_offers
    one = load(tx, [record.id]).get(record.id)
    if one is None or not (is_open or one.rep == record.ref):
        return ()
    steps = current_escalation(ctx.definitions.current(tx).policy, ctx.holidays, one)
    return tuple(step for step in steps if step.level is None or step.level > one.escalation_level)


def _describe_consent(permission: MailPermission, record: LeadRecord) -> str:
    if record.address_id is None:
        return "no email address is known"
    unclear = record.fields.get(UNCLEAR_CONSENT) if permission.reason == NO_BASIS else None
    said = f"; its record says {str(unclear)[:60]!r}, which is no clear yes to email" if unclear else ""
    return f"{'may be' if permission.allowed else 'is not'} mailed: {permission.reason}{said}"


_NO_CUSTODIAN: Final = HoldStatus(
    "no_custodian", "the lead has no custodian; `nurture reports audit` lists all such leads", None
)


def _describe_bant(fields: FieldValues) -> dict[str, str]:
    found = {field: find_bant_value(field, Lead(0, fields)) for field in BANT_FIELDS if field != TIMELINE}
    return {field: _describe_answer(one) for field, one in found.items() if one is not None}


def _describe_answer(answer: BantValue) -> str:
    if not answer.source:
        return f"{answer.value} (imported with the lead)"
    return f"{answer.value} ({answer.confidence.name.lower()} by {answer.source} on {answer.stated_on})"


def _current_enrollment(row: SnapshotRow) -> CurrentEnrollment | None:
    if row.enrollment_id is None:
        return None
    return CurrentEnrollment(
        row.enrollment_id, row.track, row.step, row.visit, row.entered_at, row.anchor_at, row.reached_at
    )


def _describe_owner(record: LeadRecord) -> str:
    match record.kind:
        case Custodian.TRACK:
            return f"marketing, by track {record.ref}"
        case Custodian.QUEUE if record.ref == Queue.HAND_OFF:
            return "marketing, until a rep has capacity"
        case Custodian.QUEUE:
            return f"the team of the queue {record.ref}"
        case Custodian.OFFER:
            return f"marketing, while hand-off {record.ref} is open"
        case Custodian.REP:
            return f"rep {record.ref}"
        case Custodian.RESTING if record.due_at is not None:
            return f"nobody: resting until {record.due_at.day} {record.due_at:%B %Y}: {record.ref}"
        case Custodian.CLOSED:
            return f"nobody: closed as {record.ref}"
        case Custodian.INTAKE:
            return "marketing, at intake"
        case _:
            return "nobody"


def _hold_status(ctx: AppContext, tx: Transaction, row: SnapshotRow, now: datetime) -> HoldStatus:
    """Return what the planner would decide in the next sweep, with the guard that holds the lead."""
    is_off_track = row.kind == Custodian.RESTING or (row.kind == Custodian.QUEUE and is_parked(row.ref))
    if row.enrollment_id is None and not is_off_track:
        return HoldStatus(*_off_track_reason(row), None)
    try:
        definitions = ctx.definitions.current(tx)
    except NotFound as error:
        return HoldStatus("error", str(error), None)
    program = None if is_off_track else definitions.programs.get(row.track)
    if program is None and not is_off_track:
        return HoldStatus("error", f"track {row.track} is not published; run `nurture publish`", None)
    # Only a lead on a published track needs the planner.
    from nurture.domain.planning.guards import requested  # noqa: PLC0415
    from nurture.domain.planning.planner import GUARDS, DecisionContext, HoldReason, decide  # noqa: PLC0415
    from nurture.journey.tracks.advance import load_for_planner  # noqa: PLC0415

    view = load_for_planner(ctx, tx, definitions, [row], now)[0].view
    try:
        decision = decide(view, program, definitions.entries, definitions.policy, now)
    except Exception as error:  # noqa: BLE001 - the sweep holds such a lead too; here the error is shown
        return HoldStatus("error", f"{type(error).__name__}: {error}", None)
    context = DecisionContext(view, program, definitions.policy, now)
    holding_guards = (one.__name__ for one in GUARDS if one(context) is not None)
    guard = next(holding_guards, "")
    if decision.hold is not None and (not guard or decision.hold is HoldReason.CLICK_GRACE):
        guard = decision.hold.value
    elif guard == requested.__name__:
        return HoldStatus("", decision.reason, decision.wake_at, next(holding_guards, ""))
    return HoldStatus(guard, decision.reason, decision.wake_at)


def _off_track_reason(row: SnapshotRow) -> tuple[str, str]:
    kind = Custodian(row.kind)
    if kind is Custodian.CLOSED:
        return "closed", f"closed as {row.ref}"
    is_with_sales = kind in (Custodian.OFFER, Custodian.REP) or row.ref == Queue.HAND_OFF
    return "with_sales" if is_with_sales else kind.value, describe_custody(kind, row.ref)


_HOLD_NAMES: Final = {
    "not_due": "its step",
    "waiting": "its step",
    "send_window": "the send window",
    "frequency_cap": "a cap",
    "in_flight": "an email on its way",
    "click_grace": "a click that is being checked",
    "reps_full": "full reps",
    "with_sales": "sales",
    "stopped": "a stop",
    "paused": "a pause",
    "not_permitted": "missing permission",
}
"""What holds a lead, in words, by guard."""


def describe_hold(hold: HoldStatus) -> str:
    """Return in one sentence what the lead waits for, and why."""
    if hold.guard:
        return f"{_HOLD_NAMES.get(hold.guard, hold.guard.replace('_', ' '))}: {hold.reason}"
    precedence = f"a request has precedence over {hold.skipped_guard}" if hold.skipped_guard else "nothing holds it"
    return f"{precedence}: {hold.reason}"


def summary(explanation: LeadExplanation) -> list[tuple[str, object]]:
    """Return the non-empty (name, value) pairs to show above the history, in display order."""
    enrollment, hold = explanation.enrollment, explanation.hold
    where = f"{enrollment.track}, step {enrollment.step}" if enrollment is not None else ""
    if enrollment is not None and enrollment.visit > 1:
        where += f", round {enrollment.visit}"
    is_due = explanation.due_at is not None and explanation.due_at <= explanation.at
    waits_for_run = is_due and explanation.custodian == Custodian.TRACK
    lines: list[tuple[str, object]] = [
        ("company", explanation.company),
        ("source", explanation.source),
        ("owner", explanation.owner),
        ("since", explanation.since),
        ("next", "it is due: the next run decides" if waits_for_run else explanation.next_action),
        ("due", explanation.due_at),
        ("escalation", ", ".join(map(_describe_step, explanation.escalation_steps))),
        ("noted", "; ".join(explanation.notes)),
        ("on track", where),
        ("entered", enrollment.entered_at if enrollment is not None else None),
        ("goes back to", "; ".join(explanation.suspended)),
        ("held by" if hold.guard else "now", describe_hold(hold)),
        ("score", explanation.engagement),
        ("fit", f"{explanation.fit}: {explanation.fit_reason}" if explanation.fit else ""),
        *explanation.bant.items(),
        ("decides on", explanation.decides_on),
        ("stated on", explanation.decides_stated_at),
        ("call back on", explanation.call_on),
        ("readiness", explanation.readiness),
        ("consent", explanation.consent),
        ("suppressed", "; ".join(explanation.suppressions)),
        ("paused until", explanation.paused_until),
        (
            "frequency",
            f"one email in {explanation.touch_interval_days} days at most" if explanation.touch_interval_days else "",
        ),
        ("first contact", explanation.first_contact_at),
    ]
    return [(name, value) for name, value in lines if value not in ("", None)]


def _describe_step(step: EscalationStep) -> str:
    return f"{step.action.replace('_', ' ')} on {step.due_at:%Y-%m-%d %H:%M} UTC"
