from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.formats.numbers import AmbiguousNumber, DecimalEvidence, read_amount, read_count, read_number
from nurture.formats.rejected_rows import InvalidCell

NBSP, NARROW, MINUS = "\u00a0", "\u202f", "\u2212"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1,200.00", 1200),
        ("1.200,00", 1200),
        ("1,200.5", 1200),
        ("1 200,0", 1200),
        ("2,500.0", 2500),
        ("12,345,678.90", 12_345_678),
        ("1,200", 1200),
        ("1.200", 1200),
        (f"1{NBSP}200", 1200),
        (f"1{NARROW}200", 1200),
        ("1\u2019200", 1200),
        ("1,00,000", 100_000),
        ("21-50", 21),
        ("1,000+", 1000),
        ("51 to 200 employees", 51),
        ("Large (1,000+)", 1000),
        ("1.5k", 1500),
        ("1-5k", 1000),
        ("500-1k", 500),
        ("1e3", 1000),
    ],
)
def test_a_count_is_read_in_every_writing(text: str, count: int) -> None:
    assert read_count(text) == count


@pytest.mark.parametrize(
    "text", ["many", "-5", "(1,200)", "99999999999", "1.234k", "1.2.3", "10-Nov", "Nov-50", "2026-11-10", "1,200,00"]
)
def test_a_count_that_is_not_clear_is_none(text: str) -> None:
    assert read_count(text) is None


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1234", 1234),
        ("51.277,00", 51_277),
        ("1.234,56 €", 1234.56),
        ("US$ 1,200.50", 1200.5),
        ("EUR 1.200,50", 1200.5),
        ("CHF 1'200.-", 1200),
        (f"1{NBSP}234,50 kr.", 1234.5),
        ("R$ 1.000,00", 1000),
        ("₹1,00,000", 100_000),
        ("12k", 12_000),
        ("1.5M", 1_500_000),
        ("1.2 Mio", 1_200_000),
        ("€1,5 Mrd.", 1_500_000_000),
        ("1e3", 1000),
        ("0.123", 0.123),
        ("1234.567", 1234.567),
        ("1 200", 1200),
    ],
)
def test_an_amount_is_read_with_separators_currency_and_magnitude(text: str, amount: float) -> None:
    assert read_amount(text) == amount


@pytest.mark.parametrize("text", ["(1,200.00)", "1200-", "-5", f"{MINUS}5", "$-5", "-$5"])
def test_a_negative_amount_keeps_its_sign_and_is_refused(text: str) -> None:
    assert read_number(text) < 0
    with pytest.raises(InvalidCell, match="out of range for a deal"):
        read_amount(text)


@pytest.mark.parametrize(
    "text", ["", "12%", "5-10", "1.2.3", "1'23", "12 34", "VAT 12", "--5", "12 k k", "9e99", "1,200.00 CR", "about 5"]
)
def test_an_unclear_amount_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(InvalidCell) as caught:
        read_amount(text)
    assert repr(text) in str(caught.value)


def test_an_amount_with_three_decimals_stays_unclear_in_a_column_with_decimals() -> None:
    assert read_amount("12,000", ".") == 12000
    with pytest.raises(InvalidCell, match="not a clear amount"):
        read_amount("1.234", ".")
    with pytest.raises(InvalidCell, match="not a clear amount"):
        read_amount("€ 12,000", ",")


@pytest.mark.parametrize("text", ["12,000", "1.234", "€ 1.500 Mio"])
def test_an_only_separator_before_three_digits_is_decided_by_the_column(text: str) -> None:
    with pytest.raises(AmbiguousNumber, match="thousands or decimals"):
        read_amount(text)
    with_point, with_comma = read_number(text, "."), read_number(text, ",")
    assert max(with_point, with_comma) == 1000 * min(with_point, with_comma)


@pytest.mark.parametrize(
    ("cells", "mark"),
    [
        (["12,000", "1,234.50"], "."),
        (["12.000", "99,50 €"], ","),
        (["1,234,567"], "."),
        (["12,000", "500", ""], None),
        (["1,50", "2.50"], None),
    ],
)
def test_the_decimal_mark_is_inferred_from_the_column(cells: list[str], mark: str | None) -> None:
    evidence = DecimalEvidence()
    for cell in cells:
        evidence.add(cell)
    assert evidence.decimal_mark() == mark


@given(
    st.decimals(0, 10**9, places=2), st.sampled_from([(",", "."), (".", ","), (" ", ","), ("'", "."), (NARROW, ",")])
)
def test_every_way_to_write_two_decimals_is_read_alike(value: object, marks: tuple[str, str]) -> None:
    grouping, decimal = marks
    text = f"{value:,.2f}".replace(",", "g").replace(".", decimal).replace("g", grouping)
    assert read_number(text) == float(str(value))


@given(st.text(max_size=40) | st.text(alphabet="0123456789.,' -()ekM€", max_size=20))
def test_any_text_is_a_number_or_the_documented_error(text: str) -> None:
    read_count(text)
    DecimalEvidence().add(text)
    try:
        read_amount(text)
    except InvalidCell as error:
        assert error.remedy  # noqa: PT017
