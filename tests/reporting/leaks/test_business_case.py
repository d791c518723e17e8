"""The business case: intervals against known values, which win rate is one, and what a person may give."""

from __future__ import annotations

from datetime import UTC, datetime
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.errors import InvalidState
from nurture.reporting.leaks.business_case import Range, make_case, mean_range, parse_range, wilson
from nurture.reporting.leaks.facts import DealFacts, Ending, LeadFacts, OwnerKind, Touch

AT = datetime(2026, 3, 1, tzinfo=UTC)


def _lead(number: int, touch: Touch = Touch.RECORDED, ending: Ending = Ending.OPEN) -> LeadFacts:
    hashes = number, 1_000 + number, 0, 0, 0
    return LeadFacts(0, number, 1, *hashes, "Mara", OwnerKind.PERSON, AT, touch, False, None, ending)


def _deal(number: int, outcome: str, amount: float | None, *leads: int, currency: str = "") -> DealFacts:
    return DealFacts(1, number, outcome, amount, currency, leads)


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (34, 412, 0.0597, 0.1131), (10, 10, 0.7225, 1.0)],
)
def test_a_share_has_the_wilson_interval_of_the_tables(count: int, total: int, low: float, high: float) -> None:
    found = wilson(count, total)
    assert found == pytest.approx((low, count / total, high), abs=6e-5)


@pytest.mark.parametrize(("number", "quantile"), [(5, 2.776), (10, 2.262), (30, 2.045), (1_001, 1.962)])
def test_a_mean_has_the_interval_of_students_t(number: int, quantile: float) -> None:
    amounts = [1_000.0 + 10 * (step % 7) for step in range(number)]
    found = mean_range(amounts)
    assert found.mid == fmean(amounts)
    assert (found.high - found.mid) / (stdev(amounts) / number**0.5) == pytest.approx(quantile, rel=0.01)


@given(st.lists(st.floats(1, 1e9), min_size=1, max_size=40), st.integers(0, 50), st.integers(0, 50))
def test_ranges_are_ordered_and_within_what_is_possible(amounts: list[float], count: int, more: int) -> None:
    low, mid, high = mean_range(amounts)
    assert min(amounts) <= low * (1 + 1e-9)
    assert low <= mid * (1 + 1e-9)
    assert mid <= high * (1 + 1e-9)
    if count + more:
        share = wilson(count, count + more)
        assert 0 <= share.low <= share.mid + 1e-12
        assert share.mid <= share.high + 1e-12 <= 1 + 1e-9


def test_a_deal_counts_for_the_first_lead_that_it_names_and_a_lead_counts_once() -> None:
    leads = [_lead(number) for number in range(1, 11)]
    deals = [_deal(1, "won", 100, 2, 3), _deal(2, "won", 300, 2), _deal(3, "lost", 500, 4), _deal(4, "open", None, 5)]
    case = make_case(20, leads, deals)
    assert case.win_rate is not None
    assert case.win_rate.value.mid == pytest.approx(1 / 10)
    assert case.deal_value is not None
    assert case.deal_value.value == Range(100, 200, 300)
    assert case.value is not None
    assert case.value.mid == pytest.approx(20 * 0.1 * 200)


def test_customers_without_a_deal_are_no_worked_leads_where_deals_say_who_was_won() -> None:
    leads = [_lead(1), _lead(2), _lead(3, Touch.BY_STATUS, Ending.WON)]
    case = make_case(5, leads, [_deal(1, "won", 100, 1)])
    assert case.win_rate is not None
    assert case.win_rate.source.startswith("1 of 2 leads")


def test_the_win_rate_of_deals_is_never_taken_for_that_of_leads() -> None:
    deals = [_deal(1, "won", 100, 777), _deal(2, "lost", 100)]
    case = make_case(5, [_lead(1), _lead(2, Touch.NEVER)], deals)
    assert case.win_rate is None
    assert case.deal_win_rate is not None
    assert "says nothing about leads" in case.missing[0]
    converted = make_case(5, [_lead(1), _lead(2, ending=Ending.CONVERTED)], deals)
    assert converted.win_rate is not None
    assert converted.win_rate.value.mid == pytest.approx(1 / 2 * 1 / 2)


def test_currencies_are_never_added_up() -> None:
    deals = [_deal(number, "won", 100.0, 1, currency="EUR") for number in range(3)]
    deals += [_deal(9, "won", 9e6, 1, currency="JPY")]
    case = make_case(5, [_lead(1)], deals)
    assert case.currency == "EUR"
    assert case.deal_value is not None
    assert case.deal_value.value == Range(100, 100, 100)
    assert "1 won deals in other currencies" in case.deal_value.remark


@pytest.mark.parametrize(
    ("text", "percent", "value"),
    [
        ("4%", True, (0.04, 0.04, 0.04)), ("3%-6%", True, (0.03, 0.045, 0.06)), ("0.05", True, (0.05, 0.05, 0.05)),
        ("12000", False, (12_000, 12_000, 12_000)), ("8k-20k", False, (8_000, 14_000, 20_000)),
    ],
)  # fmt: skip
def test_inputs_are_values_or_ranges(text: str, percent: bool, value: tuple[float, float, float]) -> None:
    assert parse_range(text, percent=percent) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "percent"), [("140%", True), ("4", True), ("6%-3%", True), ("much", False), ("", False), ("1-2-3", False)]
)
def test_other_inputs_are_refused_with_an_example(text: str, percent: bool) -> None:
    with pytest.raises(InvalidState, match="Write it as"):
        parse_range(text, percent=percent)
