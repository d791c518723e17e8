"""Post the same events in thousands of orders and with copies: the final state must be the same."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

from nurture.db.engine import Database
from nurture.journey.engagement import provider_events, signals
from nurture.journey.leads import suppression_queries
from nurture.runtime.context import AppContext
from nurture.simulation.engine import DiscardingProvider
from tests.bench.figures import Figure
from tests.doubles.sendgrid_events import KINDS, encode_events, event
from tests.journey.builders import START, make_context, run_at
from tests.journey.observe import add_leads, rows, write

SENT: Final = START + timedelta(hours=2)
NOW: Final = START + timedelta(days=1)
ORIGIN: Final = "0badcafe"
BATCH: Final = 200
ORDERS: Final = 200
"""Number of mails with the same history."""

_INITIAL_STATES: Final = ("accepted", "sending", "unknown", "planned", "claimed", "rejected")
_UNSENT_STATES: Final = ("sending", "unknown", "planned", "claimed", "rejected")


@dataclass(frozen=True, slots=True)
class MessageHistory:
    """The first state of a mail and its events: kind, minutes after sending, other fields."""

    state: str
    events: Sequence[tuple[str, int, Mapping[str, Any]]]

    @classmethod
    def drawn(cls, chance: Random) -> MessageHistory:
        """Return a random history."""
        sent_events = [
            (
                chance.choice(list(KINDS)),
                chance.randint(0, 90),
                chance.choice(({}, {"sg_machine_open": True}, {"ip": "192.0.2.66"}, {"type": None})),
            )
            for _ in range(chance.randint(2, 7))
        ]
        return cls(chance.choice(_INITIAL_STATES), sent_events)

    def shuffled(self, arg: str, chance: Random) -> Iterator[dict[str, Any]]:
        """Yield its events with copies, some with SendGrid's event id, some without."""
        for number, (kind, minutes, more) in enumerate(self.events):
            for copy in range(chance.choice((1, 1, 2, 3))):
                id_ = f"{arg}-{number}" + (f"-{copy}" if chance.random() < 0.5 else "")
                at = SENT + timedelta(minutes=minutes)
                yield event(kind, arg, at, id_, email=None, **more)


@dataclass
class OrderRun:
    """The number of histories and events, and the cases in which two orders had different results."""

    streams: int
    events: int
    divergences: list[str]


def permute(database: Database, folder: Path, count: int, chance: Random) -> OrderRun:
    """Post the events of *count* messages concurrently, each in a different order."""
    ctx = _send_messages(database, folder, count)
    keys = rows(ctx, "SELECT id, send_key FROM message WHERE kind = 'touch' ORDER BY id")
    histories = [MessageHistory.drawn(chance) for _ in range(-(-count // min(ORDERS, count // 4)))]
    history_by_id = {id_: histories[number % len(histories)] for number, (id_, _) in enumerate(keys)}
    _set_initial_states(ctx, history_by_id)
    sent_events = [one for id_, key in keys for one in history_by_id[id_].shuffled(f"{ORIGIN}:{key}", chance)]
    chance.shuffle(sent_events)
    for first in range(0, len(sent_events), BATCH):
        provider_events.receive(ctx, "sendgrid", encode_events(sent_events[first : first + BATCH]), NOW)
        if chance.random() < 0.3:
            provider_events.apply_pending(ctx, NOW)
    provider_events.apply_pending(ctx, NOW)
    signals.apply_pending_signals(ctx, NOW)
    return OrderRun(len(keys), len(sent_events), _divergences(_final_states(ctx), history_by_id))


def _send_messages(database: Database, folder: Path, count: int) -> AppContext:
    """Return a context in which *count* leads have been sent their first email."""
    ctx = make_context(database, folder)
    ctx.provider, ctx.installation_id = DiscardingProvider(), ORIGIN
    add_leads(ctx, count, title="Head of planning")
    # Separate domains, because many clicks from one company are filtered differently.
    write(ctx, "UPDATE address SET normalized = 'one@c' || id || '.example', email = 'one@c' || id || '.example'")
    run_at(ctx, START, START + timedelta(hours=1), SENT)
    assert rows(ctx, "SELECT count(*) FROM message WHERE state = 'accepted'") == [(count,)]
    return ctx


def _set_initial_states(ctx: AppContext, histories: Mapping[int, MessageHistory]) -> None:
    for state in _UNSENT_STATES:
        chosen = [id_ for id_, history in histories.items() if history.state == state]
        listed = ", ".join(map(str, chosen)) or "0"
        write(
            ctx,
            f"UPDATE message SET state = '{state}', accepted_at = NULL, lease_token = 'w', "
            f"lease_until = send_at WHERE id IN ({listed})",
        )


def _final_states(ctx: AppContext) -> dict[int, tuple[Any, ...]]:
    """Return the final state of each message."""
    sent_events: dict[int, Counter[str]] = defaultdict(Counter)
    for id_, kind, at in rows(ctx, "SELECT message_id, event_type, at FROM provider_event"):
        sent_events[id_][f"{kind} {at}"] += 1
    signals_by_message: dict[int, list[Any]] = defaultdict(list)
    wanted = "SELECT message_id, kind, occurred_at, verdict, verdict_reason, value FROM signal"
    for id_, *one in rows(ctx, wanted):
        signals_by_message[id_].append(tuple(map(str, one)))
    suppressions = _current_suppressions(ctx)
    wanted = """
        SELECT m.id, l.address_id, m.state, m.state_at, m.accepted_at, m.reason, m.lease_token, c.due_at,
               round(CAST(l.engagement AS numeric), 6)
        FROM message m JOIN lead l ON l.id = m.lead_id JOIN custody c ON c.lead_id = l.id
    """
    return {
        row[0]: (
            row[2:],
            sorted(sent_events[row[0]].items()),
            sorted(signals_by_message[row[0]]),
            suppressions.get(row[1]),
        )
        for row in rows(ctx, wanted)
    }


def _current_suppressions(ctx: AppContext) -> dict[int, list[tuple[str, bool, datetime]]]:
    """Return the suppressions of each address. The first source is that of the first batch."""
    everybody = [row[0] for row in rows(ctx, "SELECT id FROM address")]
    with ctx.database.read() as tx:
        found = suppression_queries.load_suppressions(tx, everybody)
    return {
        id_: sorted((one.scope, one.source == "bounce", one.last_stated_at) for one in what)
        for id_, what in found.items()
    }


def _divergences(ends: Mapping[int, tuple[Any, ...]], histories: Mapping[int, MessageHistory]) -> list[str]:
    first: dict[int, tuple[Any, ...]] = {}
    found = []
    for id_, end in ends.items():
        before = first.setdefault(id(histories[id_]), end)
        if end != before:
            found.append(f"{histories[id_]} ended as {end}, and as {before}")
    return found


def measure(folder: Path, seed: int, streams: int) -> tuple[list[Figure], list[str]]:
    """Post *streams* histories on SQLite."""
    from nurture.db import schema

    folder.mkdir(exist_ok=True)
    database = Database(f"sqlite:///{folder / 'permuting.db'}")
    schema.upgrade(database)
    found = permute(database, folder, streams, Random(f"{seed}:permute"))
    database.close()
    return [
        Figure(
            "webhook_permutations",
            found.streams,
            "streams",
            minimum=streams,
            note=f"{found.events:,} events in orders of their own, with copies",
        ),
        Figure("webhook_divergences", len(found.divergences), "streams", maximum=1),
    ], found.divergences[:10]
