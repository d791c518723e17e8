"""Find country codes and time zones for place names as people write them."""

from __future__ import annotations

import unicodedata
from functools import cache, lru_cache
from importlib import resources

from nurture.formats.countries import CODES, VARIANTS
from nurture.formats.regions import CITIES, CITY_REGIONS, MAIN_ZONE, REGIONS


@lru_cache(maxsize=4096)
def country_code(text: str) -> str | None:
    """Return the ISO 3166 alpha-2 code that *text* (a name or code) means, or None."""
    return _countries().get(_normalize_place(text))


@lru_cache(maxsize=16384)
def zone_for(country: str | None, region: str | None = None, city: str | None = None) -> str | None:
    """Return the IANA zone of a place; without a known region, the most populous zone of the country.

    None when the country is unknown or has no inhabited zone.
    """
    code = country_code(country) if country else None
    if code is None:
        return None
    return _city_zone(code, region, city) or _region_zone(code, region) or _main_zones().get(code)


@lru_cache(maxsize=1024)
def is_zone(name: str) -> bool:
    """Return whether *name* is an IANA zone, spelled exactly."""
    return name in _zone_names()


@cache
def _zone_names() -> frozenset[str]:
    text = resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8")
    return frozenset(text.split()) - {"Factory"}


@cache
def _countries() -> dict[str, str]:
    pairs = CODES.split()
    names: dict[str, str] = {}
    for code, name in (line.split("\t") for line in _read_tzdata_table("iso3166.tab")):
        names[_normalize_place(name)] = code
    for code, variants in VARIANTS.items():
        names.update((_normalize_place(variant), code) for variant in variants.split(","))
    for code, long_code in zip(pairs[::2], pairs[1::2], strict=True):
        names[code.lower()] = names[long_code.lower()] = code
    return names


@cache
def _main_zones() -> dict[str, str]:
    zones: dict[str, str] = {}
    for line in _read_tzdata_table("zone.tab"):
        code, _, zone = line.split("\t")[:3]
        zones.setdefault(code, zone)
    return zones | MAIN_ZONE


@cache
def _region_zones() -> dict[tuple[str, str], str]:
    return {
        (code, _normalize_place(name)): zone
        for code, zones in REGIONS.items()
        for zone, names in zones.items()
        for name in names.split(",")
    }


def _region_zone(code: str, region: str | None) -> str | None:
    if not region:
        return None
    name = _normalize_place(region)
    # ISO 3166-2 codes include the country: US-CA.
    subdivision = name[2:] if region.strip().upper().startswith(f"{code}-") else name
    zones = _region_zones()
    return zones.get((code, name)) or zones.get((code, subdivision))


def _city_zone(code: str, region: str | None, city: str | None) -> str | None:
    if not city:
        return None
    name = _normalize_place(city)
    regions = CITY_REGIONS.get(name)
    if regions is not None and _normalize_place(region or "") not in regions:
        return None
    return CITIES.get((code, name))


def _read_tzdata_table(name: str) -> list[str]:
    text = resources.files("tzdata").joinpath("zoneinfo", name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _normalize_place(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.casefold().replace("&", "and"))
    return "".join(letter for letter in plain if letter.isalnum())


@cache
def countries() -> tuple[tuple[str, str], ...]:
    """Return every country's code and English name, in the order of the names."""
    rows = [line.split("\t") for line in _read_tzdata_table("iso3166.tab")]
    return tuple(sorted(((code, name) for code, name, *_ in rows), key=lambda row: row[1]))
