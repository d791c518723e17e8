"""Test the loop of every stage."""

from __future__ import annotations

from nurture.runtime.batches import drain


def test_batches_follow_each_other_until_one_is_not_full() -> None:
    sizes = iter([3, 3, 1, 3])
    assert list(drain(lambda: next(sizes), lambda done: done == 3)) == [3, 3, 1]


def test_the_next_batch_begins_after_the_last_one_was_used() -> None:
    steps: list[str] = []

    def make() -> int:
        steps.append("made")
        return len(steps)

    results = drain(make, lambda done: done < 3)
    steps.append(f"used {next(results)}")
    steps.append(f"used {next(results)}")
    assert steps == ["made", "used 1", "made", "used 3"]
    assert list(results) == []


def test_a_stop_ends_it_between_two_batches_and_asks_for_no_more() -> None:
    asked: list[int] = []
    assert list(drain(lambda: 1, lambda done: bool(asked.append(done)) or True, lambda: True)) == [1]
    assert asked == []
