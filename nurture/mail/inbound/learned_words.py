"""Tell how much a text reads like each class of replies, by weights of its words learned from labeled replies.

The weights are those of linear models, one per class, see `python -m tests.mail.inbound.learn_words`. They complete
the phrases: a wording that no phrase has is recognized if its words, their parts and their concepts were in replies of
that class.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from math import sqrt
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from nurture.domain.replies import ReplyClass
from nurture.mail.inbound.concepts import find_concept_features
from nurture.mail.inbound.phrase_patterns import normalize

WEIGHTS_FILE: Final = Path(__file__).parent / "learned_words.bin"
"""The weights of each class of `LEARNED_CLASSES` as signed bytes, then the digest of the corpus."""

LEARNED_CLASSES: Final = (
    *(ReplyClass.NO_MAIL, ReplyClass.NOT_INTERESTED, ReplyClass.NOT_NOW, ReplyClass.WANTS_TO_TALK),
    *(ReplyClass.QUESTION, ReplyClass.UNCLEAR, ReplyClass.WRONG_PERSON, ReplyClass.LEFT_COMPANY),
    *(ReplyClass.ABSENCE, ReplyClass.AUTOMATIC),
)
BUCKETS: Final = 1 << 16
"""Weights of a class. Features with the same hash share one."""

UNIT: Final = 40
"""The signed byte that stands for a weight of 1."""

CONCEPT_SHARE: Final = 0.6
"""The length of a text's concepts as a vector; that of its words is 1."""

_MAX_LENGTH: Final = 4_000
_MAX_SENTENCES: Final = 200
_MAX_WORDS: Final = 40
"""Letters and sentences of a text that count, and words of a sentence."""

_SENTENCE_END: Final = re.compile(r"([.!?;\n\u3002\uff01\uff1f\u061f]++)")
_MARKS: Final = {"?": "?", "\uff1f": "?", "\u061f": "?", "!": "!", "\uff01": "!", ";": ";"}
_BORDERS: Final = frozenset({"^", "$", *_MARKS.values()})
_STEM_LENGTH: Final = 6
_NO_SPACES: Final = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_EVIDENCE_WORDS: Final = 3


class Features(NamedTuple):
    """The buckets of a text's features, and the value of each."""

    buckets: tuple[int, ...]
    value: float

    def score(self, weights: Sequence[float] | memoryview) -> float:
        """Return the sum of the weights."""
        return sum(map(weights.__getitem__, self.buckets)) * self.value


def read_scores(text: str) -> Mapping[ReplyClass, float]:
    """Return how much a text reads like each of `LEARNED_CLASSES`: above 0 more than not."""
    features = find_features(text)
    return {
        one: sum(part.score(weights) for part in features) / UNIT
        for one, weights in zip(LEARNED_CLASSES, _load_weights(), strict=True)
    }


def find_telling_words(text: str, reply_class: ReplyClass) -> str:
    """Return the words of a text that speak most for one of `LEARNED_CLASSES`."""
    weights = _load_weights()[LEARNED_CLASSES.index(reply_class)]
    found: dict[str, int] = {}
    for written, shown in _find_word_features(text):
        weight = weights[_find_bucket(written)]
        if shown and weight > 0:
            found[shown] = max(weight, found.get(shown, 0))
    return ", ".join(sorted(found, key=lambda one: (-found[one], one))[:_EVIDENCE_WORDS])


@lru_cache(maxsize=1)
def find_features(text: str) -> tuple[Features, Features]:
    """Return the features of a text: its words, and its concepts."""
    words = {written for written, _ in _find_word_features(text)}
    return _hash(words, 1.0), _hash({f"@{one}" for one in find_concept_features(text)}, CONCEPT_SHARE)


def _hash(written: set[str], length: float) -> Features:
    buckets = tuple(sorted({_find_bucket(one) for one in written}))
    return Features(buckets, length / sqrt(len(buckets)))


def _find_bucket(written: str) -> int:
    return crc32(written.encode("utf-8", "replace")) % BUCKETS


def _find_word_features(text: str) -> Iterator[tuple[str, str]]:
    """Yield the features of a text, and the words that each stands for. The first is in every text."""
    parts = [*_SENTENCE_END.split(text[:_MAX_LENGTH], _MAX_SENTENCES), ""]
    words = ["^"]
    for sentence, end in zip(parts[::2], parts[1::2], strict=True):
        words += [*normalize(sentence).split()[:_MAX_WORDS], *(_MARKS[end[0]] for _ in end[:1] if end[0] in _MARKS)]
    words.append("$")
    yield f"#{min(9, len(words) // 2)}", ""
    stems = [word[:_STEM_LENGTH] for word in words]
    for distance in (1, 2):
        for at in range(len(stems) - distance):
            pair = (words[at], words[at + distance])
            shown = "" if not _BORDERS.isdisjoint(pair) else " ".join(pair)
            yield f"{distance}{stems[at]} {stems[at + distance]}", shown
    for word in words[1:-1]:
        shown = "" if word in _BORDERS else word
        yield f"={word}", shown
        has_spaces = not _NO_SPACES.search(word)
        marked = f"<{word}>" if has_spaces else word
        for size in (3, 4, 5) if has_spaces else (1, 2, 3, 4):
            for at in range(len(marked) - size + 1):
                yield f"~{marked[at : at + size]}", shown if has_spaces else marked[at : at + size]


@cache
def _load_weights() -> tuple[memoryview, ...]:
    content = memoryview(WEIGHTS_FILE.read_bytes()).cast("b")
    return tuple(content[number * BUCKETS : (number + 1) * BUCKETS] for number in range(len(LEARNED_CLASSES)))
