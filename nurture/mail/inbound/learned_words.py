"""Tell how much a text reads like an opt-out or a refusal, by weights of its words learned from labeled replies.

The weights are those of a linear model, see `python -m tests.mail.inbound.learn_words`. They complete the phrases: a
wording that no phrase has is recognized if its words, word pairs and parts of words were in replies of that class.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from math import sqrt
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from nurture.domain.replies import ReplyClass
from nurture.mail.inbound.phrase_patterns import normalize

WEIGHTS_FILE: Final = Path(__file__).parent / "learned_words.bin"
"""The weights of each class of `LEARNED_CLASSES` as signed bytes, then the digest of the corpus."""

LEARNED_CLASSES: Final = (ReplyClass.NO_MAIL, ReplyClass.NOT_INTERESTED)
BUCKETS: Final = 1 << 17
"""Weights of a class. Features with the same hash share one; those with the other sign subtract it."""

UNIT: Final = 40
"""The signed byte that stands for a weight of 1."""

_MAX_LENGTH: Final = 4_000
_MAX_SENTENCES: Final = 200
_MAX_WORDS: Final = 40
"""Letters and sentences of a text that count, and words of a sentence."""

_SENTENCE_END: Final = re.compile(r"([.!?;\n\u3002\uff01\uff1f\u061f]++)")
_QUESTION: Final = re.compile(r"[?;\uff1f\u061f]")
_LONG: Final = 9
"""Words of a sentence that are not counted any more."""

_STEM_LENGTH: Final = 6
_PART_LENGTH: Final = 5
_NO_SPACES: Final = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_EVIDENCE_WORDS: Final = 3


class Feature(NamedTuple):
    """A feature of a text: the bucket of its weight, and 1 or -1."""

    bucket: int
    sign: int


class Reading(NamedTuple):
    """How much a text reads like a class: above 0 more than not. *words* are those that say so most."""

    score: float
    words: str


def read_words(text: str, reply_class: ReplyClass) -> Reading:
    """Return how much a text reads like one of `LEARNED_CLASSES`."""
    weights = _load_weights()[LEARNED_CLASSES.index(reply_class)]
    features = find_features(text)
    parts = [(weights[one.bucket] * one.sign, words) for one, words in features.items()]
    words = dict.fromkeys(words for weight, words in sorted(parts, reverse=True) if weight > 0 and words)
    total = sum(weight for weight, _ in parts)
    return Reading(total / UNIT / sqrt(len(parts)), ", ".join(list(words)[:_EVIDENCE_WORDS]))


@lru_cache(maxsize=1)  # each text is read for one class after the other
def find_features(text: str) -> Mapping[Feature, str]:
    """Return the features of a text and the words that each stands for. The first is in every text."""
    found = {_hash(""): ""}
    parts = [*_SENTENCE_END.split(text[:_MAX_LENGTH], _MAX_SENTENCES), ""]
    for sentence, end in zip(parts[::2], parts[1::2], strict=True):
        words = normalize(sentence).split()[:_MAX_WORDS]
        if words:
            for written, shown in (*_read_place(words, end), *_read_words(words)):
                found.setdefault(_hash(written), shown)
    return found


def _hash(written: str) -> Feature:
    number = crc32(written.encode("utf-8", "replace"))
    return Feature(number % BUCKETS, -1 if number >> 31 else 1)


def _read_place(words: list[str], end: str) -> Iterator[tuple[str, str]]:
    """Yield how a sentence begins and ends, and how long it is."""
    yield f"^{words[0][:_STEM_LENGTH]}", words[0]
    yield f"${words[-1][:_STEM_LENGTH]}", words[-1]
    yield f"#{min(len(words), _LONG)}", ""
    if _QUESTION.search(end):
        yield "?", ""


def _read_words(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield words, their beginnings and parts, and pairs of words that are at most one word apart."""
    stems = [word[:_STEM_LENGTH] for word in words]
    for distance in (1, 2):
        for at in range(len(stems) - distance):
            yield f"{stems[at]} {stems[at + distance]}", f"{words[at]} {words[at + distance]}"
    for word, stem in zip(words, stems, strict=True):
        if _NO_SPACES.search(word):
            for size in (2, 3, 4):
                yield from ((word[at : at + size],) * 2 for at in range(len(word) - size + 1))
            continue
        yield f"={word}", word
        yield f"<{stem}", word
        if len(word) > _PART_LENGTH:
            marked = f"<{word}>"
            for at in range(len(marked) - _PART_LENGTH + 1):
                yield f"~{marked[at : at + _PART_LENGTH]}", word


@cache
def _load_weights() -> tuple[memoryview, ...]:
    content = memoryview(WEIGHTS_FILE.read_bytes()).cast("b")
    return tuple(content[number * BUCKETS : (number + 1) * BUCKETS] for number in range(len(LEARNED_CLASSES)))
