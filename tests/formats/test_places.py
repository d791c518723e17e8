from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.formats.places import country_code, country_name, is_zone, name_countries, zone_for
from nurture.formats.tables import read_table


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("DE", "DE"),
        ("deu", "DE"),
        ("Deutschland", "DE"),
        ("U.S.A.", "US"),
        ("United States of America", "US"),
        ("UK", "GB"),
        ("England", "GB"),
        ("Côte d'Ivoire", "CI"),
        ("Korea, Republic of", "KR"),
        ("Türkiye", "TR"),
        ("Bosnia and Herzegovina", "BA"),
        ("Czechia", "CZ"),
        ("Viet Nam", "VN"),
        ("Suède", "SE"),
        ("Østrig", "AT"),
        ("Stati Uniti", "US"),
        ("Kongo", None),  # two countries, in Polish and in Norwegian
        ("Welt", None),
        ("Atlantis", None),
        ("", None),
    ],
)
def test_a_country_is_found_by_names_and_codes(text: str, code: str | None) -> None:
    assert country_code(text) == code


def test_people_read_the_names_of_countries() -> None:
    assert [country_name(one) for one in ("AT", "GB", "Atlantis", "XX", "")] == [
        "Austria",
        "United Kingdom",
        "Atlantis",
        "XX",
        "",
    ]
    reason = "not true that country in DK, FI; country is CH and title contains VP; country is known; region is AT"
    assert name_countries(reason) == (
        "not true that country in Denmark, Finland; country is Switzerland and title contains VP; "
        "country is known; region is AT"
    )


@pytest.mark.parametrize(
    ("country", "region", "city", "zone"),
    [
        ("Germany", None, None, "Europe/Berlin"),
        ("FR", "Bretagne", None, "Europe/Paris"),
        ("US", None, None, "America/New_York"),
        ("US", "CA", None, "America/Los_Angeles"),
        ("US", "US-TX", None, "America/Chicago"),
        ("US", "Texas", "El Paso", "America/Denver"),
        ("US", "New York", "Gary", "America/New_York"),
        ("CA", "CA", None, "America/Toronto"),
        ("Canada", "Québec", None, "America/Toronto"),
        ("Canada", "BC", None, "America/Vancouver"),
        ("AU", "WA", None, "Australia/Perth"),
        ("BR", "AM", None, "America/Manaus"),
        ("BR", None, None, "America/Sao_Paulo"),
        ("MX", "BC", None, "America/Tijuana"),
        ("Russia", "Omsk", None, "Asia/Omsk"),
        ("ID", "Bali", None, "Asia/Makassar"),
        ("KZ", "Aktobe", None, "Asia/Aqtobe"),
        ("ES", "Canarias", None, "Atlantic/Canary"),
        (None, "CA", None, None),
        ("Atlantis", None, None, None),
    ],
)
def test_a_place_has_a_time_zone(country: str | None, region: str | None, city: str | None, zone: str | None) -> None:
    assert zone_for(country, region, city) == zone


def test_every_zone_in_the_tables_exists() -> None:
    zones = {row["zone"] for row in read_table("zones.csv")}
    assert [zone for zone in zones if not is_zone(zone)] == []


def test_every_country_in_the_tables_exists() -> None:
    codes = {row["country"] for table in ("zones.csv", "country_names.csv") for row in read_table(table)}
    assert [code for code in codes if country_code(code) != code] == []


@pytest.mark.parametrize("name", ["Europe/Atlantis", "europe/berlin", "", "../../etc/passwd", "Factory"])
def test_a_zone_that_does_not_exist_is_refused(name: str) -> None:
    assert not is_zone(name)


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_any_text_returns_an_existing_zone_or_none(country: str, region: str, city: str) -> None:
    zone = zone_for(country, region, city)
    assert zone is None or is_zone(zone)
