"""Names of countries and months in the languages of the mail and files that we read, from Unicode's CLDR."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from functools import cache
from typing import Final

LANGUAGES: Final = ("en", "de", "fr", "es", "it", "nl", "pt", "sv", "da", "nb", "pl")


def fold(text: str) -> str:
    """Return the letters and digits of *text* in lower case, without accents and with "and" for &, for comparison."""
    plain = unicodedata.normalize("NFKD", text.casefold().replace("&", "and"))
    return "".join(letter for letter in plain if letter.isalnum())


_MONTH_LOCALES: Final = (*LANGUAGES, "de_AT", "es_PE")  # Jänner, setiembre
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
    """Return the numbers of months by their names, long and short, in lower case, with and without accents."""
    from babel.core import Locale  # noqa: PLC0415 - as above

    names = [
        (name.rstrip(".").casefold(), number)
        for months in (Locale.parse(language).months for language in _MONTH_LOCALES)
        for context in ("format", "stand-alone")
        for width in ("wide", "abbreviated")
        for number, name in months[context][width].items()
    ]
    spellings = {spelling: number for name, number in names for spelling in (name, fold(name), name.replace("ä", "ae"))}
    return spellings | _OTHER_MONTHS


def month_number(name: str) -> int | None:
    """Return the number of the month that *name* means, None for another word."""
    return month_numbers().get(name.casefold()) or month_numbers().get(fold(name))
