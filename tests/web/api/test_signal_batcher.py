"""Concurrent batches of signals are written together; each caller gets its own result and its own errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from typing import Any

from nurture.journey.intake.api.batches import BatchResult
from nurture.web.api.signal_batcher import SignalBatcher
from tests.journey.observe import recorded_statements
from tests.web.world import NOW, World

THEN = (NOW - timedelta(hours=1)).isoformat()


def visit(id_: str, who: str = "mia", **more: Any) -> dict[str, Any]:
    return {"lead": {"email": f"{who}@people.example"}, "kind": "visited", "occurred_at": THEN, "id": id_} | more


def counts_of(result: BatchResult) -> tuple[int, int, int, list[int]]:
    return (result.received, result.counts["new"], result.counts["known"], [one.index for one in result.rejected])


def together(world: World, *batches: list[Any]) -> tuple[list[BatchResult], list[str]]:
    """Post *batches* while another transaction writes; return each result, and the SQL statements."""
    taking = SignalBatcher(world.ctx, world.clock)
    with ThreadPoolExecutor(len(batches)) as pool, recorded_statements(world.ctx.database) as seen:
        with taking._write_lock:
            posts = [pool.submit(taking.post, batch) for batch in batches]
            while len(taking._pending) < len(batches):
                Event().wait(0.001)
        return [one.result() for one in posts], seen


def test_waiting_batches_are_written_together_and_each_gets_its_own_result(sqlite_world: World) -> None:
    before = [visit(f"{n}") for n in range(12)]
    found, seen = together(
        sqlite_world,
        *([one] for one in before),
        [visit("a"), {"no": "signal"}, visit("b", "noor"), visit("a")],
        [visit("c", "nobody")],
    )
    assert [counts_of(one) for one in found[:12]] == [(1, 1, 0, [])] * 12
    assert [counts_of(one) for one in found[12:]] == [(4, 2, 1, [1]), (1, 0, 0, [0])]
    assert sum(one.startswith("BEGIN IMMEDIATE") for one in seen) == 2  # recorded, then applied
    assert sqlite_world.value("SELECT count(*) FROM signal WHERE source = 'api'") == 14


def test_the_same_signal_in_two_batches_is_new_once(world: World) -> None:
    found, _ = together(world, [visit("a")], [visit("a")], [visit("a"), visit("b")])
    assert sum(one.counts["new"] for one in found) == 2
    assert sum(one.counts["known"] for one in found) == 2


def test_batches_are_combined_up_to_the_limit(sqlite_world: World) -> None:
    _, seen = together(sqlite_world, *([visit(f"{n}-{i}") for i in range(400)] for n in range(5)))
    assert sum(one.startswith("BEGIN IMMEDIATE") for one in seen) == 2 * 3


def test_an_error_in_one_batch_does_not_affect_others(sqlite_world: World) -> None:
    class Broken(dict[str, Any]):
        def items(self) -> Any:
            raise MemoryError

    taking = SignalBatcher(sqlite_world.ctx, sqlite_world.clock)
    with ThreadPoolExecutor(3) as pool:
        with taking._write_lock:
            posts = [pool.submit(taking.post, [one]) for one in (visit("a"), Broken(visit("x")), visit("b"))]
            while len(taking._pending) < 3:
                Event().wait(0.001)
        assert isinstance(posts[1].exception(), MemoryError)
        assert [counts_of(posts[n].result()) for n in (0, 2)] == [(1, 1, 0, [])] * 2
