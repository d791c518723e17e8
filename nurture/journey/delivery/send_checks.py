"""Check what may be sent: before a message is claimed, and again right before the call."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from nurture.db.transaction import Transaction
from nurture.domain.consent.permission import MailPermission, may_mail
from nurture.domain.consent.suppression import ActiveSuppression
from nurture.domain.delivery import sending_limits
from nurture.domain.delivery.sending_limits import SendingLimits, SendingRules
from nurture.domain.lead import Lead
from nurture.domain.planning.frequency_cap import CountedEmail
from nurture.domain.planning.program import Email, Program
from nurture.domain.planning.send_time import PAUSED, describe_move, earliest_send_time, name_cause
from nurture.domain.planning.touch_timing import DateLimits, find_date_limits
from nurture.errors import NurtureError
from nurture.journey.delivery import queries as sent_mail
from nurture.journey.delivery.hourly_ceilings import defer_beyond_ceilings
from nurture.journey.delivery.results import TOO_LATE, cancel, defer_until, hold_or_cancel, hold_until
from nurture.journey.delivery.stopped_mail import StoppedMail
from nurture.journey.leads import stop_queries, suppression_queries
from nurture.journey.leads.consent_queries import NO_HISTORIES, Histories, load_histories
from nurture.journey.leads.transitions import RETRY_AFTER_ERROR
from nurture.outbox import circuit_breakers, messages
from nurture.outbox.circuit_breakers import Breaker
from nurture.outbox.messages import BROADCAST, MARKETING, TO_LEAD, DeliveryResult, DueMessage
from nurture.runtime.context import AppContext
from nurture.runtime.published import PublishedDefinitions
from nurture.runtime.redact import redact

RECHECK_AFTER: Final = timedelta(minutes=15)
"""When to check messages again whose sender domain is paused until a person resumes it."""

_NO_LIMITS: Final = DateLimits()

Programs = Mapping[tuple[str | None, int | None], Program | str]
"""The program of each track version, or the error that prevents reading it."""


@dataclass
class SendDecision:
    """Which messages may go now, the results of the others, and the sender domain of each touch."""

    ready: list[DueMessage] = field(default_factory=list)
    held_back: list[DeliveryResult] = field(default_factory=list)
    sender_domains: dict[int, str] = field(default_factory=dict)
    histories: Histories = NO_HISTORIES
    """The consent of the addresses, for the last check."""


def check_before_send(
    ctx: AppContext,
    tx: Transaction,
    due_messages: Sequence[DueMessage],
    open_breakers: Sequence[Breaker],
    now: datetime,
) -> SendDecision:
    """Check everything that may have changed since the messages were planned.

    Of the mail of one lead, that of higher priority is checked first, so that a cap moves the other.
    """
    touches = [one for one in due_messages if one.recipient == TO_LEAD]
    histories = _load_histories(tx, touches)
    programs = _load_programs(ctx.definitions, tx, touches)
    counted, in_air = _load_counted_emails(tx, touches, programs, now)
    reviews = _review(ctx, tx, due_messages, now)
    stopped, ranks = StoppedMail(ctx.definitions, tx), _Ranks(ctx, programs)
    open_windows = _OpenWindows()
    leads = Counter(one.lead_id for one in touches)
    decision = SendDecision(histories=histories.consent)
    touches_by_domain: dict[str, list[DueMessage]] = defaultdict(list)
    for one in sorted(due_messages, key=ranks.of):
        outcome = _withdraw(ctx, one, now) or stopped.result(one, now) or reviews.get(one.id)
        if outcome is None and one.kind in MARKETING:
            outcome = in_air.hold(one, now)
        if outcome is None and one.recipient == TO_LEAD:
            program = programs[one.track, one.track_version]
            permission = _permission(ctx, one, program, histories, now)
            outcome = _check_touch(ctx, one, program, permission, counted.get(one.lead_id, ()), now, open_windows)
            if outcome is None and isinstance(program, Program):
                if permission.basis != one.consent_basis:  # the basis for this topic
                    one = one._replace(consent_basis=permission.basis)  # noqa: PLW2901
                if leads[one.lead_id] > 1:  # it counts for the next one
                    if not ctx.message_kinds[one.kind].asks_consent:
                        counted[one.lead_id].append(_count(one, program, now))
                    in_air.add(one)
                domain = sender_domain(program)
                touches_by_domain[domain].append(one)
                decision.sender_domains[one.id] = domain
                continue
        if outcome is None:
            decision.ready.append(one)
        else:
            decision.held_back.append(outcome)
    known = [one for one in programs.values() if isinstance(one, Program)]
    decision.held_back += defer_beyond_ceilings(ctx, tx, touches_by_domain, known, now)
    _apply_domain_limits(ctx.definitions, tx, touches_by_domain, open_breakers, decision, now)
    return decision


@dataclass
class _Ranks:
    """The places of messages among the due mail of their lead: by their kind, then by their track or broadcast."""

    ctx: AppContext
    programs: Programs
    _known: dict[tuple[str, str | None, int | None], tuple[int, int]] = field(default_factory=dict)

    def of(self, message: DueMessage) -> tuple[int, int]:
        key = message.kind, message.track, message.track_version
        found = self._known.get(key)
        if found is None:
            kind, program = self.ctx.message_kinds.get(message.kind), self.programs.get(key[1:])
            own = program.priority if isinstance(program, Program) else 0
            found = self._known[key] = -(kind.priority if kind is not None else 0), -own
        return found


def _count(message: DueMessage, program: Program, now: datetime) -> CountedEmail:
    return CountedEmail(now, program.track, program.topic_key) if message.kind in MARKETING else CountedEmail(now)


@dataclass
class _InAir:
    """The kinds of marketing emails on their way, by lead: a broadcast keeps RECHECK_AFTER from the other ones."""

    kinds: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, message: DueMessage) -> None:
        if message.kind in MARKETING:
            self.kinds[message.lead_id].add(message.kind)

    def hold(self, message: DueMessage, now: datetime) -> DeliveryResult | None:
        on_way = self.kinds.get(message.lead_id)
        if not on_way or BROADCAST not in {message.kind, *on_way}:
            return None
        until = min(now + RECHECK_AFTER, message.expires_at)
        reason = "held: another email to this lead is on its way"
        return hold_until(message, reason, until) if until > now else cancel(message, TOO_LATE)


def _review(
    ctx: AppContext, tx: Transaction, due_messages: Sequence[DueMessage], now: datetime
) -> dict[int, DeliveryResult]:
    """Return the results of the messages that their kinds cancel or hold after a look at their leads."""
    by_kind: dict[str, list[DueMessage]] = defaultdict(list)
    for one in due_messages:
        by_kind[one.kind].append(one)
    known = {one.id: one for one in due_messages}
    results = {}
    for name, batch in by_kind.items():
        kind = ctx.message_kinds.get(name)
        for id_, found in kind.review(ctx, tx, batch, now).items() if kind is not None else ():
            held = found.until is not None and hold_or_cancel(known[id_], f"held: {found.reason}", found.until, now)
            results[id_] = held or cancel(known[id_], found.reason)
    return results


def _withdraw(ctx: AppContext, message: DueMessage, now: datetime) -> DeliveryResult | None:
    """Return the result of a message that its kind withdraws, else None."""
    kind = ctx.message_kinds.get(message.kind)
    if kind is None:
        reason = f"error: this version has no message kind {message.kind}; run the version that planned the message"
        return hold_until(message, reason, now + RECHECK_AFTER)
    reason = kind.withdrawal_reason(message)
    if not reason and message.kind == BROADCAST and now > message.expires_at:
        reason = f"{TOO_LATE}: {'stopped' if message.held_by == stop_queries.STOP else 'not sent in time'}"
    return cancel(message, reason) if reason else None


def recheck_stops(
    ctx: AppContext, tx: Transaction, claimed: Sequence[DueMessage], now: datetime
) -> dict[int, DeliveryResult]:
    """Return the messages whose mail was stopped since the claim, as planned again, or whose track is over."""
    stopped = StoppedMail(ctx.definitions, tx)
    held = (stopped.result(one, now) for one in claimed)
    return {one.id: one for one in held if one is not None}


def recheck_send_windows(
    ctx: AppContext, tx: Transaction, touches: Sequence[DueMessage], now: datetime
) -> dict[int, DeliveryResult]:
    """Return the results of touches whose send window closed, grace ended or date moved since the claim."""
    programs = _load_programs(ctx.definitions, tx, touches)
    closed = {}
    for one in touches:
        program = programs[one.track, one.track_version]
        limits = _find_date_limits(ctx, one, program, now)
        if (moved := _check_dates(one, limits, now)) is not None:
            closed[one.id] = moved
        elif isinstance(program, Program) and (later := _find_delay(ctx, one, program, (), now)) is not None:
            closed[one.id] = _hold_within(one, limits, *later, now)
    return closed


def recheck_permissions(
    ctx: AppContext, tx: Transaction, touches: Sequence[DueMessage], known: Histories, now: datetime
) -> dict[int, DeliveryResult]:
    """Return the touches whose lead may no longer be mailed since the claim, as cancelled.

    *known* is the consent of their addresses that was read then.
    """
    histories = _load_histories(tx, touches, known)
    if histories.consent is known and not histories.suppressions:
        return {}
    programs = _load_programs(ctx.definitions, tx, touches)
    checked = [(one, _permission(ctx, one, programs[one.track, one.track_version], histories, now)) for one in touches]
    return {one.id: cancel(one, _refusal_reason(permission)) for one, permission in checked if not permission.allowed}


def sender_domain(program: Program) -> str:
    """Return the domain whose sender reputation this track's mail affects."""
    return sending_limits.normalize_domain(program.sender.email.rpartition("@")[2])


@dataclass(frozen=True, slots=True)
class _Histories:
    """The consent statements and the active suppressions of each address, by its id."""

    consent: Histories
    suppressions: Mapping[int, Sequence[ActiveSuppression]]


def _load_histories(tx: Transaction, touches: Sequence[DueMessage], known: Histories | None = None) -> _Histories:
    addresses = {one.address_id for one in touches if one.address_id is not None}
    consent = known.reload(tx, addresses) if known is not None else load_histories(tx, addresses)
    return _Histories(consent, suppression_queries.load_suppressions(tx, addresses))


def _permission(
    ctx: AppContext, message: DueMessage, program: Program | str, histories: _Histories, now: datetime
) -> MailPermission:
    address_id = message.address_id or 0
    permission = may_mail(
        histories.consent.statements.get(address_id, ()),
        histories.suppressions.get(address_id, ()),
        program.topic if isinstance(program, Program) else "",
        now,
        track=message.track or "",
    )
    return permission.to_ask() if ctx.message_kinds[message.kind].asks_consent else permission


def _refusal_reason(permission: MailPermission) -> str:
    """Return why a message is cancelled, without the texts of the history."""
    return f"suppressed: {permission.refusal.source}" if permission.refusal is not None else permission.reason


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


def _load_counted_emails(
    tx: Transaction, touches: Sequence[DueMessage], programs: Programs, now: datetime
) -> tuple[dict[int, list[CountedEmail]], _InAir]:
    """Return the emails of each lead that count for caps, as far back as they reach, and those on their way."""
    known = [program for program in programs.values() if isinstance(program, Program)]
    paces = (timedelta(days=one.touch_interval_days or 0) for one in touches)
    lookback = max((*(cap.per for program in known for cap in program.caps), *paces), default=timedelta())
    counted: dict[int, list[CountedEmail]] = defaultdict(list)
    in_air = _InAir()
    since, ids = now - max(lookback, RECHECK_AFTER), [one.lead_id for one in touches]
    for lead_id, kind, email in messages.list_counted_since(tx, ids, since):
        counted[lead_id].append(email)
        if email.at > now - RECHECK_AFTER and kind in MARKETING:
            in_air.kinds[lead_id].add(kind)
    return counted, in_air


def _check_touch(
    ctx: AppContext,
    message: DueMessage,
    program: Program | str,
    permission: MailPermission,
    counted: Sequence[CountedEmail],
    now: datetime,
    open_windows: "_OpenWindows",
) -> DeliveryResult | None:
    """Return the result if this touch may not go now, else None."""
    if message.address is None:
        return cancel(message, "no email address is known")
    if isinstance(program, str):
        over = now > message.expires_at
        return cancel(message, TOO_LATE) if over else hold_until(message, f"error: {program}", now + RETRY_AFTER_ERROR)
    try:
        limits = _find_date_limits(ctx, message, program, now)
        later = open_windows.find_delay(ctx, message, program, counted, now)
    except Exception as error:  # noqa: BLE001 - recorded on the message, and tried again until its grace period ends
        reason = f"error: {redact(error, message.fields, message.address)}"
        return hold_or_cancel(message, reason, now + RETRY_AFTER_ERROR, now)
    if (moved := _check_dates(message, limits, now)) is not None:
        return moved
    if not permission.allowed:
        return cancel(message, _refusal_reason(permission))
    return _hold_within(message, limits, *later, now) if later is not None else None


def _find_date_limits(ctx: AppContext, message: DueMessage, program: Program | str, now: datetime) -> DateLimits:
    """Return what the dates of a touch say now: they may have moved since it was planned."""
    if isinstance(program, str) or message.step not in program.index:
        return _NO_LIMITS
    email = program.instructions[program.index[message.step]]
    if not isinstance(email, Email) or not email.has_date:
        return _NO_LIMITS
    holidays = ctx.holidays(message.country, now)
    lead = Lead(message.lead_id, message.fields, message.zone, holidays, first_contact_at=message.first_contact_at)
    return find_date_limits(email, program, lead)


def _check_dates(message: DueMessage, limits: DateLimits, now: datetime) -> DeliveryResult | None:
    """Return the result of a touch whose time is over, or that is due later now: then its track recalls it."""
    if limits.due_at is not None and limits.due_at > now:
        return hold_until(message, "held: its date moved", now + RECHECK_AFTER)
    if limits.latest_at is not None and limits.latest_at <= now:
        return cancel(message, TOO_LATE)
    return cancel(message, TOO_LATE) if now > _end_of_grace(message, limits) else None


def _hold_within(
    message: DueMessage, limits: DateLimits, reason: str, until: datetime, now: datetime
) -> DeliveryResult:
    """Return the result of a touch that is held until *until* (UTC), or too late by then."""
    if limits.latest_at is not None and limits.latest_at <= until:
        return cancel(message, TOO_LATE)
    return hold_or_cancel(message._replace(expires_at=_end_of_grace(message, limits)), reason, until, now)


def _end_of_grace(message: DueMessage, limits: DateLimits) -> datetime:
    return max(message.expires_at, limits.grace_ends_at or message.expires_at)


@dataclass
class _OpenWindows:
    """Touches that nothing delays at one time, as far as that follows from their program and the lead's place."""

    _known: set[tuple[str, str | None, int | None, str, str]] = field(default_factory=set)

    def find_delay(
        self, ctx: AppContext, message: DueMessage, program: Program, counted: Sequence[CountedEmail], now: datetime
    ) -> tuple[str, datetime] | None:
        """Return what `_find_delay` returns; most leads of a batch have no pace of their own, and no recent mail."""
        if counted or message.paused_until is not None or message.touch_interval_days:
            return _find_delay(ctx, message, program, counted, now)
        key = message.kind, message.track, message.track_version, message.zone, message.country
        if key in self._known:
            return None
        found = _find_delay(ctx, message, program, counted, now)
        if found is None:
            self._known.add(key)
        return found


def _find_delay(
    ctx: AppContext, message: DueMessage, program: Program, counted: Sequence[CountedEmail], now: datetime
) -> tuple[str, datetime] | None:
    """Return why pause, touch interval, caps or send window delay the touch, and until when; None if they do not."""
    if ctx.message_kinds[message.kind].asks_consent:
        return None
    holidays = ctx.holidays(message.country, now)
    send = earliest_send_time(
        program,
        max(now, message.paused_until or now),
        zone=message.zone,
        holidays=holidays,
        counted=counted,
        touch_interval=timedelta(days=message.touch_interval_days) if message.touch_interval_days else None,
        step=message.step if message.kind in MARKETING else "",
    )
    if send.at <= now:
        return None
    if message.kind == BROADCAST and send.at > message.expires_at:
        return name_cause(send, message.paused_until, message.expires_at), send.at
    move = describe_move(send, now, program, message.zone, holidays, now, otherwise=PAUSED)
    return move or "held for its send window or a frequency cap", send.at


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
        decision.held_back += [hold_or_cancel(one, reason, until, now) for one in touches_by_domain[domain]]
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
