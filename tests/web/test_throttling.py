"""Rates, and what counts as one client."""

from __future__ import annotations

import anyio
import pytest

from nurture.web import throttling
from nurture.web.throttling import Allowance, BodyBudget, OverBudget, RateLimiter, client_key


def test_a_rate_allows_a_burst_and_then_its_rate_per_second() -> None:
    rate = RateLimiter(per_second=2, burst=3)
    assert [rate.seconds_until_allowed("a", 100) for _ in range(5)] == [0, 0, 0, 0.5, 0.5]
    assert rate.seconds_until_allowed("b", 100) == 0
    assert [rate.seconds_until_allowed("a", 100.5) for _ in range(2)] == [0, 0.5]
    assert [rate.seconds_until_allowed("a", 1_000) for _ in range(4)] == [0, 0, 0, 0.5]


def test_a_rate_remembers_a_limited_number_of_keys() -> None:
    rate = RateLimiter(per_second=0.001, burst=1)
    for number in range(throttling.MAX_TRACKED_KEYS + 10):
        assert rate.seconds_until_allowed(str(number), 0) == 0
    assert len(rate._free_at) == throttling.MAX_TRACKED_KEYS
    assert rate.seconds_until_allowed(str(throttling.MAX_TRACKED_KEYS), 0) > 0
    assert rate.seconds_until_allowed("0", 0) == 0  # forgotten


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("x" * 5_000, "x" * 64),
        (None, ""),
    ],
)
def test_a_client_is_an_address_or_a_network(host: str | None, key: str) -> None:
    assert client_key(host) == key


def test_bytes_of_complete_bodies_are_not_evicted_and_are_released() -> None:
    budget = BodyBudget(Allowance(max_bytes=30, max_bytes_per_address=20, max_bodies=9, max_bodies_per_address=9))

    async def hold() -> None:
        with budget.body("a") as one, budget.body("b") as other:
            one.reserve(20)
            with pytest.raises(OverBudget):
                one.reserve(1)
            with pytest.raises(OverBudget):
                other.reserve(10)
        assert budget.reserved_bytes == 0
        with budget.body("a") as again:
            again.reserve(20)

    anyio.run(hold)


def test_the_address_with_most_bytes_is_evicted_first() -> None:
    budget = BodyBudget(Allowance(max_bytes=30, max_bytes_per_address=20, max_bodies=9, max_bodies_per_address=9))
    ended: list[str] = []

    async def hold(address: str, size: int) -> None:
        with budget.body(address) as body:
            body.reserve(size)
            try:
                with body.wait_for_data(anyio.current_time() + 60):
                    await anyio.sleep_forever()
            except OverBudget:
                ended.append(address)

    async def fill() -> None:
        async with anyio.create_task_group() as tasks:
            for address, size in (("a", 8), ("a", 8), ("b", 10)):
                tasks.start_soon(hold, address, size)
            await anyio.wait_all_tasks_blocked()
            with budget.body("c") as body:
                body.reserve(10)
                await anyio.wait_all_tasks_blocked()
                assert (ended, budget.reserved_bytes) == (["a"], 28)
            tasks.cancel_scope.cancel()
        assert budget.reserved_bytes == 0

    anyio.run(fill)
