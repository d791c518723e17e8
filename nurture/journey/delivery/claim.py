"""Claim due messages under a lease, after checking that they may go, and compose them."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from secrets import token_urlsafe
from typing import Final

from sqlalchemy.exc import InterfaceError, OperationalError

from nurture.clock import Clock
from nurture.db.tables.delivery import message_mention
from nurture.db.transaction import Transaction
from nurture.errors import DatabaseUnavailable
from nurture.journey.delivery import send_checks
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import signal_queries
from nurture.journey.leads.consent_queries import NO_HISTORIES, Histories
from nurture.journey.leads.custody import lock_leads
from nurture.mail.inbound.classify import reply_address
from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import PROBE_AFTER
from nurture.outbox.lease_queue import LEASE, CheckpointObserver, heartbeat, ignore_checkpoint
from nurture.outbox.messages import (
    BROADCAST,
    QUEUE,
    TO_NOTIFIER,
    DeliveryResult,
    DueMessage,
    lock_due,
    write_results,
)
from nurture.runtime import link_queries, public_links, quarantine
from nurture.runtime.context import AppContext
from nurture.runtime.message_kinds import ComposedMessage, Composer
from nurture.runtime.public_links import LinkSpec
from nurture.runtime.redact import redact


@dataclass
class ComposedBatch:
    """The composed messages by id, and why the others could not be composed."""

    messages: dict[int, ComposedMessage] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CompositionBatch:
    """Messages to compose, with what was read about them when they were claimed, by kind.

    *reply_domain* is the domain of reply addresses, "" if no answers are read.
    """

    messages: Sequence[DueMessage]
    composers: Mapping[str, Composer]
    reply_domain: str = ""

    @classmethod
    def load(
        cls, ctx: AppContext, tx: Transaction, messages: Sequence[DueMessage], now: datetime
    ) -> "CompositionBatch":
        """Read what *messages* need, in a constant number of statements."""
        by_kind: dict[str, list[DueMessage]] = defaultdict(list)
        for one in messages:
            by_kind[one.kind].append(one)
        composers = {name: ctx.message_kinds[name].load(ctx, tx, batch, now) for name, batch in by_kind.items()}
        return cls(messages, composers, ctx.reply_domain)

    def compose(self, tx: Transaction) -> ComposedBatch:
        """Compose each message; one that cannot be composed does not stop the others."""
        composed = ComposedBatch()
        for one in self.messages:
            try:
                message = self.composers[one.kind].compose(tx, one)
                returns = self.reply_domain and one.recipient != TO_NOTIFIER
                composed.messages[one.id] = _add_return_path(one, message, self.reply_domain) if returns else message
            except (OperationalError, InterfaceError, DatabaseUnavailable):
                raise  # the messages are not at fault: all go when their lease ends
            except Exception as error:  # noqa: BLE001 - recorded on the message
                composed.problems[one.id] = redact(error, one.fields, one.address)
        return composed


def _add_return_path(message: DueMessage, composed: ComposedMessage, domain: str) -> ComposedMessage:
    """Have bounces returned to a reply address of this message alone: the one for answers, if it has one."""
    links = composed.links
    link = next((one for one in links if one.spec.purpose == public_links.REPLY), None)
    if link is None:
        link = public_links.make_link(LinkSpec(public_links.REPLY, message.lead_id, message.id))
        links = [*links, link]
    email = replace(composed.email, return_path=reply_address(link.token, domain))
    return composed._replace(email=email, links=links)


def save_links(tx: Transaction, composed: Collection[ComposedMessage], now: datetime) -> None:
    """Store the links of messages, and where these lead, in the transaction before they are sent."""
    public_links.store_links(tx, chain.from_iterable(one.links for one in composed), now)
    by_template = {id(one.shared_destinations): one.shared_destinations for one in composed}
    own = [one.own_destinations for one in composed if one.own_destinations is not None]
    link_queries.write_destinations(tx, set(chain.from_iterable(by_template.values())), own)


def save_mentions(tx: Transaction, composed: Mapping[int, ComposedMessage]) -> set[int]:
    """Store which other leads the messages name; return the messages that name a lead which was erased meanwhile.

    These are composed again once the lease has expired.
    """
    mentions = {(id_, lead) for id_, one in composed.items() for lead in one.named_leads}
    if not mentions:
        return set()
    existing = leads_queries.filter_existing(tx, {lead for _, lead in mentions})
    outdated = {id_ for id_, lead in mentions if lead not in existing}
    kept = sorted(one for one in mentions if one[0] not in outdated)
    tx.insert(message_mention, ("message_id", "lead_id"), kept, ignore_conflicts=True)
    return outdated


_FINAL_STATES: Final = frozenset({"accepted", "rejected", "cancelled"})


@dataclass(frozen=True)
class ClaimedBatch:
    """Messages one worker holds until its lease ends, composed; *states* counts the messages that are not sent.

    *stopped_until* is when the provider accepts mail again; *is_probe* marks a batch that probes an open breaker.
    """

    token: str
    due_count: int = 0
    claimed: Sequence[DueMessage] = ()
    composed: Mapping[int, ComposedMessage] = field(default_factory=dict)
    domains: Mapping[int, str] = field(default_factory=dict)
    histories: Histories = NO_HISTORIES
    states: Counter[str] = field(default_factory=Counter)
    stopped_until: datetime | None = None
    is_probe: bool = False
    claimed_at: datetime | None = None


def claim_batch(
    ctx: AppContext,
    now: datetime,
    limit: int,
    observe: CheckpointObserver = ignore_checkpoint,
    target: str | None = None,
    clock: Clock | None = None,
    token: str = "",
) -> ClaimedBatch:
    """Claim at most *limit* due messages that may go now, and compose them; hold or cancel the others.

    With *target* these are notices for that target, otherwise mail. Composing starts after the claim is committed,
    so that no other worker waits for a template; a running *clock* extends the lease meanwhile. The lease is that of
    *token*, a new one if it is "".
    """
    token = token or token_urlsafe(8)
    with ctx.database.write() as tx:
        open_breakers = circuit_breakers.list_active(tx)
        breaker = quarantine.find_breaker(open_breakers, ctx.provider.name)
        if breaker is not None and breaker.blocks_calls(now):
            return ClaimedBatch(token, stopped_until=breaker.until or now + PROBE_AFTER)
        due_messages = lock_due(tx, now, limit, target)
        if not due_messages:
            return ClaimedBatch(token)
        decision = send_checks.check_before_send(ctx, tx, due_messages, open_breakers, now)
        if breaker is not None:
            may_probe = circuit_breakers.claim_probe(tx, breaker.name, now)
            decision.ready = decision.ready[:1] if may_probe else []
        apply_outcomes_and_wake(tx, decision.held_back, due_messages, None, now)
        claims = [(one.id, decision.sender_domains.get(one.id)) for one in decision.ready]
        QUEUE.claim(tx, claims, token, now + LEASE, now)
        batch = CompositionBatch.load(ctx, tx, decision.ready, now)
        refs = [one.send_key for one in decision.ready]
        observe("claim", refs)
    observe("claimed", refs)
    states = Counter(outcome.state for outcome in decision.held_back)
    composed = _compose(ctx, batch, token, states, now, observe, clock) if refs else {}
    claimed = [one for one in decision.ready if one.id in composed]
    is_probe = breaker is not None
    return ClaimedBatch(
        token,
        len(due_messages),
        claimed,
        composed,
        decision.sender_domains,
        decision.histories,
        states,
        is_probe=is_probe,
        claimed_at=now,
    )


def _compose(
    ctx: AppContext,
    batch: CompositionBatch,
    token: str,
    states: Counter[str],
    now: datetime,
    observe: CheckpointObserver,
    clock: Clock | None,
) -> dict[int, ComposedMessage]:
    """Compose the claimed messages, and reject those that cannot be composed."""
    with heartbeat(ctx.database, QUEUE, token, clock, ctx.beat_interval, observe) if clock else nullcontext():
        with ctx.database.read() as tx:
            composed = batch.compose(tx)
        observe("render", [one.send_key for one in batch.messages])
        rejections = [DeliveryResult(id_, "rejected", why) for id_, why in composed.problems.items()]
        if rejections:
            with ctx.database.write() as tx:
                lock_leads(tx, [one.lead_id for one in batch.messages if one.id in composed.problems])
                apply_outcomes_and_wake(tx, rejections, batch.messages, token, now)
    states.update(outcome.state for outcome in rejections)
    return composed.messages


def put_back(ctx: AppContext, batch: ClaimedBatch, now: datetime) -> None:
    """Plan the messages of *batch* again, which were not sent."""
    with ctx.database.write() as tx:
        lock_leads(tx, [one.lead_id for one in batch.claimed])
        write_results(tx, [DeliveryResult(one.id, "planned") for one in batch.claimed], batch.token, now)


def apply_outcomes_and_wake(
    tx: Transaction, outcomes: Sequence[DeliveryResult], claimed: Sequence[DueMessage], token: str | None, now: datetime
) -> None:
    """Write the results, and make the leads of finished messages due.

    Leads are locked before messages, as everywhere, so that no deadlock occurs.
    """
    if not outcomes:
        return
    leads = {one.id: one.lead_id for one in claimed if one.kind != BROADCAST}  # no track waits for a broadcast
    finished_leads = [leads[one.id] for one in outcomes if one.state in _FINAL_STATES and one.id in leads]
    signal_queries.make_due(tx, finished_leads, now)
    write_results(tx, outcomes, token, now, claimed)
