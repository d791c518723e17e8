"""While a shared request is at the provider, its worker claims and composes the next batch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event

import pytest

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt
from nurture.errors import DatabaseUnavailable
from nurture.journey.delivery import run
from nurture.journey.tracks import advance, enroll
from nurture.mail.rendering.render import ComposedEmail
from nurture.runtime.context import AppContext
from tests.journey.builders import START, make_context, sample_rules
from tests.journey.observe import RecordingProvider, add_leads, rows

OPEN = START + timedelta(hours=1)
WAIT = 60.0


class SharingProvider(RecordingProvider):
    """Takes many emails in one request."""

    max_batch = 1_000


class World:
    """Four due touches that share requests of two; the first one returns when the second batch is composed."""

    def __init__(self, ctx: AppContext) -> None:
        self.ctx = ctx
        self.composed = 0
        self.has_next = Event()
        self.receipt: Receipt | None = None
        self.provider = ctx.provider = SharingProvider(self._answer)
        ctx.batch_size = 2
        add_leads(ctx, 4, title="Head")
        enroll.classify(ctx, START)
        advance.advance(ctx, START)
        advance.advance(ctx, OPEN)

    def _answer(self, email: ComposedEmail, _now: datetime) -> Receipt:
        assert self.has_next.wait(WAIT), "the next batch was not composed meanwhile"
        return self.receipt or Accepted(email.ref)

    def observe(self, point: str, _keys: Sequence[str]) -> None:
        self.composed += point == "render"
        if self.composed == 2:
            self.has_next.set()

    def states(self) -> list[tuple[str, int, bool]]:
        """Return state, attempts and whether it is leased of each touch, in the order in which they are claimed."""
        query = "SELECT state, attempts, lease_token IS NOT NULL FROM message WHERE kind = 'touch' ORDER BY id"
        return [(state, attempts, bool(leased)) for state, attempts, leased in rows(self.ctx, query)]


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    rules = sample_rules()
    rules["tracks/welcome/track.yaml"] += "batch: yes\n"
    return World(make_context(db, tmp_path, rules=rules))


def test_the_next_batch_is_composed_while_a_request_is_at_the_provider(world: World) -> None:
    done = run.deliver(world.ctx, VirtualClock(OPEN), observe=world.observe)
    assert (done.messages, done.states["accepted"]) == (4, 4)
    assert world.states() == [("accepted", 1, False)] * 4
    assert len(set(world.provider.refs)) == len(world.provider.refs) == 4


def test_the_next_batch_is_planned_again_when_the_provider_stops(world: World) -> None:
    world.receipt = NotSent("the key is refused", OPEN + timedelta(hours=1), blocks_all=True)
    run.deliver(world.ctx, VirtualClock(OPEN), observe=world.observe)
    assert world.states() == [("planned", 1, False)] * 2 + [("planned", 0, False)] * 2
    assert len(world.provider.refs) == 2


def test_the_next_batch_is_planned_again_when_the_run_has_to_end(world: World) -> None:
    run.deliver(world.ctx, VirtualClock(OPEN), observe=world.observe, should_stop=world.has_next.is_set)
    assert world.states() == [("accepted", 1, False)] * 2 + [("planned", 0, False)] * 2


def test_results_are_written_though_the_next_batch_cannot_be_composed(world: World) -> None:
    def fail(point: str, keys: Sequence[str]) -> None:
        world.observe(point, keys)
        if point == "render" and world.composed == 2:
            raise DatabaseUnavailable("The disk is gone.")

    with pytest.raises(DatabaseUnavailable):
        run.deliver(world.ctx, VirtualClock(OPEN), observe=fail)
    assert world.states() == [("accepted", 1, False)] * 2 + [("claimed", 0, True)] * 2


def test_the_next_batch_waits_for_the_calls_of_single_emails(world: World) -> None:
    order: list[str] = []
    world.provider = world.ctx.provider = RecordingProvider(
        lambda email, _: (order.append("called"), Accepted(email.ref))[1]
    )
    run.deliver(
        world.ctx, VirtualClock(OPEN), observe=lambda point, _: order.append(point) if point == "render" else None
    )
    assert order == ["render", "called", "called"] * 2
