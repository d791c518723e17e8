"""Laws of broadcasts, over generated orders of runs, deaths, releases, versions, stops and opt-outs."""

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.delivery.stops import ALL_TRACKS
from nurture.domain.signals import SignalKind
from nurture.errors import InvalidState
from nurture.journey.broadcasts import plan, release
from nurture.journey.consent import suppression
from nurture.journey.delivery import stopping
from nurture.journey.run_once import run_once
from nurture.publishing.publish import publish
from nurture.runtime.context import AppContext
from tests.journey.broadcasts.world import NAME, broadcast_rules
from tests.journey.builders import START, add_lead
from tests.journey.observe import record_signal
from tests.stories.world import context_in_memory, rows

HOUR = timedelta(hours=1)
LEADS = 9
CAP, PER = 2, timedelta(days=7)


class _World:
    """Nine leads, some on a track that sends soon, one without consent; and what may happen to them."""

    def __init__(self) -> None:
        self.version, self.now = 1, START
        self.ctx: AppContext = context_in_memory(START, self.rules(), batch_size=2)
        titles = ("Head", "Buyer", "Head of Planning")
        more = ({}, {"consent_basis": None}, {})
        self.leads = [
            add_lead(self.ctx, email=self.address(number), city="Kiel", title=titles[number % 3], **more[number // 4])
            for number in range(LEADS)
        ]
        self.refused: dict[int, datetime] = {}
        run_once(self.ctx, self.now)

    def rules(self) -> dict[str, str]:
        return broadcast_rules("priority: 10\n", text=f"Hello, version {self.version}.")

    def address(self, number: int) -> str:
        return f"lead{number}@people.example"

    def passes(self, hours: int) -> None:
        self.now += hours * HOUR
        run_once(self.ctx, self.now)

    def dies(self, _: int) -> None:
        plan.plan_batch(self.ctx, self.now)

    def releases(self, _: int) -> None:
        self._allowed(lambda: release.release(self.ctx, NAME, "mara", self.now))

    def corrects(self, _: int) -> None:
        self.version += 1
        publish(self.ctx, self.rules(), self.now)

    def stops(self, number: int) -> None:
        self._allowed(lambda: stopping.stop(self.ctx, self._what(number), "a mistake", "mara", self.now))

    def starts(self, number: int) -> None:
        self._allowed(lambda: stopping.start(self.ctx, self._what(number), "", "mara", self.now))

    def refuses(self, number: int) -> None:
        suppression.suppress(self.ctx, [self.address(number % LEADS)], self.now)
        self.refused.setdefault(self.leads[number % LEADS], self.now)

    def asks(self, number: int) -> None:
        record_signal(self.ctx, self.leads[number % LEADS], SignalKind.REPLIED, self.now)

    def _what(self, number: int) -> str:
        return ALL_TRACKS if number % 3 == 0 else f"broadcasts/{NAME}"

    def _allowed(self, act: Callable[[], object]) -> None:
        try:
            act()
        except InvalidState:
            return  # stopped already, not stopped, or over


_HAPPENINGS = ("passes", "passes", "passes", "dies", "releases", "corrects", "stops", "starts", "refuses", "asks")


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(_HAPPENINGS), st.integers(1, 30)), min_size=4, max_size=14))
def test_once_per_lead_never_after_a_no_and_within_the_caps_whatever_happens(happenings: list[tuple[str, int]]) -> None:
    world = _World()
    for name, number in (("releases", 1), *happenings, ("starts", 1), ("starts", 3), ("passes", 9), ("passes", 24)):
        getattr(world, name)(number)
    sent = defaultdict(list)
    for row in rows(world.ctx, "message"):
        if row.recipient == "lead" and row.accepted_at is not None:
            sent[row.lead_id].append((row.accepted_at, row.kind))
            assert row.accepted_at <= world.refused.get(row.lead_id, row.accepted_at)
    for emails in sent.values():
        assert [kind for _, kind in emails].count("broadcast") <= 1
        times = sorted(at for at, _ in emails)
        assert all(later - earlier >= PER for earlier, later in zip(times, times[CAP:], strict=False))
        assert all(later > earlier for earlier, later in pairwise(times)), "one email to a lead at a time"
    world.ctx.database.engine.dispose()
