"""A round of everything: what it costs, and that a second one changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.errors import ClockWentBackwards
from nurture.journey import run_once
from nurture.journey.delivery import claim, send
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.handoff import queue, sla_sweep
from nurture.journey.leads import signal_queries
from nurture.journey.tracks import advance, enroll
from nurture.runtime.context import House
from nurture.simulation.engine import NoMail
from tests.journey.builders import START, add_lead, make_house, tick_at, tiny_rules
from tests.journey.observe import counted, crowd, everything, heard, messages, one, write

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MANY = 2_000


def _costs(house: House, count: int) -> dict[str, int]:
    """Lead *count* new leads all the way to their reps; return how many statements each batch took."""
    sent, answered = START + HOUR, START + 2 * HOUR
    ids = crowd(house, count, title="Head")
    limit = count + 1
    costs: dict[str, int] = {}
    held: list[claim.Held] = []

    def cost(name: str, batch: Callable[[], object]) -> None:
        with counted(house.database) as statements:
            batch()
        costs[name] = len(statements)

    cost("classify", lambda: enroll.classify_batch(house, START, limit))
    cost("advance to a hold", lambda: advance.advance_batch(house, START, limit))
    cost("advance to a touch", lambda: advance.advance_batch(house, sent, limit))
    cost("claim", lambda: held.append(claim.claim_batch(house, sent, limit)))
    cost("send", lambda: send.send_claimed(house, held[-1], VirtualClock(sent)))
    cost("advance behind it", lambda: advance.advance_batch(house, sent, limit))
    with house.database.write() as connection:
        signal_queries.record(
            house.database, connection, [heard(id_, SignalKind.REPLIED, answered) for id_ in ids]
        )
    cost("listen", lambda: engagement_signals.listen_batch(house, answered, limit))
    cost("advance to sales", lambda: advance.advance_batch(house, answered, limit))
    cost("hand off", lambda: queue.offer_batch(house, answered, limit))
    cost("claim briefs", lambda: held.append(claim.claim_batch(house, answered, limit)))
    cost("send briefs", lambda: send.send_claimed(house, held[-1], VirtualClock(answered)))
    offers = one(house, "SELECT count(*) FROM offer WHERE state = 'offered'")
    assert offers == count, "the batches did not do what they are measured for"
    cost("expire", lambda: sla_sweep.climb_batch(house, answered + 2 * DAY, limit))
    house.database.engine.dispose()
    return costs


def test_a_batch_costs_as_many_statements_for_two_thousand_leads_as_for_ten(
    db: Database, tmp_path: Path
) -> None:
    rules = tiny_rules()
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace("capacity: 5", "capacity: 5000")
    house = make_house(db, tmp_path, rules=rules)
    house.provider = NoMail()
    _costs(house, 1)  # what is read once per process is read now
    _clear(house)
    few = _costs(house, 10)
    _clear(house)
    assert _costs(house, MANY) == few
    assert max(few.values()) <= 32


def _clear(house: House) -> None:
    """Put every lead to rest, so that the next ones are alone."""
    write(house, "UPDATE custody SET kind = 'closed', ref = 'lost', due_at = NULL, version = version + 1")


def test_a_second_round_at_the_same_moment_changes_nothing(db: Database, tmp_path: Path) -> None:
    house = make_house(db, tmp_path)
    for title in ("Head", "Clerk", "student"):
        add_lead(house, title=title)
    add_lead(house, demo_requested=True)
    for moment in (START, START + HOUR, START + 2 * HOUR, START + 6 * DAY):
        tick_at(house, moment, moment)
        before = everything(house)
        done = run_once.tick(house, moment)
        assert everything(house) == before
        assert (done.heard, done.classified.total(), done.advanced.leads) == (0, 0, 0)
        assert (done.handed_off.total(), done.delivered.messages) == (0, 0)


def test_a_round_after_a_long_silence_sends_one_touch_per_lead_and_no_more(
    db: Database, tmp_path: Path
) -> None:
    house = make_house(db, tmp_path)
    lead = add_lead(house, title="Head")
    tick_at(house, START, START + 60 * DAY + 2 * HOUR)
    assert [row[:3] for row in messages(house)] == [(lead, "01-hello", "accepted")]


def test_a_clock_set_back_is_refused_and_nothing_is_done(db: Database, tmp_path: Path) -> None:
    house = make_house(db, tmp_path)
    add_lead(house, title="Head")
    tick_at(house, START)
    before = everything(house)
    with pytest.raises(ClockWentBackwards, match="Nothing was done"):
        run_once.tick(house, START - HOUR)
    assert everything(house) == before
