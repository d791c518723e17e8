"""Weigh the signs of phrases against learned words: how likely is each class of replies for a text.

It is a multinomial logistic regression over the scores of `learned_words` and the names of the signs that
`reply_phrases` found. Its weights were fitted to replies that no phrase was written for and that the scored words were
not learned from, so they say how far each sign can be trusted. See `python -m tests.mail.inbound.learn_words`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from math import exp
from pathlib import Path
from typing import Final

from nurture.domain.replies import ReplyClass
from nurture.mail.inbound.learned_words import LEARNED_CLASSES, read_scores

WEIGHTS_FILE: Final = Path(__file__).parent / "learned_meaning.json"
"""By name of a feature, its weight for each class of `LEARNED_CLASSES`."""


def weigh(text: str, signs: Iterable[str]) -> Mapping[ReplyClass, float]:
    """Return the probability of each of `LEARNED_CLASSES` for a text in which the phrases found these signs."""
    return find_probabilities(_load_weights(), make_features(read_scores(text), signs))


def make_features(scores: Mapping[ReplyClass, float], signs: Iterable[str]) -> dict[str, float]:
    """Return what the regression weighs. The first is in every text."""
    return {"": 1.0, **{f"reads like {one}": score for one, score in scores.items()}, **dict.fromkeys(signs, 1.0)}


def find_probabilities(
    weights: Mapping[str, tuple[float, ...]], features: Mapping[str, float]
) -> dict[ReplyClass, float]:
    """Return the probability of each class; features without weights do not count."""
    totals = [0.0] * len(LEARNED_CLASSES)
    for name, value in features.items():
        for number, weight in enumerate(weights.get(name, ())):
            totals[number] += weight * value
    most = max(totals)
    parts = [exp(one - most) for one in totals]
    return {one: part / sum(parts) for one, part in zip(LEARNED_CLASSES, parts, strict=True)}


@cache
def _load_weights() -> Mapping[str, tuple[float, ...]]:
    found = json.loads(WEIGHTS_FILE.read_text("utf-8"))
    return {name: tuple(one) for name, one in found.items()}
