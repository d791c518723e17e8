from __future__ import annotations

import unicodedata
from calendar import monthrange
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st

from nurture.formats.dates import DateOrderEvidence, DateReader, is_no_date
from nurture.formats.languages import LANGUAGES, month_number
from nurture.formats.purchase_timeframe import Timeframe, read_timeframe


@pytest.mark.parametrize(
    "text",
    [
        "2026-08-05T22:02:33Z",
        "2026-08-05 22:02:33",
        "2026-08-05 22:02:33 UTC",
        "2026-08-06T00:02:33.000+0200",
        "2026/08/05 22:02:33",
        "08/05/2026 10:02:33 PM",
        "Aug 5, 2026 10:02:33 PM",
        "August 5, 2026 at 10:02:33 pm",
        "5 Aug 2026 22:02:33",
        "Wed, 05 Aug 2026 22:02:33 +0000",
        "8/5/26 22:02:33",
        "Aug 5, 2026 06:02:33 PM EDT",
        "1785967353",
        "1785967353000",
        "08/05/2026, 10:02:33 PM",
    ],
)
def test_times_are_parsed_in_many_formats(text: str) -> None:
    assert DateReader(day_first=False)(text) == datetime(2026, 8, 5, 22, 2, 33, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["5.8.2026", "05.08.26", "5/8/2026", "05-08-2026", "5. August 2026", "5 août 2026", "20260805"]
)
def test_dates_are_parsed_in_european_formats(text: str) -> None:
    assert DateReader(day_first=True)(text) == datetime(2026, 8, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["1. März 2026", "1. Maerz 2026", "1er mars 2026", "1º de marzo de 2026", "1 marzo 2026", "1 mrt. 2026",
     "1 de março de 2026", "1 mars 2026", "1. marts 2026", "1 marca 2026", "1. mrz. 26", "1st of March 2026"],
)  # fmt: skip
def test_dates_are_parsed_in_many_languages(text: str) -> None:
    assert DateReader()(text) == datetime(2026, 3, 1, tzinfo=UTC)


@st.composite
def _names_of_months(draw: st.DrawFn) -> tuple[str, int, DateOrderEvidence]:
    locale = Locale.parse(draw(st.sampled_from(LANGUAGES)))
    context, width = draw(st.sampled_from(["format", "stand-alone"])), draw(st.sampled_from(["wide", "abbreviated"]))
    month = draw(st.integers(1, 12))
    name = locale.months[context][width][month]
    column = DateOrderEvidence()
    for other in locale.months[context][width].values():
        column.add(f"3 {other} 2026")
    return draw(st.sampled_from([name, name.upper(), unicodedata.normalize("NFKC", name)])), month, column


@given(_names_of_months(), st.integers(1, 28), st.integers(2000, 2099))
def test_every_name_of_a_month_is_read_in_every_language(
    named: tuple[str, int, DateOrderEvidence], day: int, year: int
) -> None:
    name, month, column = named
    assert month_number(name.rstrip(".")) == month
    for text in (f"{day} {name} {year}", f"{day}. {name} {year}", f"{name} {day}, {year} 00:00"):
        assert DateReader(month_words=column.month_words)(text) == datetime(year, month, day, tzinfo=UTC)
    assert read_timeframe(f"by {name} {year}") == read_timeframe(f"{year}-{month:02}-{monthrange(year, month)[1]}")


@pytest.mark.parametrize(
    "text",
    [
        "14 gennaio",
        "30 februari 2026",
        "31/02/2026",
        "2026-13-01",
        "soon",
        "0001-01-01",
        "9999-12-31",
        "25:00",
        "4",
        "²²²²²²²²",
        "99999999999999999999",
        "2026-08-05 13:00 PM",
        "2026-08-05 10:00 XYZ",
    ],
)
def test_an_invalid_date_raises_an_error_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"write it like|correct the date"):
        DateReader(day_first=True)(text)


def test_an_ambiguous_date_is_not_guessed() -> None:
    with pytest.raises(ValueError, match="day or month first"):
        DateReader()("03/04/2026")
    assert DateReader()("04/04/2026").day == 4
    assert DateReader()("25/04/2026").month == DateReader()("04/25/2026").month == 4


@pytest.mark.parametrize(
    ("cells", "verdict"),
    [
        (["03/04/2026", "25/04/2026"], True),
        (["03/04/2026", "04/25/2026"], False),
        (["03/04/2026"], None),
        (["25/04/2026", "04/25/2026"], None),
        (["03/04/2026 10:00 PM"], False),
        (["2026-01-02"], None),
        ([], None),
    ],
)
def test_the_day_month_order_is_inferred_from_the_column(cells: list[str], verdict: bool | None) -> None:
    evidence = DateOrderEvidence()
    for cell in cells:
        evidence.add(cell)
    assert evidence.is_day_first() is verdict


@pytest.mark.parametrize(
    ("cells", "month"),
    [
        (["5. listopada 2026", "1. rujna 2026"], 10),
        (["5 listopada 2026", "1 września 2026"], 11),
        (["5. listopad 2026", "3. října 2026"], 11),
        (["5. listopada 2026", "2026-09-01"], None),
        (["5. lip. 2026", "7. svi. 2026"], 6),
        (["5 lip 2026", "7 maj 2026", "1 sie 2026"], 7),
        (["5. srp 2026", "1. kol 2026"], 7),
        (["5. listopada 2026", "1. rujna 2026", "1 września 2026"], None),
    ],
)
def test_the_other_months_of_a_column_decide_what_a_name_of_two_months_means(
    cells: list[str], month: int | None
) -> None:
    evidence = DateOrderEvidence()
    for cell in cells:
        evidence.add(cell)
    reader = DateReader(month_words=evidence.month_words)
    if month is None:
        with pytest.raises(ValueError, match="is a different month in another language"):
            reader(cells[0])
    else:
        assert reader(cells[0]).month == month


def test_times_without_a_zone_are_in_the_zone_of_the_mapping() -> None:
    assert DateReader(ZoneInfo("America/Sao_Paulo"))("2026-08-05 10:00") == datetime(2026, 8, 5, 13, tzinfo=UTC)


def test_only_the_given_formats_are_accepted() -> None:
    read = DateReader(formats=("%d/%m/%Y", "%Y%m%d"))
    assert read("03/04/2026") == read("20260403") == datetime(2026, 4, 3, tzinfo=UTC)
    with pytest.raises(ValueError, match="%d/%m/%Y"):
        read("2026-04-03")


@given(
    st.text(max_size=30)
    | st.from_regex(
        r"[0-9]{1,4}[/.-][0-9]{1,2}[/.-][0-9]{1,4}( [0-9]{1,"
        "2}:[0-9]{2} ?[AP]M)?"
    )
)
def test_any_text_is_a_utc_time_or_an_error(text: str) -> None:
    try:
        timestamp = DateReader(day_first=True)(text)
    except ValueError as error:
        assert ";" in str(error)  # noqa: PT017
    else:
        assert timestamp.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "timeframe"),
    [
        ("within 3 months", Timeframe(91)),
        ("Within three months", Timeframe(91)),
        ("3-6 months", Timeframe(182)),
        ("4 to 6 Months", Timeframe(182)),
        ("1 year", Timeframe(365)),
        ("Immediately", Timeframe(0)),
        ("next quarter", Timeframe(182)),
        ("within a month", Timeframe(30)),
        ("< 2 weeks", Timeframe(14)),
        ("Q3 2026", Timeframe(on=date(2026, 9, 30))),
        ("2027 Q1", Timeframe(on=date(2027, 3, 31))),
        ("call me in Q3", Timeframe(on=date(2026, 9, 30))),
        ("Q1", Timeframe(on=date(2027, 3, 31))),
        ("by March 2027", Timeframe(on=date(2027, 3, 31))),
        ("marzo 2027", Timeframe(on=date(2027, 3, 31))),
        ("September", Timeframe(on=date(2026, 9, 30))),
        ("14 gennaio", Timeframe(on=date(2027, 1, 14))),
        ("12 mei", Timeframe(on=date(2027, 5, 12))),
        ("bis 12. Mai", Timeframe(on=date(2027, 5, 12))),
        ("3 de marzo de 2027", Timeframe(on=date(2027, 3, 3))),
        ("31 februari", None),
        ("maybe", None),
        ("not set", None),
        ("2026-11-15", Timeframe(on=date(2026, 11, 15))),
        ("H1 2027", Timeframe(on=date(2027, 6, 30))),
        ("2027", Timeframe(on=date(2027, 12, 31))),
        ("No timeframe", None),
        ("more than 12 months", None),
        ("12+ months", None),
        ("unsure", None),
        ("", None),
    ],
)
def test_a_timeframe_is_the_latest_time_in_the_text(text: str, timeframe: Timeframe | None) -> None:
    assert read_timeframe(text, date(2026, 8, 5)) == timeframe


@given(st.text(max_size=40))
def test_any_text_is_a_timeframe_or_none(text: str) -> None:
    found = read_timeframe(text, date(2026, 8, 5))
    assert found is None or (found.within_days is None) != (found.on is None)


@pytest.mark.parametrize(
    "text",
    ["5 мая 2026 г.", "2026年5月5日", "2026. május 5.", "2026. 5. 5.", "5. 5. 2026", "05-MAY-26", "2026-May-05",  # noqa: RUF001
     "Montag, 5. Mai 2026", "lunes 5 de mayo de 2026", "5 Μαΐου 2026", "٥ مايو ٢٠٢٦", "5 मई 2026", "5 toukokuuta 2026",  # noqa: RUF001
     "5 Mayıs 2026", "5 maja 2026",  # noqa: RUF001
     "5 d\u2019maig de 2026", "46147", "5er mai 2026",
     "mar. 5 mai 2026", "Tue, 05 May 2026", "٢٠٢٦/٠٥/٠٥"],  # noqa: RUF001
)  # fmt: skip
def test_dates_are_parsed_in_the_writing_of_many_countries(text: str) -> None:
    assert DateReader()(text) == datetime(2026, 5, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["5. Mai 2026 14:30 Uhr", "5 mai 2026 à 14h30", "5.5.2026 14.30", "May 5, 2026 2:30 p. m.", "46147.604166666664",
     "May 5, 2026 16:30 Europe/Berlin", "2026-05-05 22:30 SGT", "Tue May 05 2026 16:30:00 GMT+0200",
     "May 5, 2026 08:30 AM (UTC\u221206:00)", "5 May 2026 16:30 MESZ", "2026-05-05 20:15 NPT"],
)  # fmt: skip
def test_times_are_parsed_in_the_writing_of_many_countries_and_zones(text: str) -> None:
    assert DateReader()(text) == datetime(2026, 5, 5, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Europe/Dublin"])
def test_an_abbreviation_of_several_zones_is_decided_by_the_zone_of_the_file(zone: str) -> None:
    text = "May 5, 2026 08:19 AM IST"
    assert DateReader(ZoneInfo(zone))(text) == datetime(2026, 5, 5, 8, 19, tzinfo=ZoneInfo(zone))
    with pytest.raises(ValueError, match="the time zone IST has several meanings; name the zone of the file"):
        DateReader()(text)


@pytest.mark.parametrize(
    ("text", "empty"),
    [("0000-00-00", True), ("0000-00-00 00:00:00", True), ("1900-01-01", True), ("01/01/1900", True), ("0", True),
     ("0001-01-01T00:00:00", True), ("1899-12-30", True), ("1900-02-01", False), ("2026-01-01", False), ("10", False)],
)  # fmt: skip
def test_what_systems_write_for_no_date_is_recognized(text: str, empty: bool) -> None:
    assert is_no_date(text) is empty
