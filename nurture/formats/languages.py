"""Names of countries and months in the languages of the mail and files that we read, from Unicode's CLDR."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import cache, lru_cache
from itertools import product
from typing import Final

LANGUAGES: Final = ("en", "de", "fr", "es", "it", "nl", "pt", "sv", "da", "nb", "pl")


def fold(text: str) -> str:
    """Return the letters and digits of *text* in lower case, without accents and with "and" for &, for comparison."""
    plain = unicodedata.normalize("NFKD", text.casefold().replace("&", "and"))
    return "".join(letter for letter in plain if letter.isalnum())


_MONTH_LOCALES: Final = (*LANGUAGES, "de_AT", "es_PE")  # Jänner, setiembre
_EUROPEAN_UNION: Final = (
    *("bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "ga", "hr", "hu", "it", "lt", "lv", "mt", "nl"),
    *("pl", "pt", "ro", "sk", "sl", "sv"),
)
_ENGLISH_WEEKDAYS: Final = frozenset({"mon", "tue", "wed", "thu", "fri", "sat", "sun"})
_WRITTEN: Final = {"nb": "no", "nn": "no"}
_OTHER_MONTHS: Final = {"mrz": 3}
WORDS_LIKE_MONTHS: Final = frozenset(
    {"ago", "des", "gen", "lip", "lis", "mag", "marco", "out", "paz", "set", "sie", "sty"}
)
"""Short names of months that are words or names in another language: in a sentence they need a year."""


@cache
def country_names() -> dict[str, str]:
    """Return country codes by folded name and by alpha-3 code. A name of two countries is left out."""
    from babel.core import Locale, get_global  # noqa: PLC0415 - a tenth of a second, and rarely needed

    found: defaultdict[str, set[str]] = defaultdict(set)
    for language in LANGUAGES:
        for code, name in Locale.parse(language).territories.items():
            found[fold(name)].add(code)
    names = {name: codes.pop() for name, codes in found.items() if len(codes) == 1}
    aliases = get_global("territory_aliases")
    return names | {code.lower(): codes[0] for code, codes in aliases.items() if len(code) == 3 and len(codes) == 1}


@cache
def month_numbers() -> dict[str, int]:
    """Return the numbers of months by their names in `LANGUAGES`, long and short, with and without accents."""
    found: dict[str, int] = {}
    for locale in _MONTH_LOCALES:
        found |= month_numbers_in(locale)
    return found | _OTHER_MONTHS


def _names(kind: str, locale: str) -> list[tuple[str, int]]:
    """Return the names of months or days in one locale, long and short, each with its number."""
    from babel.core import Locale  # noqa: PLC0415 - as above

    named = getattr(Locale.parse(locale), kind)
    forms = product(("format", "stand-alone"), ("wide", "abbreviated"))
    return [(name, n) for context, width in forms for n, name in named.get(context, {}).get(width, {}).items()]


@cache
def month_numbers_in(locale: str) -> dict[str, int]:
    """Return the numbers of months by their names in one locale, long and short, in lower case."""
    names = [(name.rstrip(".").casefold(), number) for name, number in _names("months", locale)]
    return {spelling: number for name, number in names for spelling in (name, fold(name), name.replace("ä", "ae"))}


@cache
def _months_of(languages: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """Return the number of each month name, by folded name and language."""
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for language in languages:
        for name, number in month_numbers_in(language).items():
            found[fold(name)][language] = number
    return found


@cache
def _all_languages() -> tuple[str, ...]:
    from babel.localedata import locale_identifiers  # noqa: PLC0415 - as above

    return tuple(name for name in locale_identifiers() if "_" not in name)


@cache
def _weekdays() -> frozenset[str]:
    return frozenset(fold(name) for language in _all_languages() for name, _ in _names("days", language))


def european_months() -> dict[str, dict[str, int]]:
    """Return the number of each month name of the European Union's languages, by folded name and language."""
    return _months_of(_EUROPEAN_UNION)


def has_other_meaning(name: str) -> bool:
    """Return whether *name* is one month in one language, and another one in another: listopad, lipnia."""
    return len(set(european_months().get(fold(name), {}).values())) > 1


def month_among(name: str, words: Iterable[str]) -> int | None:
    """Return the month that *name* means beside other month names *words*, None if their languages do not decide it."""
    months = european_months()
    found = {
        number
        for language, number in months.get(fold(name), {}).items()
        if all(language in months[word] for word in words)
    }
    return found.pop() if len(found) == 1 else None


def month_of_date(name: str) -> int | None:
    """Return the number of the month that *name* means in a date, in any language; None for another word.

    A name of two months means neither.
    """
    if (number := month_number(name)) or not fold(name).isalpha():
        return number
    found = set(_months_of(_all_languages()).get(fold(name), {}).values())
    return found.pop() if len(found) == 1 else None


def is_weekday(name: str) -> bool:
    """Return whether *name* is a weekday in any language."""
    return name[:3].casefold() in _ENGLISH_WEEKDAYS or fold(name) in _weekdays()


def month_number(name: str) -> int | None:
    """Return the number of the month that *name* means, None for another word."""
    return month_numbers().get(name.casefold()) or month_numbers().get(fold(name))


@lru_cache(maxsize=1_000)
def language_code(text: str) -> str:
    """Return the code of a language by code or name, in any of `LANGUAGES`: de, de-AT, German, Deutsch; else ""."""
    from babel.core import Locale  # noqa: PLC0415 - as above

    code = re.split(r"[-_]", text.strip().casefold())[0]
    known = Locale.parse("en").languages
    if code in known and len(code) == 2:
        return _WRITTEN.get(code, code)
    wanted = fold(text)
    for language in LANGUAGES:
        for found, name in Locale.parse(language).languages.items():
            if len(found) == 2 and fold(name) == wanted:
                return _WRITTEN.get(str(found), str(found))
    return ""


@lru_cache(maxsize=1_000)
def main_language(country: str) -> str:
    """Return the code of the language that most people of a country (a code of two letters) read, "" if unknown."""
    from babel.languages import get_official_languages  # noqa: PLC0415 - as above

    official: tuple[str, ...] = get_official_languages(country.upper(), de_facto=True)
    return official[0].partition("_")[0] if official else ""
