"""One story of each mail, told by its provider in thousands of orders, with copies: it must end alike."""

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
from nurture.runtime.context import House
from nurture.simulation.engine import NoMail
from tests.bench.figures import Figure
from tests.doubles.events import KINDS, body_of, event
from tests.journey.builders import START, make_house, tick_at
from tests.journey.observe import crowd, rows, write

SENT: Final = START + timedelta(hours=2)
NOW: Final = START + timedelta(days=1)
ORIGIN: Final = "0badcafe"
BATCH: Final = 200
TELLINGS: Final = 200
"""How many mails have each story."""

_FIRST: Final = ("accepted", "sending", "in_doubt", "planned", "claimed", "rejected")
_SENT_NEVER: Final = ("sending", "in_doubt", "planned", "claimed", "rejected")


@dataclass(frozen=True, slots=True)
class Story:
    """What a mail's state is at first, and what is told of it: kind, minutes after it was sent, what more."""

    state: str
    told: Sequence[tuple[str, int, Mapping[str, Any]]]

    @classmethod
    def drawn(cls, chance: Random) -> Story:
        """Make one up."""
        told = [
            (
                chance.choice(list(KINDS)),
                chance.randint(0, 90),
                chance.choice(({}, {"sg_machine_open": True}, {"ip": "192.0.2.66"}, {"type": None})),
            )
            for _ in range(chance.randint(2, 7))
        ]
        return cls(chance.choice(_FIRST), told)

    def telling(self, arg: str, chance: Random) -> Iterator[dict[str, Any]]:
        """Tell it once, with copies: some keep SendGrid's id of the event, some do not."""
        for number, (kind, minutes, more) in enumerate(self.told):
            for copy in range(chance.choice((1, 1, 2, 3))):
                id_ = f"{arg}-{number}" + (f"-{copy}" if chance.random() < 0.5 else "")
                at = SENT + timedelta(minutes=minutes)
                yield event(kind, arg, at, id_, email=None, **more)


@dataclass
class Permuted:
    """How many stories were told, in how many events, and where two tellings ended differently."""

    streams: int
    events: int
    divergences: list[str]


def permute(database: Database, folder: Path, count: int, chance: Random) -> Permuted:
    """Tell some stories to *count* mails, each in an order of its own, all at the same time."""
    house = _sent(database, folder, count)
    keys = rows(house, "SELECT id, send_key FROM message WHERE kind = 'touch' ORDER BY id")
    stories = [Story.drawn(chance) for _ in range(-(-count // min(TELLINGS, count // 4)))]
    of = {id_: stories[number % len(stories)] for number, (id_, _) in enumerate(keys)}
    _begin(house, of)
    told = [one for id_, key in keys for one in of[id_].telling(f"{ORIGIN}:{key}", chance)]
    chance.shuffle(told)
    for first in range(0, len(told), BATCH):
        provider_events.receive(house, provider_events.SENDGRID, body_of(told[first : first + BATCH]), NOW)
        if chance.random() < 0.3:
            provider_events.apply(house, NOW)
    provider_events.apply(house, NOW)
    signals.listen(house, NOW)
    return Permuted(len(keys), len(told), _divergences(_ends(house), of))


def _sent(database: Database, folder: Path, count: int) -> House:
    """Return a house in which *count* leads have been sent their first email."""
    house = make_house(database, folder)
    house.provider, house.origin = NoMail(), ORIGIN
    crowd(house, count, title="Head of planning")
    # Strangers to each other: whole companies that click at once are another story.
    write(
        house, "UPDATE address SET normal = 'one@c' || id || '.example', email = 'one@c' || id || '.example'"
    )
    tick_at(house, START, START + timedelta(hours=1), SENT)
    assert rows(house, "SELECT count(*) FROM message WHERE state = 'accepted'") == [(count,)]
    return house


def _begin(house: House, stories: Mapping[int, Story]) -> None:
    for state in _SENT_NEVER:
        chosen = [id_ for id_, story in stories.items() if story.state == state]
        listed = ", ".join(map(str, chosen)) or "0"
        write(
            house,
            f"UPDATE message SET state = '{state}', accepted_at = NULL, lease_token = 'w', "
            f"lease_until = send_at WHERE id IN ({listed})",
        )


def _ends(house: House) -> dict[int, tuple[Any, ...]]:
    """Return all that matters of each message in the end."""
    told: dict[int, Counter[str]] = defaultdict(Counter)
    for id_, kind, at in rows(house, "SELECT message_id, told, at FROM mail_event"):
        told[id_][f"{kind} {at}"] += 1
    said: dict[int, list[Any]] = defaultdict(list)
    wanted = "SELECT message_id, kind, occurred_at, verdict, verdict_because, value FROM signal"
    for id_, *one in rows(house, wanted):
        said[id_].append(tuple(map(str, one)))
    standing = _standing(house)
    wanted = """
        SELECT m.id, l.address_id, m.state, m.state_at, m.accepted_at, m.reason, m.lease_token, c.due_at,
               round(CAST(l.engagement AS numeric), 6)
        FROM message m JOIN lead l ON l.id = m.lead_id JOIN custody c ON c.lead_id = l.id
    """
    return {
        row[0]: (row[2:], sorted(told[row[0]].items()), sorted(said[row[0]]), standing.get(row[1]))
        for row in rows(house, wanted)
    }


def _standing(house: House) -> dict[int, list[tuple[str, bool, datetime]]]:
    """Return what stands against each address. Who said no first is told of the first batch that came."""
    everybody = [row[0] for row in rows(house, "SELECT id FROM address")]
    with house.database.read() as connection:
        found = suppression_queries.standing(house.database, connection, everybody)
    return {
        id_: sorted((one.scope, one.source == "bounce", one.newest) for one in what)
        for id_, what in found.items()
    }


def _divergences(ends: Mapping[int, tuple[Any, ...]], stories: Mapping[int, Story]) -> list[str]:
    first: dict[int, tuple[Any, ...]] = {}
    found = []
    for id_, end in ends.items():
        before = first.setdefault(id(stories[id_]), end)
        if end != before:
            found.append(f"{stories[id_]} ended as {end}, and as {before}")
    return found


def measure(folder: Path, seed: int, streams: int) -> tuple[list[Figure], list[str]]:
    """Tell *streams* stories on SQLite."""
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
            at_least=streams,
            note=f"{found.events:,} events in orders of their own, with copies",
        ),
        Figure("webhook_divergences", len(found.divergences), "streams", below=1),
    ], found.divergences[:10]
