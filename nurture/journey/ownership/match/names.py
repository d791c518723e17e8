"""Normalize company names: without accents, punctuation and legal form."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from nurture.domain.plain_text import strip_accents
from nurture.formats.places import country_code
from nurture.formats.tables import read_words


def _split(letters: str) -> list[str]:
    return letters.split()


_CYRILLIC: Final = dict(
    zip(
        "абвгдеёжзийклмнопрстуфхцчшщыэюяіїєґўђјљњћџ",
        _split("a b v g d e e zh z i i k l m n o p r s t u f kh ts ch sh shch y e yu ya i i e g u")
        + _split("dj j lj nj c dz"),
        strict=True,
    )
) | {"ъ": "", "ь": ""}
_GREEK: Final = dict(
    zip("αβγδεζηθικλμνξοπρσςτυφχψω", _split("a v g d e z i th i k l m n x o p r s s t y f ch ps o"), strict=True)
)
_LATIN: Final = {
    "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ħ": "h",
    "\N{LATIN SMALL LETTER DOTLESS I}": "i",
}  # fmt: skip
_LETTERS: Final = str.maketrans(_CYRILLIC | _GREEK | _LATIN)
_WITHIN_WORDS: Final = re.compile("['`\N{ACUTE ACCENT}\N{RIGHT SINGLE QUOTATION MARK}\N{MODIFIER LETTER APOSTROPHE}]")
_BETWEEN_WORDS: Final = re.compile(r"[^\w]+|_+")
_BRACKETED: Final = re.compile(r"\([^)]*\)|\[[^]]*\]")
_UMLAUT: Final = re.compile(r"([aou])e")


@dataclass(frozen=True, slots=True)
class CompanyName:
    """A normalized company name.

    *full* has no legal form. *core* also has no country and no word such as group or holding. *key* is *full* without
    spaces and with one spelling of umlauts.
    """

    full: str
    core: str
    key: str
    core_key: str

    @property
    def is_distinctive(self) -> bool:
        """Return whether two companies are unlikely to share this name: it is neither short nor of common words."""
        words = [word for word in self.core.split() if word not in _COMMON_WORDS]
        return sum(map(len, words)) >= (_MIN_LETTERS_ONE_WORD if len(words) == 1 else _MIN_LETTERS)

    @property
    def initials(self) -> str:
        """Return the initials, by which people may abbreviate the name; "" for fewer than three words."""
        words = self.full.split()
        return "".join(word[0] for word in words) if len(words) > 2 else ""


_LEGAL_FORMS: Final = frozenset(read_words("legal_form"))
"""Legal forms at the end of names; initials are one word, characters such as `&` are omitted."""

_PREFIXES: Final = frozenset(read_words("name_prefix"))
"""Words and legal forms at the beginning of names."""

_CONJUNCTIONS: Final = frozenset(read_words("conjunction"))
"""Joining words that some spellings leave out."""

_COUNTRY_WORDS: Final = frozenset(read_words("country_word"))
"""Words in which the companies of a group differ: country, or a word such as holding."""

_NO_COUNTRIES: Final = frozenset(read_words("no_country"))
"""Words in names that are country codes as well: IT, TV."""

_COMMON_WORDS: Final = {*read_words("generic_word"), *_COUNTRY_WORDS, *" ".join(_LEGAL_FORMS).split()}
"""Words in the names of many companies."""

_MIN_LETTERS_ONE_WORD: Final = 10
_MIN_LETTERS: Final = 8
"""Minimum letters without common words: many companies are named by one word such as Apex, Summit or Meridian."""


@lru_cache(maxsize=65_536)
def parse_name(name: str) -> CompanyName:
    """Normalize a company name; a name of only common words keeps them all."""
    words = _words(_BRACKETED.sub(_keep_countries, name)) or _words(name)
    full = _without_forms(words)
    core = [word for word in full if word not in _COUNTRY_WORDS] or full
    while len(core) > 1 and _is_country(core[-1]):
        core = core[:-1]
    return CompanyName(" ".join(full), " ".join(core), _name_key(full), _name_key(core))


def fold_letters(text: str) -> str:
    """Return *text* in lower-case Latin letters without accents, where letters have such a form."""
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_LETTERS)
    return unicodedata.normalize("NFC", strip_accents(plain)).translate(_LETTERS)


def _keep_countries(found: re.Match[str]) -> str:
    inside = _BETWEEN_WORDS.split(fold_letters(found[0]))
    return found[0] if any(word in _COUNTRY_WORDS or _is_country(word) for word in inside) else " "


def _is_country(word: str) -> bool:
    """Return whether a word at the end of a name is a country or its code, such as in Contoso AU."""
    return word not in _NO_COUNTRIES and country_code(word) is not None


def _words(name: str) -> list[str]:
    text = _WITHIN_WORDS.sub("", fold_letters(name))
    found: list[str] = []
    initials = ""
    words = [word for word in _BETWEEN_WORDS.split(text) if word]
    for position, word in enumerate(words, 1):
        if len(word) == 1 and word.isascii():  # S.p.A., A/S, Sp. z o.o.: single letters form one word
            initials += word
            continue
        if initials and not (found and initials in _CONJUNCTIONS):
            found.append(initials)
        initials = ""
        is_last_country = position == len(words) and found and _is_country(word)  # Contoso DE
        if word not in _CONJUNCTIONS or is_last_country:
            found.append(word)
    return [*found, initials] if initials else found


def _without_forms(words: list[str]) -> list[str]:
    """Remove legal forms at both ends, but never the whole name."""
    rest = words
    while (size := _form_at_end(rest)) and len(rest) > size:
        rest = rest[:-size]
    while len(rest) > 1 and rest[0] in _PREFIXES:
        rest = rest[1:]
    attached = next((form for form in ("株式会社", "有限会社", "有限公司") if form in "".join(rest)), None)
    if attached is not None:
        rest = ["".join(rest).replace(attached, "")] if "".join(rest) != attached else rest
    return rest


def _form_at_end(words: list[str]) -> int:
    for size in (4, 3, 2, 1):
        if len(words) >= size and " ".join(words[-size:]) in _LEGAL_FORMS:
            return size
    return 0


def _name_key(words: list[str]) -> str:
    return _UMLAUT.sub(r"\1", "".join(words))
