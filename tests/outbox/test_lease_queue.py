"""The contract of the leased queue, on every table under it: messages and CRM records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.db.engine import Database
from nurture.journey.handoff import sweep
from nurture.journey.tracks import enroll
from nurture.outbox import crm_records, messages
from nurture.outbox.lease_queue import LEASE, LeaseQueue
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context
from tests.journey.observe import one, rows, write

pytestmark = pytest.mark.quick

SECOND: Final = timedelta(seconds=1)
AFTER: Final = START + LEASE + SECOND
QUEUES: Final[dict[str, LeaseQueue[Any]]] = {"messages": messages.QUEUE, "CRM records": crm_records.QUEUE}
DONE: Final = {"messages": "accepted", "CRM records": "done"}
COUNT: Final = 3


@dataclass
class Outbox:
    """A queue with COUNT planned rows, which are due."""

    ctx: AppContext
    name: str

    @property
    def queue(self) -> LeaseQueue[Any]:
        return QUEUES[self.name]

    @property
    def done(self) -> str:
        return DONE[self.name]

    @property
    def ids(self) -> list[int]:
        return [id_ for (id_,) in rows(self.ctx, f"SELECT id FROM {self.queue.table.name} ORDER BY id")]

    def claim(self, token: str, at: datetime = START) -> set[int]:
        """Claim every planned row, and return those that *token* holds."""
        claims = [(id_, *[None] * (len(self.queue.claim_columns) - 1)) for id_ in self.ids]
        with self.ctx.database.write() as tx:
            self.queue.claim(tx, claims, token, at + LEASE, at)
        held = "state = 'claimed' AND lease_token = :token"
        return {id_ for (id_,) in rows(self.ctx, f"SELECT id FROM {self.queue.table.name} WHERE {held}", token=token)}

    def stamp(self, token: str, at: datetime = START) -> set[int]:
        stamps = [(id_, *[None] * (len(self.queue.stamp_columns) - 1)) for id_ in self.ids]
        with self.ctx.database.write() as tx:
            return self.queue.stamp(tx, stamps, token, at + LEASE, at)

    def answer(self, token: str, state: str, at: datetime = START, ids: Collection[int] | None = None) -> None:
        """Write the result *state* of those of *ids*, or of all rows, that *token* still holds."""
        with self.ctx.database.write() as tx:
            chosen = self.ids if ids is None else ids
            results = [self.queue.result_type._make(self._result(id_, state)) for id_ in chosen]  # type: ignore[attr-defined]
            self.queue.write_results(tx, results, token, at)

    def _result(self, id_: int, state: str) -> list[object]:
        # The CRM's record is done once it has taken the state that it should have.
        given = {"id": id_, "state": state, "reason": "r", "pushed_state": "offered" if state == "done" else None}
        return [given.get(name) for name in self.queue.result_type._fields]  # type: ignore[attr-defined]

    def release(self, at: datetime) -> tuple[int, int]:
        with self.ctx.database.write() as tx:
            return self.queue.release_expired(tx, at)

    def renew(self, token: str, at: datetime) -> int:
        with self.ctx.database.write() as tx:
            return self.queue.renew(tx, token, at + LEASE)

    def states(self) -> Counter[str]:
        return Counter(dict(rows(self.ctx, f"SELECT state, count(*) FROM {self.queue.table.name} GROUP BY state")))

    def plan_again(self) -> None:
        """Make every row as it was at the beginning."""
        write(self.ctx, f"UPDATE {self.queue.table.name} SET state = 'planned', lease_token = NULL, lease_until = NULL")


@pytest.fixture(params=QUEUES)
def outbox(request: pytest.FixtureRequest, db: Database, tmp_path: Path) -> Outbox:
    ctx = make_context(db, tmp_path)
    for _ in range(COUNT):
        add_lead(ctx, demo_requested=True)
    enroll.classify(ctx, START)
    sweep.hand_off(ctx, START)  # plans a brief and a CRM record each
    made = Outbox(ctx, request.param)
    assert made.states() == {"planned": COUNT}
    return made


def test_a_row_is_claimed_by_one_worker(outbox: Outbox) -> None:
    assert outbox.claim("first") == set(outbox.ids)
    assert outbox.claim("second") == set()
    assert outbox.stamp("second") == set()
    assert outbox.stamp("first") == set(outbox.ids)
    assert outbox.stamp("first") == set(), "a row is called once for each claim"


def test_a_worker_that_dies_before_the_call_loses_its_rows_to_the_next_one(outbox: Outbox) -> None:
    outbox.claim("dead")
    assert outbox.release(START + LEASE) == (0, 0)
    assert outbox.release(AFTER) == (COUNT, 0)
    assert outbox.claim("next", AFTER) == set(outbox.ids)
    assert outbox.stamp("dead", AFTER) == set()


def test_what_may_have_been_sent_becomes_unknown_and_is_not_claimed_again(outbox: Outbox) -> None:
    outbox.claim("dead")
    outbox.stamp("dead")
    assert outbox.release(AFTER) == (0, COUNT)
    assert outbox.states() == {"unknown": COUNT}
    assert outbox.claim("next", AFTER) == set()
    assert outbox.release(AFTER + LEASE) == (0, 0)


def test_a_worker_that_was_only_slow_resolves_its_own_unknown_rows(outbox: Outbox) -> None:
    outbox.claim("slow")
    outbox.stamp("slow")
    outbox.release(AFTER)
    outbox.answer("other", "rejected", AFTER)
    assert outbox.states() == {"unknown": COUNT}
    outbox.answer("slow", outbox.done, AFTER)
    assert outbox.states() == {outbox.done: COUNT}


def test_a_slow_worker_overwrites_no_newer_result(outbox: Outbox) -> None:
    outbox.claim("slow")
    outbox.release(AFTER)
    outbox.claim("quick", AFTER)
    outbox.stamp("quick", AFTER)
    outbox.answer("quick", outbox.done, AFTER)
    outbox.answer("slow", "rejected", AFTER)
    assert outbox.states() == {outbox.done: COUNT}


def test_a_heartbeat_extends_the_leases_of_its_own_worker(outbox: Outbox) -> None:
    outbox.claim("alive")
    outbox.stamp("alive")
    assert outbox.renew("other", START + LEASE / 2) == 0
    assert outbox.renew("alive", START + LEASE / 2) == COUNT
    assert outbox.release(AFTER) == (0, 0)
    outbox.answer("alive", outbox.done, AFTER)
    assert outbox.renew("alive", AFTER) == 0
    assert one(outbox.ctx, f"SELECT count(lease_until) FROM {outbox.queue.table.name}") == 0


STEPS: Final = ("claim", "stamp", "sent", "not sent", "renew", "wait", "wait long", "release")


@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from("ab")), max_size=24))
@settings(max_examples=60)
def test_in_any_order_of_steps_no_row_is_called_twice_and_none_is_lost(
    outbox: Outbox, steps: list[tuple[str, str]]
) -> None:
    outbox.plan_again()
    now, calling, sent = START, dict[int, str](), set[int]()
    for step, token in steps:
        own = {id_ for id_, caller in calling.items() if caller == token}
        match step:
            case "claim":
                outbox.claim(token, now)
            case "stamp":
                called = outbox.stamp(token, now)
                assert not called & (calling.keys() | sent), "called twice"
                calling |= dict.fromkeys(called, token)
            case "sent" | "not sent":
                outbox.answer(token, outbox.done if step == "sent" else "planned", now, own)
                sent |= own if step == "sent" else set()
                calling = {id_: caller for id_, caller in calling.items() if id_ not in own}
            case "renew":
                outbox.renew(token, now)
            case "release":
                outbox.release(now)
            case _:
                now += LEASE * (2 if step == "wait long" else 0.4)
    outbox.release(now + 2 * LEASE)
    found = Counter(planned=COUNT - len(calling) - len(sent), unknown=len(calling)) + Counter({outbox.done: len(sent)})
    assert outbox.states() == found, "lost"
