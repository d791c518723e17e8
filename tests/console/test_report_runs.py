"""Long reports: one computation at a time, shared by who asks meanwhile, and shown with its time."""

from __future__ import annotations

from datetime import timedelta
from threading import Event

from nurture.console.reports.report_runs import FRESH, ReportRuns
from nurture.errors import InvalidState
from tests.journey.builders import START

MINUTE = timedelta(minutes=1)


def test_a_report_that_is_being_computed_is_not_computed_twice() -> None:
    runs, started, release = ReportRuns(), [], Event()

    def compute() -> str:
        started.append(1)
        assert release.wait(20)
        return "figures"

    first, second = (runs.get(("sales",), compute, START, START) for _ in range(2))
    assert first.is_running
    assert second.is_running
    release.set()
    assert first.running is not None
    first.running.result(20)
    assert runs.get(("sales",), compute, START, START).result == "figures"
    assert started == [1]


def test_two_reports_are_computed_one_after_the_other() -> None:
    runs, release, order = ReportRuns(), Event(), []

    def slow() -> str:
        assert release.wait(20)
        order.append("slow")
        return "slow"

    def quick() -> str:
        order.append("quick")
        return "quick"

    first, second = runs.get(("a",), slow, START, START), runs.get(("b",), quick, START, START)
    assert second.is_running
    release.set()
    for one in (first, second):
        assert one.running is not None
        one.running.result(20)
    assert order == ["slow", "quick"]


def test_a_result_is_kept_for_minutes_and_computed_again_when_either_clock_has_moved() -> None:
    runs, times = ReportRuns(), []

    def get(now_after: timedelta, real_after: timedelta) -> int:
        now, real_now = START + now_after, START + real_after
        run = runs.get(("a",), lambda: times.append(now) or len(times), now, real_now)
        if run.running is not None:
            run.running.result(20)
        return len(times)

    assert get(timedelta(), timedelta()) == 1
    assert get(MINUTE, MINUTE) == 1
    assert get(FRESH, MINUTE) == 2
    assert get(FRESH, MINUTE + FRESH) == 3
    assert get(timedelta(), MINUTE + FRESH) == 4  # the clock of another world


def test_an_error_is_shown_and_not_computed_again_at_once() -> None:
    runs, tried = ReportRuns(), []

    def fail() -> None:
        tried.append(1)
        raise InvalidState("There is no measure R0.")

    run = [runs.get(("a",), fail, START, START) for _ in range(2)][-1]
    assert (run.error, run.result, tried) == ("There is no measure R0.", None, [1])
