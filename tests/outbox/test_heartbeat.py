"""Test that a worker keeps what it holds during a call that takes longer than a lease: email and CRM records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Semaphore
from typing import Any, Final

import pytest

from nurture.crm.base import HandoffRecord
from nurture.db.engine import Database
from nurture.domain.delivery.receipts import Accepted, Receipt
from nurture.journey.crm_sync.push import push
from nurture.journey.delivery.run import deliver
from nurture.journey.handoff import sweep
from nurture.journey.tracks import enroll
from nurture.outbox import crm_records, messages
from nurture.outbox.lease_queue import LEASE, LeaseQueue
from nurture.runtime.context import AppContext
from tests.doubles.crm import ScriptedCrm
from tests.journey.builders import START, add_lead, make_context
from tests.journey.observe import RecordingProvider, rows

WAIT: Final = 60.0
"""Seconds after which a missing heartbeat fails the test."""


@dataclass
class MovedClock:
    """A running clock that the test moves."""

    at: datetime = START
    is_live: bool = True

    def now(self) -> datetime:
        return self.at

    def wait(self, until: datetime, max_wait: timedelta) -> bool:
        del max_wait
        return until <= self.at


@dataclass
class LongCall:
    """A call during which several leases pass, each with a heartbeat in it."""

    clock: MovedClock = field(default_factory=MovedClock)
    beats: Semaphore = field(default_factory=lambda: Semaphore(0))

    def observe(self, point: str, _keys: Sequence[str]) -> None:
        if point == "renewed":
            self.beats.release()

    def wait(self) -> None:
        for _ in range(3):
            self.clock.at += LEASE * 0.8
            while self.beats.acquire(blocking=False):
                pass
            for _ in range(2):  # the first one may have read the clock before it moved
                assert self.beats.acquire(timeout=WAIT)


def _send_mail(ctx: AppContext, call: LongCall) -> None:
    def answer(*_: object) -> Receipt:
        call.wait()
        return Accepted("id")

    deliver(replace(ctx, provider=RecordingProvider(answer)), call.clock, observe=call.observe)


def _push_records(ctx: AppContext, call: LongCall) -> None:
    class SlowCrm(ScriptedCrm):
        def upsert(self, records: Sequence[HandoffRecord], now: datetime) -> list[Receipt]:
            call.wait()
            return super().upsert(records, now)

    push(replace(ctx, crm=SlowCrm()), call.clock, call.observe)


Work = Callable[[AppContext, LongCall], None]


@pytest.mark.parametrize(
    ("work", "queue", "done"),
    [(_send_mail, messages.QUEUE, "accepted"), (_push_records, crm_records.QUEUE, "done")],
    ids=["email", "CRM records"],
)
def test_a_call_that_takes_longer_than_a_lease_keeps_what_it_holds(
    db: Database, tmp_path: Path, work: Work, queue: LeaseQueue[Any], done: str
) -> None:
    ctx = replace(make_context(db, tmp_path), beat_interval=timedelta(milliseconds=2))
    for _ in range(2):
        add_lead(ctx, demo_requested=True)
    enroll.classify(ctx, START)
    sweep.hand_off(ctx, START)
    released: list[tuple[int, int]] = []

    class WatchedCall(LongCall):
        def wait(self) -> None:
            super().wait()
            with ctx.database.write() as tx:  # as another worker does
                released.append(queue.release_expired(tx, self.clock.now()))

    work(ctx, WatchedCall())
    assert released
    assert set(released) == {(0, 0)}
    assert Counter(state for (state,) in rows(ctx, f"SELECT state FROM {queue.table.name}")) == {done: 2}
