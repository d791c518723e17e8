"""The sales report counts what reps did with hand-offs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.errors import InvalidState
from nurture.journey.handoff import responses
from nurture.reporting.sales import SalesReport, percentile, report_sales
from nurture.reporting.sales_rates import SalesRate
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, close_lead, make_context, run_at, sample_rules
from tests.journey.observe import recorded_statements

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def _rate(found: SalesReport, name: str) -> SalesRate:
    return next(rate for rate in found.rates if rate.name == name)


def test_every_hand_off_is_counted_with_what_became_of_it(ctx: AppContext) -> None:
    leads = [add_lead(ctx, demo_requested=True, source="fair") for _ in range(3)]
    run_at(ctx, START)
    responses.accept(ctx, 1, START + 2 * HOUR)
    responses.reject(ctx, 2, "not-now", START + 4 * HOUR)
    close_lead(ctx, leads[0], Closing.WON, START + 5 * DAY, amount=1_200.0)
    found = report_sales(ctx, START + 40 * DAY)
    assert (found.handed_off, found.still_open) == (3, 1)
    assert [(one.handed_off, one.accepted, one.rejected, one.won) for one in found.rules] == [(3, 1, 1, 1)]
    assert found.rules[0].acceptance == 0.5
    assert [(code, number) for code, _, number in found.reasons] == [("not-now", 1)]
    assert (found.time_to_owner.leads, found.time_to_owner.p50) == (1, 2.0)
    assert sum(one.amount for one in found.reps) == 1_200.0
    assert [(month.handed_off, month.accepted, month.won) for month in found.months] == [(3, 1, 1)]
    assert _rate(found, "reached").count == 1
    parts = [_rate(found, name) for name in ("followed up", "contact not known", "never followed up")]
    assert [(part.count, part.total) for part in parts] == [(1, 3), (1, 3), (1, 3)]
    assert (_rate(found, "loop closed in 30 days").count, _rate(found, "loop closed in 30 days").total) == (2, 3)
    assert _rate(found, "loop closed in 90 days").share is None
    assert found.wins.wins == 1


def test_a_step_that_hands_off_is_named_by_its_reason(sqlite_db: Database, tmp_path: Path) -> None:
    rules = sample_rules()
    step = "steps:\n  - hand_off: finished the trial\n"
    rules["tracks/welcome/track.yaml"] = rules["tracks/welcome/track.yaml"].replace("steps:\n", step)
    ctx = make_context(sqlite_db, tmp_path, rules=rules)
    add_lead(ctx, title="Head")
    run_at(ctx, START)
    assert [(one.label, one.handed_off) for one in report_sales(ctx, START).rules] == [("finished the trial", 1)]


def test_days_and_sources_narrow_the_report(ctx: AppContext) -> None:
    add_lead(ctx, demo_requested=True, source="fair")
    add_lead(ctx, demo_requested=True, source="web")
    run_at(ctx, START)
    assert report_sales(ctx, START, source="fair").handed_off == 1
    assert report_sales(ctx, START, since=START.date(), until=START.date()).handed_off == 2
    assert report_sales(ctx, START, since=(START + DAY).date()).handed_off == 0
    assert report_sales(ctx, START, until=(START - DAY).date()).handed_off == 0


def test_wins_are_narrowed_as_the_hand_offs_are(ctx: AppContext) -> None:
    won = START + 5 * DAY
    for source in ("fair", "web", "web"):
        close_lead(ctx, add_lead(ctx, source=source), Closing.WON, won, happened_at=won)
    end = won + DAY
    assert report_sales(ctx, end).wins.wins == 3
    assert report_sales(ctx, end, source="web").wins.wins == 2
    assert report_sales(ctx, end, source="nowhere").wins.wins == 0
    assert report_sales(ctx, end, since=won.date(), until=won.date()).wins.wins == 3
    assert report_sales(ctx, end, since=end.date()).wins.wins == 0
    assert report_sales(ctx, end, until=(won - DAY).date()).wins.wins == 0


def test_a_report_that_ends_before_it_begins_is_refused(ctx: AppContext) -> None:
    with pytest.raises(InvalidState, match="Swap the two days"):
        report_sales(ctx, START, since=START.date(), until=(START - DAY).date())


def test_a_database_without_hand_offs_has_a_report_too(ctx: AppContext) -> None:
    found = report_sales(ctx, START)
    assert (found.handed_off, found.rules, found.reps, found.months) == (0, (), (), ())
    assert all(rate.share is None for rate in found.rates)


def test_the_report_costs_the_same_number_of_statements_however_many_hand_offs(ctx: AppContext) -> None:
    def cost(count: int) -> int:
        for _ in range(count):
            add_lead(ctx, demo_requested=True)
        run_at(ctx, START)
        with recorded_statements(ctx.database) as executed:
            report_sales(ctx, START)
        return len(executed)

    assert cost(1) == cost(6)


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([], 0.5) is None
    assert percentile([3.0], 0.95) == 3.0
    assert [percentile([1.0, 2.0, 3.0, 4.0], part) for part in (0.25, 0.5, 0.95)] == [1.0, 2.0, 4.0]
