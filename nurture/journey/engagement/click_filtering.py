"""Record clicks and opens, and classify them by the policy's click filtering rules."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final, NamedTuple

from nurture.db import rollups
from nurture.db.locks import Lock, acquire
from nurture.db.transaction import Transaction
from nurture.domain.plain_text import index_key
from nurture.domain.scoring.click_filtering import Classification, ClickThresholds, TrackedEvent, classify
from nurture.domain.signals import SignalKind, SignalVerdict
from nurture.formats.mail_domains import is_free_mail
from nurture.formats.user_agents import classify_user_agent
from nurture.journey.engagement import click_queries
from nurture.journey.engagement.click_queries import ClassifiedClick, ClickedMessage, ClickEvidence, VerdictRow
from nurture.journey.leads import signal_queries
from nurture.journey.leads.signal_queries import NewSignal
from nurture.journey.scoring import queries as scoring_queries
from nurture.runtime.batches import drain
from nurture.runtime.context import AppContext

LINK_SOURCE: Final = "link"
"""The source of clicks on tracked links."""

MAX_CLICKS_PER_HOUR: Final = 60
"""Clicks stored per hour for one link of one mail; more add no information."""

_MAX_METHOD_LENGTH: Final = 16


class EngagementEvent(NamedTuple):
    """A click or open as received. Of *ip* and *agent* only a short hash and a class are stored.

    *message_id* is the mail whose link or pixel it was, *link* the link's id in its template. *agent* is the user
    agent, None if the source does not report it. *honeypot* marks a link that no reader sees; *machine* an event
    that the provider attributes to a machine. *natural_key* is the event's own id, if it has one.
    """

    kind: SignalKind
    message_id: int
    occurred_at: datetime
    link: str | None = None
    method: str = "GET"
    ip: str = ""
    agent: str | None = None
    honeypot: bool = False
    machine: bool = False
    source: str = LINK_SOURCE
    natural_key: str = ""


def record_clicks(tx: Transaction, events: Sequence[EngagementEvent], now: datetime) -> int:
    """Store clicks and opens once each, to be classified; return how many were new.

    Events of unknown mails are skipped. The same link requested twice within a second counts once.
    """
    if not events:
        return 0
    messages = click_queries.load_messages(tx, {one.message_id for one in events})
    recorded_keys = _load_recorded_keys(tx, events)
    rows: list[NewSignal] = []
    evidence_rows: list[ClickEvidence] = []
    for one in events:
        message = messages.get(one.message_id)
        if message is not None:
            evidence = _to_evidence(one, message)
            if one.source == LINK_SOURCE and not _is_within_hourly_limit(recorded_keys, one, evidence.natural_key):
                continue
            evidence_rows.append(evidence)
            rows.append(_to_signal(one, message, evidence.natural_key, now))
    new = signal_queries.record_signals(tx, rows)
    click_queries.record_evidence(tx, evidence_rows)
    return new


_RecordedKeys = dict[tuple[int, str | None, datetime], set[str]]
"""The natural keys of stored clicks, by mail, link and hour."""


def _load_recorded_keys(tx: Transaction, events: Sequence[EngagementEvent]) -> _RecordedKeys:
    own = [one for one in events if one.source == LINK_SOURCE]
    found: _RecordedKeys = defaultdict(set)
    if own:
        since = min(_hour(one.occurred_at) for one in own)
        message_ids = {one.message_id for one in own}
        for message_id, link, at, key in click_queries.load_recent_keys(tx, message_ids, since):
            found[message_id, link, _hour(at)].add(key)
    return found


def _is_within_hourly_limit(recorded_keys: _RecordedKeys, event: EngagementEvent, key: str) -> bool:
    """Return whether a click is within the hourly limit, so that repeated requests cannot fill the database."""
    keys = recorded_keys[event.message_id, event.link, _hour(event.occurred_at)]
    if len(keys) >= MAX_CLICKS_PER_HOUR and key not in keys:
        return False
    keys.add(key)
    return True


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _to_evidence(event: EngagementEvent, message: ClickedMessage) -> ClickEvidence:
    ip_hash = _short_hash(message.message_id, event.ip)
    agent_hash = _short_hash(message.message_id, event.agent or "")
    method = event.method.upper()[:_MAX_METHOD_LENGTH]
    second = event.occurred_at.replace(microsecond=0).isoformat()
    parts = (event.kind.value, str(message.message_id), event.link or "", method, second, ip_hash, agent_hash)
    return ClickEvidence(
        natural_key=event.natural_key or index_key("|".join(("click", *parts))),
        message_id=message.message_id,
        at=event.occurred_at,
        method=method,
        agent_type=classify_user_agent(event.agent).value,
        ip_hash=ip_hash,
        agent_hash=agent_hash,
        company_hash=_company_hash(message),
        honeypot=event.honeypot,
        is_machine=event.machine,
    )


def _short_hash(message_id: int, value: str) -> str:
    """Return a 16-bit hash: it distinguishes two sources of one mail, and is shared by thousands of others."""
    return sha256(f"{message_id}|{value}".encode()).hexdigest()[:4] if value else ""


def _company_hash(message: ClickedMessage) -> str:
    domain = message.address.rpartition("@")[2].lower()
    if not domain or is_free_mail(domain):
        return ""
    return sha256(f"{message.salt}|{domain}".encode()).hexdigest()[:8]


def _to_signal(event: EngagementEvent, message: ClickedMessage, natural_key: str, now: datetime) -> NewSignal:
    """Return the signal, as a suspect that counts for nothing until it is classified."""
    return NewSignal(
        lead_id=message.lead_id,
        kind=event.kind.value,
        occurred_at=event.occurred_at,
        recorded_at=now,
        natural_key=natural_key,
        source=event.source,
        verdict=SignalVerdict.SUSPECT.value,
        verdict_reason="not classified yet",
        enrollment_id=message.enrollment_id,
        track=message.track,
        step=message.step or None,
        link=event.link,
        message_id=message.message_id,
        click_filter_key="",
    )


def reclassify(ctx: AppContext, now: datetime) -> int:
    """Classify every click that the current rules have not classified; return how many verdicts changed."""
    batches = drain(lambda: reclassify_batch(ctx, now, ctx.batch_size), lambda done: done[0] >= ctx.batch_size)
    return sum(changed for _, changed in batches)


def reclassify_batch(ctx: AppContext, now: datetime, limit: int) -> tuple[int, int]:
    """Classify at most *limit* clicks with their neighbors; return how many, and how many verdicts changed.

    Without unclassified clicks this is one index probe. Leads whose signal had been applied are rescored.
    """
    database = ctx.database
    with database.read() as tx:
        definitions = ctx.definitions.find_current(tx)
        if definitions is None:  # no mail was sent that anybody could have clicked
            return 0, 0
        thresholds = definitions.policy.click_filtering
        if not click_queries.load_unclassified(tx, thresholds.key, 1):
            return 0, 0
    with database.write() as tx:
        acquire(tx, Lock.SIGNALS)
        unclassified = click_queries.load_unclassified(tx, thresholds.key, limit)
        if not unclassified:
            return 0, 0
        found, neighbors = _load_with_neighbors(tx, {message_id for _, message_id in unclassified}, thresholds)
        verdicts = classify([one.event for one in found] + neighbors, thresholds)
        rows = [_to_verdict_row(one, verdicts, thresholds) for one in found]
        changed = [one for one, new in zip(found, rows, strict=True) if (one.verdict, one.reason) != new[1:3]]
        overturned = [
            (one, new.verdict)
            for one, new in zip(found, rows, strict=True)
            if one.verdict != new.verdict and one.applied
        ]
        lead_ids = sorted({one.event.lead for one, _ in overturned})
        signal_queries.make_due(tx, lead_ids, now)
        scoring_queries.mark_stale(tx, lead_ids)
        click_queries.write_verdicts(tx, rows)
        became_human = [one.event for one, verdict in overturned if verdict == SignalVerdict.HUMAN]
        was_human = [one.event for one, _ in overturned if one.verdict == SignalVerdict.HUMAN]
        for events, n in ((became_human, 1), (was_human, -1)):
            rollups.count_human(tx, [(one.lead, one.at, one.kind.value) for one in events], {}, n)
    return len(unclassified), len(changed)


def _to_verdict_row(
    click: ClassifiedClick, verdicts: Mapping[int, Classification], thresholds: ClickThresholds
) -> VerdictRow:
    verdict, reason = verdicts[click.event.id]
    return VerdictRow(click.event.id, verdict.value, reason, thresholds.key)


def _load_with_neighbors(
    tx: Transaction, message_ids: set[int], thresholds: ClickThresholds
) -> tuple[list[ClassifiedClick], list[TrackedEvent]]:
    """Return all clicks whose verdict the new ones may change, and the others these verdicts depend on.

    The third click of a company also makes suspects of the two earlier ones, which are on other mails.
    """
    within = thresholds.leads_within
    found = click_queries.load_for_messages(tx, message_ids)
    neighbors = click_queries.load_neighbors(tx, [one.event for one in found], within)
    other_messages = {one.message for one in neighbors} - message_ids
    if other_messages:
        found += click_queries.load_for_messages(tx, other_messages)
        neighbors = click_queries.load_neighbors(tx, [one.event for one in found], within)
    known = {one.event.id for one in found}
    return found, [one for one in neighbors if one.id not in known]
