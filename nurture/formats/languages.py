"""Names of countries and months in the languages of the mail and files that we read, from Unicode's CLDR."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from babel import Locale

LANGUAGES: Final = ("en", "de", "fr", "es", "it", "nl", "pt", "sv", "da", "nb", "pl")


def fold(text: str) -> str:
    """Return the letters and digits of *text* in lower case, without accents and with "and" for &, for comparison."""
    plain = unicodedata.normalize("NFKD", text.casefold().replace("&", "and"))
    return "".join(letter for letter in plain if letter.isalnum())


@cache
def _locales() -> tuple[Locale, ...]:
    from babel import Locale  # noqa: PLC0415 - loads in a tenth of a second; most files have no such names

    return tuple(Locale.parse(language) for language in LANGUAGES)


@cache
def country_names() -> dict[str, str]:
    """Return country codes by folded name and by alpha-3 code. A name of two countries is left out."""
    from babel.core import get_global  # noqa: PLC0415 - as above

    found: defaultdict[str, set[str]] = defaultdict(set)
    for locale in _locales():
        for code, name in locale.territories.items():
            found[fold(name)].add(code)
    names = {name: codes.pop() for name, codes in found.items() if len(codes) == 1}
    aliases = get_global("territory_aliases")
    return names | {code.lower(): codes[0] for code, codes in aliases.items() if len(code) == 3 and len(codes) == 1}
