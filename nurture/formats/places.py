"""Find country codes and time zones for place names as people write them."""

import re
from collections import defaultdict
from datetime import datetime, timedelta
from functools import cache, lru_cache
from importlib import resources
from typing import Final
from zoneinfo import ZoneInfo

from nurture.formats.languages import country_names, fold
from nurture.formats.tables import read_table, read_words, split_cell

_CODES_IN_REASONS: Final = re.compile(r"(?<=\bcountry )((?:not )?(?:is|in) )([A-Z]{2}(?:, [A-Z]{2})*)\b")


@lru_cache(maxsize=1024)
def country_name(code: str) -> str:
    """Return the English name of a country code; a text that is none stays as it is."""
    from babel.core import Locale  # noqa: PLC0415 - a tenth of a second, and rarely needed

    return str(Locale.parse("en").territories.get(code, code)) if code in _codes() else code


def name_countries(reason: str) -> str:
    """Return the reason of a condition with names instead of codes: "country is Germany"."""
    return _CODES_IN_REASONS.sub(lambda found: found[1] + ", ".join(map(country_name, found[2].split(", "))), reason)


@lru_cache(maxsize=4096)
def country_code(text: str) -> str | None:
    """Return the ISO 3166 alpha-2 code that *text* (a name or code) means, or None."""
    name = fold(text)
    code = _common_names().get(name) or (country_names().get(name) if name else None)
    return code if code in _codes() else None


@lru_cache(maxsize=16384)
def zone_for(country: str | None, region: str | None = None, city: str | None = None) -> str | None:
    """Return the IANA zone of a place; without a known region, the most populous zone of the country.

    None when the country is unknown or has no inhabited zone.
    """
    code = country_code(country) if country else None
    if code is None:
        return None
    # ISO 3166-2 codes include the country: US-CA.
    regions = [fold(text) for text in ((region or "").strip(), (region or "").strip().upper().removeprefix(f"{code}-"))]
    places = [(fold(city or ""), name) for name in (*regions, "")] + [("", name) for name in (*regions, "")]
    return next((zone for place in places if (zone := _zones().get((code, *place)))), None)


@lru_cache(maxsize=1024)
def is_zone(name: str) -> bool:
    """Return whether *name* is an IANA zone, spelled exactly."""
    return name in _zone_names()


@lru_cache(maxsize=1024)
def zone_name(name: str) -> str | None:
    """Return the IANA zone that *name* spells in any case."""
    return _zones_by_lower_name().get(name.casefold())


@lru_cache(maxsize=1024)
def zone_offsets(abbreviation: str) -> frozenset[timedelta]:
    """Return the offsets that an abbreviation such as CET or IST (capitals) stands for."""
    if hours := read_words("offset").get(abbreviation.lower()):
        return frozenset({timedelta(hours=float(hours))})
    return frozenset(_abbreviations().get(abbreviation, ()))


@cache
def _zones_by_lower_name() -> dict[str, str]:
    return {name.casefold(): name for name in _zone_names()}


@cache
def _abbreviations() -> dict[str, set[timedelta]]:
    """Return the offsets of each abbreviation that a zone has in a winter or a summer of now."""
    found: defaultdict[str, set[timedelta]] = defaultdict(set)
    for name in _zone_names():
        for month in (1, 7):
            at = datetime(2026, month, 1, tzinfo=ZoneInfo(name))
            found[at.tzname() or ""].add(at.utcoffset() or timedelta())
    return found


@cache
def countries() -> tuple[tuple[str, str], ...]:
    """Return every country's code and English name, in the order of the names."""
    rows = [line.split("\t") for line in _read_tzdata_table("iso3166.tab")]
    return tuple(sorted(((code, name) for code, name, *_ in rows), key=lambda row: row[1]))


@cache
def _zone_names() -> frozenset[str]:
    text = resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8")
    return frozenset(text.split()) - {"Factory"}


@cache
def _codes() -> frozenset[str]:
    return frozenset(code for code, _ in countries())


@cache
def _common_names() -> dict[str, str]:
    names = {fold(name): code for code, name in countries()}
    names |= {fold(row["name"]): row["country"] for row in read_table("country_names.csv")}
    return names | {code.lower(): code for code in _codes()}


@cache
def _zones() -> dict[tuple[str, str, str], str]:
    """Return zones by country code, folded city and folded region; "" for any city, and any region."""
    zones: dict[tuple[str, str, str], str] = {}
    for code, _, zone, *_ in (line.split("\t") for line in _read_tzdata_table("zone.tab")):
        zones.setdefault((code, "", ""), zone)
    for row in read_table("zones.csv"):
        for region in split_cell(row["regions"]) or ("",):
            zones[row["country"], fold(row["city"]), fold(region)] = row["zone"]
    return zones


def _read_tzdata_table(name: str) -> list[str]:
    text = resources.files("tzdata").joinpath("zoneinfo", name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]
