"""Check what may be sent: before a message is claimed, and again right before the call."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from nurture.db.transaction import Transaction
from nurture.domain.consent.suppression import ActiveSuppression, find_covering
from nurture.domain.delivery import sending_limits
from nurture.domain.delivery.sending_limits import SendingLimits, SendingRules
from nurture.domain.planning.calendar import Holidays
from nurture.domain.planning.program import Program
from nurture.domain.planning.touch_planning import earliest_send_time
from nurture.errors import NurtureError
from nurture.journey.delivery import volume_queries as sent_mail
from nurture.journey.leads import suppression_queries
from nurture.journey.leads.transitions import RETRY_AFTER_ERROR
from nurture.outbox import circuit_breakers, messages
from nurture.outbox.circuit_breakers import Breaker
from nurture.outbox.messages import TO_LEAD, DeliveryResult, DueMessage
from nurture.runtime.context import AppContext
from nurture.runtime.published import PublishedDefinitions
from nurture.runtime.redact import redact

RECHECK_AFTER: Final = timedelta(minutes=15)
"""When to check messages again whose sender domain is paused until a person resumes it."""


@dataclass
class SendDecision:
    """Which messages may go now, the results of the others, and the sender domain of each touch."""

    ready: list[DueMessage] = field(default_factory=list)
    held_back: list[DeliveryResult] = field(default_factory=list)
    sender_domains: dict[int, str] = field(default_factory=dict)


def check_before_send(
    ctx: AppContext,
    tx: Transaction,
    due_messages: Sequence[DueMessage],
    open_breakers: Sequence[Breaker],
    now: datetime,
) -> SendDecision:
    """Check everything that may have changed since the messages were planned."""
    touches = [one for one in due_messages if one.recipient == TO_LEAD]
    suppressed = _load_suppressions(tx, touches)
    programs = _load_programs(ctx.definitions, tx, touches)
    sent_times = _load_sent_times(tx, touches, programs, now)
    decision = SendDecision()
    touches_by_domain: dict[str, list[DueMessage]] = defaultdict(list)
    for one in due_messages:
        outcome = _withdraw(ctx, one, now)
        if outcome is None and one.recipient == TO_LEAD:
            program = programs[one.track, one.track_version]
            outcome = _check_touch(
                ctx.holidays, one, program, suppressed.get(one.address_id or 0, ()), sent_times[one.lead_id], now
            )
            if outcome is None and isinstance(program, Program):
                sent_times[one.lead_id].append(now)
                domain = sender_domain(program)
                touches_by_domain[domain].append(one)
                decision.sender_domains[one.id] = domain
                continue
        if outcome is None:
            decision.ready.append(one)
        else:
            decision.held_back.append(outcome)
    _apply_domain_limits(ctx.definitions, tx, touches_by_domain, open_breakers, decision, now)
    return decision


def _withdraw(ctx: AppContext, message: DueMessage, now: datetime) -> DeliveryResult | None:
    """Return the result of a message that its kind withdraws, else None."""
    kind = ctx.message_kinds.get(message.kind)
    if kind is None:
        reason = f"error: this version has no message kind {message.kind}; run the version that planned the message"
        return hold_until(message, reason, now + RECHECK_AFTER)
    reason = kind.withdrawal_reason(message)
    return cancel(message, reason) if reason else None


def recheck_send_windows(
    ctx: AppContext, tx: Transaction, touches: Sequence[DueMessage], now: datetime
) -> dict[int, DeliveryResult]:
    """Return the results of touches whose send window closed or whose grace period ended since the claim."""
    programs = _load_programs(ctx.definitions, tx, touches)
    closed = {}
    for one in touches:
        program = programs[one.track, one.track_version]
        if now > one.expires_at:
            closed[one.id] = cancel(one, "too_late")
        elif (
            isinstance(program, Program)
            and (later := _earliest_send_time(ctx.holidays, one, program, (), now)) is not None
        ):
            closed[one.id] = _hold_or_cancel(one, "held for its send window", later)
    return closed


def recheck_suppressions(ctx: AppContext, tx: Transaction, touches: Sequence[DueMessage]) -> dict[int, DeliveryResult]:
    """Return the touches whose lead has opted out since the claim, as cancelled."""
    suppressed = _load_suppressions(tx, touches)
    if not suppressed:
        return {}
    programs = _load_programs(ctx.definitions, tx, touches)
    cancelled = {}
    for one in touches:
        program = programs[one.track, one.track_version]
        topic = program.topic if isinstance(program, Program) else ""
        reason = _suppression_reason(one, suppressed.get(one.address_id or 0, ()), topic)
        if reason is not None:
            cancelled[one.id] = cancel(one, reason)
    return cancelled


def sender_domain(program: Program) -> str:
    """Return the domain whose sender reputation this track's mail affects."""
    return sending_limits.normalize_domain(program.sender.email.rpartition("@")[2])


def cancel(message: DueMessage, reason: str) -> DeliveryResult:
    """Return the result of a message that will never be sent."""
    return DeliveryResult(message.id, "cancelled", reason)


def hold_until(message: DueMessage, reason: str, until: datetime) -> DeliveryResult:
    """Return the result of a message that is checked again at *until* (UTC)."""
    return DeliveryResult(message.id, "planned", reason, until)


def defer_until(message: DueMessage, reason: str, until: datetime, now: datetime) -> DeliveryResult:
    """Return the result of a message deferred to *until* (UTC) by a limit; its grace period grows by the same time."""
    return DeliveryResult(message.id, "planned", reason, until, message.expires_at + (until - now))


Suppressions = Mapping[int, Sequence[ActiveSuppression]]
"""The active suppressions of each address, by its id."""


def _load_suppressions(tx: Transaction, touches: Sequence[DueMessage]) -> Suppressions:
    addresses = [one.address_id for one in touches if one.address_id is not None]
    return suppression_queries.load_suppressions(tx, addresses)


Programs = Mapping[tuple[str | None, int | None], Program | str]
"""The program of each track version, or the error that prevents reading it."""


def _load_programs(definitions: PublishedDefinitions, tx: Transaction, touches: Sequence[DueMessage]) -> Programs:
    found: dict[tuple[str | None, int | None], Program | str] = {}
    for one in touches:
        key = (one.track, one.track_version)
        if key not in found:
            try:
                found[key] = definitions.program(tx, one.track or "", one.track_version or 0)
            except NurtureError as error:
                found[key] = str(error)
    return found


def _load_sent_times(
    tx: Transaction, touches: Sequence[DueMessage], programs: Programs, now: datetime
) -> dict[int, list[datetime]]:
    """Return when each lead received touches, as far back as the longest cap or touch interval."""
    known = [program for program in programs.values() if isinstance(program, Program)]
    paces = (timedelta(days=one.touch_interval_days or 0) for one in touches)
    lookback = max((*(program.cap.per for program in known), *paces), default=timedelta())
    sent_times: dict[int, list[datetime]] = defaultdict(list)
    leads = [one.lead_id for one in touches]
    for lead_id, at in messages.list_touches_since(tx, leads, now - lookback):
        sent_times[lead_id].append(at)
    return sent_times


def _check_touch(
    holidays: Holidays,
    message: DueMessage,
    program: Program | str,
    suppressed: Sequence[ActiveSuppression],
    sent_times: Sequence[datetime],
    now: datetime,
) -> DeliveryResult | None:
    """Return the result if this touch may not go now, else None."""
    if not message.consent_basis or message.address is None:
        return cancel(message, "no consent basis or no address")
    if now > message.expires_at:
        return cancel(message, "too_late")
    if isinstance(program, str):
        return hold_until(message, f"error: {program}", now + RETRY_AFTER_ERROR)
    reason = _suppression_reason(message, suppressed, program.topic)
    if reason is not None:
        return cancel(message, reason)
    try:
        send_at = _earliest_send_time(holidays, message, program, sent_times, now)
    except Exception as error:  # noqa: BLE001 - recorded on the message, and tried again until its grace period ends
        return hold_until(message, f"error: {redact(error, message.fields, message.address)}", now + RETRY_AFTER_ERROR)
    if send_at is None:
        return None
    return _hold_or_cancel(message, "held for its send window or the frequency cap", send_at)


def _hold_or_cancel(message: DueMessage, reason: str, until: datetime) -> DeliveryResult:
    return hold_until(message, reason, until) if until <= message.expires_at else cancel(message, "too_late")


def _suppression_reason(message: DueMessage, suppressed: Sequence[ActiveSuppression], topic: str) -> str | None:
    suppression = find_covering(suppressed, message.track or "", topic)
    return None if suppression is None else f"suppressed: {suppression.source.value}"


def _earliest_send_time(
    holidays: Holidays, message: DueMessage, program: Program, sent_times: Sequence[datetime], now: datetime
) -> datetime | None:
    """Return when pause, touch interval, cap and send window allow the touch, or None if they do now."""
    send_at, _ = earliest_send_time(
        program,
        max(now, message.paused_until or now),
        zone=message.zone,
        holidays=holidays(message.country, now),
        sent=sent_times,
        touch_interval=timedelta(days=message.touch_interval_days) if message.touch_interval_days else None,
    )
    return send_at if send_at > now else None


def _apply_domain_limits(
    definitions: PublishedDefinitions,
    tx: Transaction,
    touches_by_domain: Mapping[str, Sequence[DueMessage]],
    open_breakers: Sequence[Breaker],
    decision: SendDecision,
    now: datetime,
) -> None:
    """Keep the touches whose sender domain is not paused and within its hourly and daily limits."""
    if not touches_by_domain:
        return
    rules = definitions.current(tx).sending
    pauses = {pause.name: pause for pause in open_breakers if pause.kind == "domain"}
    active_pauses = {name: pause for name, pause in pauses.items() if pause.until is None or pause.until > now}
    for name in (pauses.keys() - active_pauses.keys()) & touches_by_domain.keys():
        circuit_breakers.release(tx, "domain", name, "the pause expired", now)
    active_pauses |= _pause_unhealthy_domains(
        tx, [domain for domain in touches_by_domain if domain not in active_pauses], rules, now
    )
    for domain in active_pauses.keys() & touches_by_domain.keys():
        pause = active_pauses[domain]
        until = max(pause.until or now, now + RECHECK_AFTER)
        reason = f"held: mail from {domain} is paused: {pause.reason}"
        decision.held_back += [_hold_or_cancel(one, reason, until) for one in touches_by_domain[domain]]
    sendable = {domain: touches for domain, touches in touches_by_domain.items() if domain not in active_pauses}
    limited = [domain for domain in sendable if _is_limited(rules.for_domain(domain))]
    sent_counts = sent_mail.count_sent_locked(tx, limited, now)
    for domain, touches in sendable.items():
        if domain not in sent_counts:
            decision.ready += touches
            continue
        limits, sent_count = rules.for_domain(domain), sent_counts[domain]
        remaining = sending_limits.remaining_capacity(limits, sent_count.this_hour, sent_count.today, now)
        counts = Counter[str]()
        for one in touches:
            if remaining is None or remaining > counts["gone"]:
                counts["gone"] += 1
                decision.ready.append(one)
            else:
                send_at = sending_limits.next_slot(limits, sent_count.this_hour, sent_count.today, counts["waits"], now)
                counts["waits"] += 1
                reason = f"held: {domain} has reached its sending limit; see templates/sending.yaml"
                decision.held_back.append(defer_until(one, reason, send_at, now))


def _is_limited(limits: SendingLimits) -> bool:
    return (limits.per_hour, limits.per_day, limits.warm_up) != (None, None, None)


def _pause_unhealthy_domains(
    tx: Transaction, domains: Sequence[str], rules: SendingRules, now: datetime
) -> dict[str, Breaker]:
    """Pause each domain whose newest mail bounced, or was reported as spam, too often."""
    found = {}
    sample_sizes = {domain: rules.for_domain(domain).sample_size for domain in domains}
    for domain, stats in sent_mail.load_delivery_stats(tx, sample_sizes).items():
        reason = sending_limits.sending_pause_reason(
            rules.for_domain(domain), stats.sent, stats.bounced, stats.complained
        )
        if reason is not None:
            found[domain] = Breaker("domain", domain, reason, now, None)
            circuit_breakers.trip(tx, found[domain])
    return found
