from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flows.supervisor import MAX_BACK_OFF, STABLE_SECONDS, BackOff


def test_a_child_that_keeps_ending_is_started_ever_later_up_to_a_minute() -> None:
    back_off, now, pauses = BackOff(0.0), 0.0, []
    for _ in range(10):
        pauses.append(back_off.plan_restart(now + 1))
        now += 1 + pauses[-1]
        back_off.note_start(now)
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == MAX_BACK_OFF


@given(st.integers(0, 20), st.floats(STABLE_SECONDS, 1e6))
def test_a_child_that_lived_long_is_started_again_at_once(endings: int, lived: float) -> None:
    back_off = BackOff(0.0)
    for _ in range(endings):
        back_off.plan_restart(0.0)
    back_off.note_start(0.0)
    assert back_off.plan_restart(lived) == 1.0
