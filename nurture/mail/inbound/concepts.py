"""Read a text as rows of concepts, such as "not", "remove" and "list", by the words of its language.

A concept has the same name in all languages, see `concepts` in `phrases/`. So what replies in one language teach about
the order of concepts counts in the others. The language is the one that knows most of the words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import combinations, islice
from typing import Final, NamedTuple

from nurture.mail.inbound.phrase_patterns import languages, load_phrases, normalize

_CLAUSE_END: Final = re.compile(r"[,\u3001\uff0c:\uff1a()\u2013\u2014]")
_SENTENCE_END: Final = re.compile(r"([.!?;\n\u3002\uff01\uff1f\u061f]++)")
_QUESTION: Final = re.compile(r"[?\uff1f\u061f]")
_MAX_LENGTH: Final = 4_000
_MAX_SENTENCES: Final = 100
_MAX_WORDS: Final = 40
_MAX_LETTERS: Final = 14
"""Letters by which a word is looked up."""

_MAX_ATTACHED: Final = 2
"""Letters of other words that a word may begin with, in languages that attach them."""

_NEAR: Final = 6
"""Concepts of a clause that are paired with the one before them."""

_REFUSING: Final = frozenset({"not", "stop", "remove", "unsub", "spam", "law"})
_START, _END = frozenset({"^"}), frozenset({"$"})

Concepts = frozenset[str]


class _Row(NamedTuple):
    """The concepts of a clause in order, and the share of its words that have one."""

    concepts: tuple[Concepts, ...]
    known: float
    unknown: int


class _Words(NamedTuple):
    """The concepts of a language's words: whole words, beginnings of words, and several words.

    *starts* are the first one and two letters of all words and beginnings: most words of a text have none of them.
    """

    whole: Mapping[str, Concepts]
    beginnings: Mapping[str, Concepts]
    several: Mapping[str, Concepts]
    starts: frozenset[str]
    attaches: bool
    spaces: bool

    def find(self, word: str) -> Concepts:
        """Return the concepts of a word, by its longest known beginning."""
        found = self.whole.get(word)
        if found:
            return found
        for start in range(_MAX_ATTACHED + 1 if self.attaches else 1):
            if word[start : start + 2] not in self.starts:
                continue
            for end in range(min(len(word), start + _MAX_LETTERS), start + 1, -1):
                part = word[start:end]
                found = self.beginnings.get(part) or (self.whole.get(part) if start and end == len(word) else None)
                if found:
                    return found
        return frozenset()

    def read(self, clause: str) -> _Row:
        """Return the concepts of a normalized clause."""
        several = [(clause.index(words), found) for words, found in self.several.items() if words in clause]
        placed = [*several, *(self._read_words(clause) if self.spaces else self._read_letters(clause))]
        count = len(clause.split()) if self.spaces else len(clause.replace(" ", "")) // 2
        row = tuple(concepts for _, concepts in sorted(placed, key=lambda one: one[0]))
        return _Row(row, min(1.0, len(row) / max(1, count)), max(0, count - len(row)))

    def _read_words(self, clause: str) -> Iterator[tuple[int, Concepts]]:
        place = 0
        for word in islice(clause.split(), _MAX_WORDS):
            found = self.find(word)
            if found:
                yield place, found
            place += len(word) + 1

    def _read_letters(self, clause: str) -> Iterator[tuple[int, Concepts]]:
        text, place = clause.replace(" ", "")[: _MAX_WORDS * 3], 0
        while place < len(text):
            ends = range(min(len(text), place + _MAX_LETTERS), place, -1) if text[place] in self.starts else ()
            end = next((end for end in ends if text[place:end] in self.beginnings), 0)
            if end:
                yield place, self.beginnings[text[place:end]]
            place = end or place + 1


@cache
def _load_words(language: str) -> _Words:
    content = load_phrases(language)
    tables: tuple[dict[str, set[str]], ...] = ({}, {}, {})
    spaces = content.get("spaces") != "no"
    for concept, words in content["concepts"].items():
        for written in map(str, words):
            plain = normalize(written).strip()
            number = 2 if " " in plain else 1 if written.endswith("*") or not spaces else 0
            tables[number].setdefault(f" {plain}" if number == 2 else plain, set()).add(concept)
    whole, beginnings, several = ({word: frozenset(found) for word, found in one.items()} for one in tables)
    starts = frozenset(word[:length] for word in (*whole, *beginnings) for length in (1, 2))
    return _Words(whole, beginnings, several, starts, content.get("borders") == "no", spaces)


@lru_cache(maxsize=1)
def find_language(text: str) -> str:
    """Return the language that knows most of the words at the beginning of a text."""
    clause = f" {' '.join(normalize(text[:_MAX_LENGTH]).split()[:_MAX_WORDS])}"
    return max(languages(), key=lambda one: _load_words(one).read(clause).known)


def find_concept_features(text: str) -> frozenset[str]:
    """Return the concepts of a text, and which follow each other in a clause or stand in one sentence."""
    text = text[:_MAX_LENGTH]
    words = _load_words(find_language(text))
    found: set[str] = set()
    concepts: set[str] = set()
    parts = [*_SENTENCE_END.split(text, _MAX_SENTENCES), ""]
    sentences = [one for one in zip(parts[::2], parts[1::2], strict=True) if one[0].strip()]
    for sentence, end in sentences:
        rows = [words.read(normalize(clause)) for clause in _CLAUSE_END.split(sentence)]
        inside = {concept for row in rows for one in row.concepts for concept in one}
        is_question = bool(_QUESTION.search(end))
        found.update(feature for row in rows for feature in _read_row(row))
        found.update(f"{one}+{other}" for one, other in combinations(sorted(inside), 2))
        found.update(f"?{one}" for one in (*inside, "") if is_question)
        concepts |= inside
    found.update({f"sentences {min(3, len(sentences))}", f"length {min(6, len(normalize(text).split()) // 3)}"})
    if concepts.isdisjoint(_REFUSING):
        found.add("nothing refused")
    return frozenset(found)


def _read_row(row: _Row) -> Iterator[str]:
    """Yield the concepts of a clause, ordered pairs of them, and three in a row."""
    places: Sequence[Concepts] = (_START, *row.concepts, _END)
    yield f"unknown {min(4, row.unknown)}"
    for at, concepts in enumerate(places):
        for one in concepts:
            yield one
            for distance, others in enumerate(places[at + 1 : at + _NEAR]):
                for other in others:
                    yield f"{one}{'>' if distance else ' '}{other}"
            for other in places[at + 1] if at + 2 < len(places) else ():
                yield from (f"{one} {other} {third}" for third in places[at + 2])
