"""Compare the database with the oracle's record: every difference is a violation."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson
from sqlalchemy import text

from nurture.db.engine import Database
from tests.doubles.sendgrid import SendGridDouble

FINAL: Final = frozenset({"accepted", "rejected", "unknown", "cancelled"})
WAITING: Final = frozenset({"planned", "claimed"})
ATTEMPTED: Final = frozenset({"sending", "accepted", "unknown"})


@dataclass
class Verdict:
    """The result of one run; *wrong* describes each violation."""

    states: Counter[str] = field(default_factory=Counter)
    twice: int = 0
    lost: int = 0
    wrong: list[str] = field(default_factory=list)

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(
            self.states + other.states, self.twice + other.twice, self.lost + other.lost, self.wrong + other.wrong
        )


def judge(
    states: Mapping[str, str],
    oracle: Sequence[str],
    planned: int,
    may_be_unknown: Collection[str],
    *,
    drained: bool = True,
) -> Verdict:
    """Compare the *states* by send key with what the *oracle* accepted.

    Only *may_be_unknown* messages may be unknown. *drained*: no message may be waiting.
    """
    found = Verdict(Counter(states.values()))
    calls = Counter(oracle)
    twice = {key for key, count in calls.items() if count > 1}
    missing = max(planned - len(states), 0)
    bad = _in_states(states, set(states.values()) - FINAL - (WAITING if not drained else set()))
    ghosts = {key for key in calls if states.get(key) not in ("accepted", "unknown")}
    never = {key for key, state in states.items() if state == "accepted" and key not in calls}
    strange = {key for key in _in_states(states, {"unknown"}) if key not in may_be_unknown}
    found.twice, found.lost = len(twice), missing + len(bad) + len(never)
    found.wrong += _describe("accepted twice", twice, states)
    found.wrong += [f"{planned} planned, {len(states)} found"] if planned != len(states) else []
    found.wrong += _describe("left behind", bad, states)
    found.wrong += _describe("accepted by the oracle, unknown to the database", ghosts, states)
    found.wrong += _describe("accepted by the database, unknown to the oracle", never, states)
    found.wrong += _describe("unknown, but was not in flight", strange, states)
    return found


def _in_states(states: Mapping[str, str], wanted: Collection[str]) -> set[str]:
    return {key for key, state in states.items() if state in wanted}


def _describe(what: str, keys: Collection[str], states: Mapping[str, str]) -> list[str]:
    return [f"{what}: {key} ({states.get(key)})" for key in sorted(keys)]


def find_uncovered(states: Mapping[str, str], oracle: Iterable[str]) -> list[str]:
    """Return a description of each message that the oracle accepted without a stamped intent."""
    return _describe("accepted without an intent", {key for key in oracle if states.get(key) not in ATTEMPTED}, states)


def states_in(url: str) -> dict[str, str]:
    """Return the state of each message by its send key."""
    database = Database(url)
    try:
        with database.read() as tx:
            found = tx.execute(text("SELECT send_key, state FROM message"))
            return {row[0]: row[1] for row in found}
    finally:
        database.close()


def in_flight(states: Mapping[str, str]) -> set[str]:
    """Return the messages whose call is noted without an answer."""
    return _in_states(states, {"sending"})


def wait_until_idle(url: str, name: str, seconds: float = 20) -> None:
    """Wait until PostgreSQL has ended the sessions of the dead worker *name*: a commit may still be running."""
    if url.startswith("sqlite"):
        return
    wanted = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :name")
    until = time.monotonic() + seconds
    database = Database(url)
    try:
        while True:
            with database.read() as tx:
                if not tx.execute(wanted, {"name": name}).scalar_one():
                    return
            if time.monotonic() > until:
                raise RuntimeError(f"PostgreSQL still keeps connections of {name}")
            time.sleep(0.002)
    finally:
        database.close()


class Oracle:
    """What the double accepted for one origin, read from where the log stood before."""

    def __init__(self, double: SendGridDouble, origin: str) -> None:
        self.double = double
        self._prefix = f"{origin}:"
        self._began = double.log.stat().st_size if double.log.exists() else 0

    def accepted(self) -> list[str]:
        """Return the send key of each acceptance, in order, once the double has read what was in flight."""
        return [key for kind, keys in self.lines() if kind == "accepted" for key in keys]

    def lines(self) -> list[tuple[str, list[str]]]:
        """Return (kind, send keys) of each event, in order; a fault's kind is its name, after a colon."""
        for _ in range(2):  # the double reads the bytes of dead workers before the second request
            self.double.traffic()
        return [(kind, keys) for kind, keys, _ in read_log(self.double.log, self._began, self._prefix)]

    def arrivals(self) -> list[tuple[str, float]]:
        """Return (send key, CLOCK_MONOTONIC of its arrival) of each acceptance."""
        self.double.traffic()
        found = read_log(self.double.log, self._began, self._prefix)
        return [(key, read) for kind, keys, read in found if kind == "accepted" and read for key in keys]


def read_log(log: Path, began: int, prefix: str) -> list[tuple[str, list[str], float | None]]:
    """Return (kind, send keys, when it was read) of the events from byte *began* on with *prefix*."""
    with log.open("rb") as file:
        file.seek(began)
        whole = file.read().rpartition(b"\n")[0]
    found = []
    for line in whole.split(b"\n"):
        if not line:
            continue
        event = orjson.loads(line)
        kind = event["kind"] if event["kind"] != "fault" else f"fault:{event['what']}"
        if kind.startswith("fault") and event["after"]:
            kind += ":after"
        refs = [event["ref"]] if event["kind"] in ("accepted", "checked") else event["refs"]
        keys = [ref.removeprefix(prefix) for ref in refs if ref and ref.startswith(prefix)]
        if keys or not refs:
            found.append((kind, keys, event["read"]))
    return found
