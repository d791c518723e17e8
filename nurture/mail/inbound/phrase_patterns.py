"""Read the phrases of each language in `phrases/`, and search texts for them.

A file lists, by class of replies, rules such as "remove|take + {me} + {list}": a sentence matches if it contains one
phrase of every term, in any order and close together. `{name}` stands for a list under `words`, and "any|more > mails"
for "any mails" and "more mails". A phrase is whole words; an asterisk in it stands for any letters. In
languages that write without spaces (`spaces: no`) or attach words to others (`borders: no`) a phrase matches anywhere.
Rules of `possible_opt_out` are weak signs: a reply with one is not handed off before a person has read it.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import chain, islice, product
from pathlib import Path
from typing import Any, Final, NamedTuple

_FOLDER: Final = Path(__file__).parent / "phrases"
_KIND: Final = re.compile(r"\{([a-z_]{1,30})\}")
_MARKS: Final = re.compile(r"[\u0300-\u036f\u0591-\u05c7\u064b-\u0655\u0670]++")
_OTHER: Final = re.compile(r"[\W_]++")
_PLAIN_LETTERS: Final = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ħ": "h", "\u0131": "i", "æ": "ae", "œ": "oe", "ð": "d", "\u0640": None}
)
MAX_DISTANCE: Final = 80
"""Characters between the terms of a rule."""

_START_LENGTH: Final = 6
_ASTERISK: Final = "\u16ee"
"""A rare letter that stands for the asterisk while a phrase is normalized."""

_MAX_OCCURRENCES: Final = 20
"""Occurrences of a phrase in a sentence that are tried."""

REGEX_KINDS: Final = frozenset({"wrote_start", "wrote", "original_message", "from", "sent", "signature"})
"""Lists of regular expressions, for `PhrasePattern`; the others are plain phrases."""


@cache
def languages() -> tuple[str, ...]:
    """Return the languages that have a file, in order."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


@cache
def load_phrases(language: str) -> Mapping[str, Any]:
    """Return the content of a language's file."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - where mail is read

    found: Mapping[str, Any] = YAML(typ="safe").load((_FOLDER / f"{language}.yaml").read_text("utf-8"))
    return found


@dataclass(frozen=True)
class PhrasePattern:
    """A regular expression in which `{kind}` stands for the expressions of that kind in all or *only* some languages.

    It ignores case. It is compiled at first use, because most processes read no mail.
    """

    template: str
    only: tuple[str, ...] = ()

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        """Return the compiled expression."""
        pattern = _KIND.sub(lambda found: "|".join(self._phrases(found[1])) or "(?!)", self.template)
        return re.compile(pattern, re.IGNORECASE)

    def _phrases(self, kind: str) -> dict[str, None]:
        return dict.fromkeys(
            phrase for language in self.only or languages() for phrase in load_phrases(language).get(kind, ())
        )  # without duplicates, in order


def normalize(text: str) -> str:
    """Return the words of *text* in lower case, without accents and punctuation, each between spaces."""
    plain = _MARKS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    return f" {_OTHER.sub(' ', unicodedata.normalize('NFC', plain).translate(_PLAIN_LETTERS)).strip()} "


class Sentence(NamedTuple):
    """A normalized text, and the same without spaces."""

    text: str
    squeezed: str

    @classmethod
    def of(cls, text: str) -> "Sentence":
        """Normalize *text*."""
        normal = normalize(text)
        return cls(normal, normal.replace(" ", ""))


class Phrase(NamedTuple):
    """A phrase as it is searched, with its borders as spaces. An inner asterisk stands for any letters."""

    text: str
    squeezed: bool = False

    @property
    def words(self) -> str:
        """Return the phrase without its borders."""
        return self.text.strip()

    @property
    def start(self) -> str:
        """Return the letters that it is looked up by."""
        return self.text.partition("*")[0][:_START_LENGTH]

    def is_in(self, sentence: Sentence) -> bool:
        """Return whether the sentence contains it."""
        return any(True for _ in self.positions(sentence))

    def positions(self, sentence: Sentence) -> Iterator[int]:
        """Yield where it occurs, the first few."""
        text = sentence.squeezed if self.squeezed else sentence.text
        if "*" in self.text:
            found = _compile_phrase(self).finditer(text)
            yield from (match.start() for match in islice(found, _MAX_OCCURRENCES))
            return
        at = text.find(self.text)
        for _ in range(_MAX_OCCURRENCES):
            if at < 0:
                return
            yield at
            at = text.find(self.text, at + 1)


@cache
def _compile_phrase(phrase: Phrase) -> re.Pattern[str]:
    """Return the expression of a phrase with an inner asterisk, which without spaces stands for a few letters."""
    letters = r"\w{0,8}" if phrase.squeezed else r"\w*+"
    return re.compile(letters.join(map(re.escape, phrase.text.split("*"))))


@lru_cache(maxsize=16)
def _starts(text: str) -> frozenset[str]:
    """Return the parts of a text that a phrase may be looked up by; each text is searched for several kinds of them."""
    return frozenset(text[at : at + length] for at in range(len(text)) for length in range(1, _START_LENGTH + 1))


class PhraseIndex:
    """Phrases by their first letters. Thousands are not searched one by one: those of a text are looked up."""

    def __init__(self, phrases: Iterable[Phrase]) -> None:
        self._by_start: dict[bool, dict[str, list[Phrase]]] = {False: {}, True: {}}
        for one in phrases:
            self._by_start[one.squeezed].setdefault(one.start, []).append(one)
        self._starts = {squeezed: frozenset(by_start) for squeezed, by_start in self._by_start.items()}

    def find(self, text: Sentence) -> set[Phrase]:
        """Return the phrases that a text contains."""
        found: set[Phrase] = set()
        for squeezed, by_start in self._by_start.items():
            written = text.squeezed if squeezed else text.text
            known = self._starts[squeezed] & _starts(written)  # of two sets, the smaller one is read
            candidates = chain.from_iterable(by_start[start] for start in known)
            found |= {one for one in candidates if (one.is_in(text) if "*" in one.text else one.text in written)}
        return found


Term = frozenset[Phrase]


class Rule(NamedTuple):
    """What a sentence contains: a phrase of each term, none of them further from the first than `MAX_DISTANCE`."""

    kind: str
    language: str
    terms: tuple[Term, ...]

    def find(self, sentence: Sentence, present: set[Phrase]) -> str:
        """Return the phrases of the rule in the sentence, "" if it does not match. *present* are those in the text."""
        found: list[list[tuple[int, str]]] = []
        for term in self.terms:
            spots = sorted((at, one.words) for one in term & present for at in one.positions(sentence))
            if not spots:
                return ""
            found.append(spots)
        for at, phrase in found[0]:
            near = [next((text for spot, text in spots if abs(spot - at) <= MAX_DISTANCE), "") for spots in found[1:]]
            if all(near):
                return " + ".join((phrase, *near))
        return ""

    def find_most(self, sentence: Sentence, present: set[Phrase]) -> str:
        """Return the phrases of the first term and of all others but one in the sentence, "" if more are missing.

        Each fills one term.
        """
        matched: list[str] = []
        for term in self.terms:
            words = sorted(one.words for one in term & present if one.is_in(sentence))
            word = next((one for one in words if one not in matched), "")
            if word:
                matched.append(word)
            elif not matched:
                return ""
        return " + ".join(matched) if len(matched) >= max(2, len(self.terms) - 1) else ""


class RuleIndex:
    """The rules of some classes, by the phrases in their terms."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._uses: dict[Phrase, list[tuple[int, int]]] = {}
        for number, rule in enumerate(self.rules):
            for place, term in enumerate(rule.terms):
                for phrase in term:
                    self._uses.setdefault(phrase, []).append((number, place))
        self._phrases = PhraseIndex(self._uses)

    def find(self, text: Sentence, *, missing: int = 0) -> tuple[set[Phrase], list[Rule]]:
        """Return the phrases in a text, and the rules of which at most *missing* terms have none."""
        present = self._phrases.find(text)
        places: dict[int, set[int]] = {}
        for number, place in chain.from_iterable(self._uses[one] for one in present):
            places.setdefault(number, set()).add(place)
        rules = ((self.rules[number], len(found)) for number, found in sorted(places.items()))
        return present, [rule for rule, found in rules if found >= len(rule.terms) - missing]


@cache
def _normalize_words(written: str) -> str:
    """Return the words of a phrase, or of a part of one, as `normalize` does, and its asterisks."""
    return normalize(written.replace("*", _ASTERISK)).replace(_ASTERISK, "*").strip()


def _make_phrase(words: str, settings: Mapping[str, Any]) -> Phrase:
    if settings.get("spaces") == "no":
        return Phrase(words.replace(" ", "").strip("*"), squeezed=True)
    if settings.get("borders") != "no":
        words = f" {words} "
    return Phrase(words.removeprefix(" *").removesuffix("* ").strip("*"))


@cache
def _read_term(written: str, language: str) -> Term:
    """Return the phrases of a term. Rules share terms, and terms share lists: each is read once."""
    content = load_phrases(language)
    words = content.get("words", {})
    alternatives = [
        [
            _normalize_words(one)
            for alternative in part.split("|")
            for one in (words[alternative.strip()[1:-1]] if alternative.strip().startswith("{") else [alternative])
        ]
        for part in written.split(" > ")
    ]
    return frozenset(_make_phrase(" ".join(filter(None, parts)), content) for parts in product(*alternatives))


@cache
def load_rules(kinds: tuple[str, ...]) -> RuleIndex:
    """Return the rules of these kinds in all languages."""
    return RuleIndex(
        Rule(kind, language, tuple(_read_term(term, language) for term in str(line).split(" + ")))
        for language in languages()
        for content in (load_phrases(language),)
        for kind in kinds
        for line in content.get(kind, ())
    )


@cache
def load_list(kind: str, part: str = "") -> tuple[tuple[str, Phrase], ...]:
    """Return (language, phrase) of a list of plain phrases, or of the *part* of a table."""
    return tuple(
        (language, phrase)
        for language in languages()
        for content in (load_phrases(language),)
        for line in (content.get(kind, {}).get(part, ()) if part else content.get(kind, ()))
        for phrase in _read_term(str(line), language)
    )
