"""Learn the weights of words from the open half of the corpus: `python -m tests.mail.inbound.learn_words`.

It trains a linear support vector machine by dual coordinate descent (Hsieh et al., "A Dual Coordinate Descent Method
for Large-scale Linear SVM", ICML 2008, algorithm 1 with squared hinge loss). It takes half a minute, and gives the
same file each time.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from hashlib import sha256
from math import sqrt
from random import Random
from typing import Final, NamedTuple

from ruamel.yaml import YAML

from nurture.domain.replies import ReplyClass
from nurture.mail.inbound.learned_words import BUCKETS, LEARNED_CLASSES, UNIT, WEIGHTS_FILE, find_features
from tests.mail.inbound.corpus_scores import CORPUS

_COST: Final = 3.0
"""How much an error costs, against large weights."""

_ROUNDS: Final = 12
_MAX_BYTE: Final = 127


class Example(NamedTuple):
    """The features of a text as (bucket, value), of length 1, and its class."""

    features: tuple[tuple[int, float], ...]
    reply_class: str


def digest_corpus() -> bytes:
    """Return a hash of the texts that are learned from."""
    return sha256(b"".join(path.read_bytes() for path in sorted(CORPUS.glob("open/*.yaml")))).digest()


def read_examples() -> list[Example]:
    """Return the examples of the open half."""
    entries = (
        one for path in sorted(CORPUS.glob("open/*.yaml")) for one in YAML(typ="safe").load(path.read_text("utf-8"))
    )
    return [make_example(entry["text"], entry["class"]) for entry in entries]


def make_example(text: str, reply_class: str) -> Example:
    """Return a text as an example."""
    found = find_features(text)
    return Example(tuple((one.bucket, one.sign / sqrt(len(found))) for one in found), reply_class)


def learn(examples: Sequence[Example], reply_class: ReplyClass) -> list[float]:
    """Return the weights that tell a class from all others."""
    weights = [0.0] * BUCKETS
    alphas = [0.0] * len(examples)
    order = list(range(len(examples)))
    shuffle = Random(1).shuffle
    softness = 0.5 / _COST
    for _ in range(_ROUNDS):
        shuffle(order)
        for number in order:
            features, labeled = examples[number]
            sign = 1.0 if labeled == reply_class else -1.0
            score = sum(weights[bucket] * value for bucket, value in features)
            gradient = sign * score - 1.0 + softness * alphas[number]
            alpha = max(0.0, alphas[number] - gradient / (1.0 + softness))
            change = (alpha - alphas[number]) * sign
            if change:
                alphas[number] = alpha
                for bucket, value in features:
                    weights[bucket] += change * value
    return weights


def write_weights(weights: Sequence[Sequence[float]]) -> None:
    """Write the weights of each class as signed bytes, and the digest of the corpus."""
    numbers = [max(-_MAX_BYTE, min(_MAX_BYTE, round(weight * UNIT))) for part in weights for weight in part]
    WEIGHTS_FILE.write_bytes(bytes(number & 0xFF for number in numbers) + digest_corpus())


if __name__ == "__main__":
    found = read_examples()
    write_weights([learn(found, one) for one in LEARNED_CLASSES])
    sys.stdout.write(f"learned from {len(found)} replies: {WEIGHTS_FILE}\n")
