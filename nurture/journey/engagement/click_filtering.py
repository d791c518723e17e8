"""Believe clicks as far as they deserve: take down how they came in, and judge them by the policy's rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final, NamedTuple

from sqlalchemy import Connection

from nurture.db.locks import Lock, acquire
from nurture.domain.address import FREE_MAIL_DOMAINS
from nurture.domain.plain_text import index_key
from nurture.domain.scoring.click_filtering import (
    Classification,
    ClickThresholds,
    TrackedEvent,
    classify,
    classify_user_agent,
)
from nurture.domain.signals import SignalKind, SignalVerdict
from nurture.errors import NotFound
from nurture.journey.engagement import click_queries
from nurture.journey.engagement.click_queries import ClassifiedClick, ClickedMessage, ClickEvidence, VerdictRow
from nurture.journey.leads import signal_queries
from nurture.journey.leads.signal_queries import NewSignal
from nurture.journey.scoring import queries as scoring_queries
from nurture.runtime.context import AppContext

LINK_SOURCE: Final = "link"
"""Where clicks on our own links come from."""

MAX_CLICKS_PER_HOUR: Final = 60
"""Visits of one link in one mail that are kept of each hour: the next ones tell nothing new."""

_MAX_METHOD_LENGTH: Final = 16


class EngagementEvent(NamedTuple):
    """A click or an open as a door heard it. Of *ip* and *agent* nothing is kept but a mark and a class.

    *message_id* is the mail whose link or pixel it was, *link* the link's id in its template. *agent* is the
    user agent, None where the door does not know it. *honeypot*: the link was one that no reader sees;
    *machine*: the provider says that a machine did it. *natural_key* is the event's own id, if it has one.
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


def record_clicks(ctx: AppContext, connection: Connection, events: Sequence[EngagementEvent], now: datetime) -> int:
    """Write clicks and opens, each once, to be judged; return how many were new.

    Those of unknown mails are passed over. A program that follows a link twice within a second did so once.
    """
    if not events:
        return 0
    database = ctx.database
    messages = click_queries.load_messages(database, connection, {one.message_id for one in events})
    recorded_keys = _load_recorded_keys(ctx, connection, events)
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
    new = signal_queries.record_signals(database, connection, rows)
    click_queries.record_evidence(database, connection, evidence_rows)
    return new


_RecordedKeys = dict[tuple[int, str | None, datetime], set[str]]
"""The keys of the visits that are kept, by mail, link and hour."""


def _load_recorded_keys(ctx: AppContext, connection: Connection, events: Sequence[EngagementEvent]) -> _RecordedKeys:
    own = [one for one in events if one.source == LINK_SOURCE]
    found: _RecordedKeys = defaultdict(set)
    if own:
        since = min(_hour(one.occurred_at) for one in own)
        message_ids = {one.message_id for one in own}
        for message_id, link, at, key in click_queries.load_recent_keys(ctx.database, connection, message_ids, since):
            found[message_id, link, _hour(at)].add(key)
    return found


def _is_within_hourly_limit(recorded_keys: _RecordedKeys, event: EngagementEvent, key: str) -> bool:
    """Whether a visit is among the first of its hour; whoever comes more often fills no database."""
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
    """Return 16 bits that tell two sources of one mail apart, and that thousands of others share."""
    return sha256(f"{message_id}|{value}".encode()).hexdigest()[:4] if value else ""


def _company_hash(message: ClickedMessage) -> str:
    domain = message.address.rpartition("@")[2].lower()
    if not domain or domain in FREE_MAIL_DOMAINS:
        return ""
    return sha256(f"{message.salt}|{domain}".encode()).hexdigest()[:8]


def _to_signal(event: EngagementEvent, message: ClickedMessage, natural_key: str, now: datetime) -> NewSignal:
    """Return the signal; until it is judged it is a suspect, and counts for nothing."""
    return NewSignal(
        lead_id=message.lead_id,
        kind=event.kind.value,
        occurred_at=event.occurred_at,
        recorded_at=now,
        natural_key=natural_key,
        source=event.source,
        verdict=SignalVerdict.SUSPECT.value,
        verdict_reason="not judged yet",
        enrollment_id=message.enrollment_id,
        track=message.track,
        step=message.step or None,
        link=event.link,
        message_id=message.message_id,
        click_filter_key="",
    )


def reclassify(ctx: AppContext, now: datetime) -> int:
    """Judge every visit that today's rules have not judged; return how many verdicts are others now."""
    total = 0
    while True:
        count, changed = reclassify_batch(ctx, now, ctx.batch_size)
        total += changed
        if count < ctx.batch_size:
            return total


def reclassify_batch(ctx: AppContext, now: datetime, limit: int) -> tuple[int, int]:
    """Judge at most *limit* visits, and their neighbours; return how many there were, and how many changed.

    Where none waits, this is one index probe. A lead whose deed had its effect already is scored anew.
    """
    database = ctx.database
    with database.read() as connection:
        try:
            thresholds = ctx.definitions.current(connection).policy.click_filtering
        except NotFound:  # nothing is published yet, so no mail went that anybody could have visited
            return 0, 0
        if not click_queries.load_unclassified(connection, thresholds.key, 1):
            return 0, 0
    with database.write() as connection:
        acquire(database, connection, Lock.SIGNALS)
        unclassified = click_queries.load_unclassified(connection, thresholds.key, limit)
        if not unclassified:
            return 0, 0
        found, neighbors = _load_with_neighbors(
            ctx, connection, {message_id for _, message_id in unclassified}, thresholds
        )
        verdicts = classify([one.event for one in found] + neighbors, thresholds)
        rows = [_to_verdict_row(one, verdicts, thresholds) for one in found]
        changed = [one for one, new in zip(found, rows, strict=True) if (one.verdict, one.reason) != new[1:3]]
        overturned = {
            one.event.lead for one, new in zip(found, rows, strict=True) if one.verdict != new.verdict and one.applied
        }
        signal_queries.make_due(database, connection, sorted(overturned), now)
        scoring_queries.mark_stale(database, connection, sorted(overturned))
        click_queries.write_verdicts(database, connection, rows)
    return len(unclassified), len(changed)


def _to_verdict_row(
    click: ClassifiedClick, verdicts: Mapping[int, Classification], thresholds: ClickThresholds
) -> VerdictRow:
    verdict, reason = verdicts[click.event.id]
    return VerdictRow(click.event.id, verdict.value, reason, thresholds.key)


def _load_with_neighbors(
    ctx: AppContext, connection: Connection, message_ids: set[int], thresholds: ClickThresholds
) -> tuple[list[ClassifiedClick], list[TrackedEvent]]:
    """Return all visits whose verdict the new ones may change, and others that these verdicts rest on.

    Who clicks as the third of a company makes suspects of the two before, on mails of their own.
    """
    database, within = ctx.database, thresholds.leads_within
    found = click_queries.load_for_messages(database, connection, message_ids)
    neighbors = click_queries.load_neighbors(database, connection, [one.event for one in found], within)
    other_messages = {one.message for one in neighbors} - message_ids
    if other_messages:
        found += click_queries.load_for_messages(database, connection, other_messages)
        neighbors = click_queries.load_neighbors(database, connection, [one.event for one in found], within)
    known = {one.event.id for one in found}
    return found, [one for one in neighbors if one.id not in known]
