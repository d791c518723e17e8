"""Learn to classify replies from the labeled corpus: `python -m tests.mail.inbound.learn_words`.

Two steps. Linear support vector machines learn words and concepts from `open` and `calibration`, one for each class, by
dual coordinate descent (Hsieh et al., "A Dual Coordinate Descent Method for Large-scale Linear SVM", ICML 2008,
algorithm 1 with squared hinge loss). Then a logistic regression learns how far to trust their scores and the signs of
phrases. It is fitted to the replies of `calibration` only, because no phrase was written for those, with scores of
machines that were learned without them. It takes some minutes, and gives the same files each time.

`--check` writes nothing: it prints what thresholds cost on `calibration`, with each reply scored by models that were
learned without its fold, without its language, or without any reply of `calibration`, which is of another style.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from hashlib import sha256
from random import Random
from typing import Final, NamedTuple
from zlib import crc32

from ruamel.yaml import YAML

from nurture.domain.replies import DEFAULT_ACTIONS, ReplyAction, ReplyClass
from nurture.mail.inbound import learned_meaning
from nurture.mail.inbound.learned_meaning import find_probabilities, make_features
from nurture.mail.inbound.learned_words import BUCKETS, LEARNED_CLASSES, UNIT, WEIGHTS_FILE, Features, find_features
from nurture.mail.inbound.message import parse_mail
from nurture.mail.inbound.reply_phrases import decide, find_signs, is_opt_out_subject
from nurture.mail.inbound.reply_text import extract_own_text
from tests.mail.inbound.corpus_scores import CORPUS
from tests.mail.inbound.replying import mail

_COST: Final = 0.5
"""How much an error costs, against large weights."""

_CALIBRATION_COST: Final = 2 * _COST
"""The same for the replies of `calibration`, which are fewer and more like real ones."""

_ROUNDS: Final = 10
_REST: Final = 2
"""Rounds over the replies, and those in which a reply that is far on the right side is not looked at again."""

_MAX_BYTE: Final = 127
_FOLDS: Final = 3
_STEPS: Final = 40
_STEP: Final = 0.1
_SHRINK: Final = 1e-3
"""Rounds, learning rate and regularization of the regression."""

HALVES: Final = ("open", "calibration")


class Example(NamedTuple):
    """The features of a text, its class, and where it is from."""

    features: tuple[Features, ...]
    reply_class: str
    language: str = ""
    half: str = "open"
    signs: frozenset[str] = frozenset()
    text: str = ""


Scores = dict[ReplyClass, float]
Weights = dict[str, tuple[float, ...]]


def digest_corpus() -> bytes:
    """Return a hash of the texts that are learned from."""
    paths = (path for half in HALVES for path in sorted(CORPUS.glob(f"{half}/*.yaml")))
    return sha256(b"".join(path.read_bytes() for path in paths)).digest()


def read_examples() -> list[Example]:
    """Return the examples of both halves, with the signs of phrases for `calibration`.

    Texts that say nothing because their subject is the opt-out teach nothing.
    """
    return [
        make_example(entry["text"], entry["class"], path.stem, half)
        for half in HALVES
        for path in sorted(CORPUS.glob(f"{half}/*.yaml"))
        for entry in YAML(typ="safe").load(path.read_text("utf-8"))
        if not is_opt_out_subject(entry.get("subject", ""))
    ]


def make_example(text: str, reply_class: str, language: str = "", half: str = "open") -> Example:
    """Return a text as an example."""
    own = extract_own_text(parse_mail(mail(text.replace("\n", "\r\n"))).text)
    signs = find_signs(own.above_quotation, own.full) if half == "calibration" else frozenset()
    return Example(find_features(own.above_quotation), reply_class, language, half, signs, own.above_quotation)


def learn(examples: Sequence[Example], reply_class: ReplyClass) -> list[float]:
    """Return the weights that tell a class from all others."""
    weights = [0.0] * BUCKETS
    alphas = [0.0] * len(examples)
    order = list(range(len(examples)))
    shuffle = Random(1).shuffle
    softness = [0.5 / (_COST if one.half == "open" else _CALIBRATION_COST) for one in examples]
    lengths = [sum(len(part.buckets) * part.value**2 for part in one.features) for one in examples]
    rests = [0] * len(examples)
    for _ in range(_ROUNDS):
        shuffle(order)
        for number in order:
            if rests[number]:
                rests[number] -= 1
                continue
            example = examples[number]
            sign = 1.0 if example.reply_class == reply_class else -1.0
            score = sum(part.score(weights) for part in example.features)
            gradient = sign * score - 1.0 + softness[number] * alphas[number]
            alpha = max(0.0, alphas[number] - gradient / (lengths[number] + softness[number]))
            change = (alpha - alphas[number]) * sign
            if not alpha and gradient > 0:
                rests[number] = _REST
            if change:
                alphas[number] = alpha
                for part in example.features:
                    for bucket in part.buckets:
                        weights[bucket] += change * part.value
    return weights


def learn_all(examples: Sequence[Example]) -> list[list[float]]:
    """Return the weights of each of `LEARNED_CLASSES`, learned by several processes."""
    with ProcessPoolExecutor() as pool:
        return list(pool.map(partial(learn, [one._replace(text="") for one in examples]), LEARNED_CLASSES))


def score_without(examples: Sequence[Example], left_out: Callable[[Example], bool]) -> dict[str, Scores]:
    """Return the scores of the texts of `calibration` that are left out, by machines learned from the others."""
    machines = dict(zip(LEARNED_CLASSES, learn_all([one for one in examples if not left_out(one)]), strict=True))
    return {
        one.text: {name: sum(part.score(weights) for part in one.features) for name, weights in machines.items()}
        for one in examples
        if left_out(one) and one.half == "calibration"
    }


def fit(examples: Sequence[Example], scores: Sequence[Scores]) -> Weights:
    """Return the weights of the regression, by stochastic gradient descent with adaptive rates, averaged."""
    rows = [make_features(found, one.signs) for one, found in zip(examples, scores, strict=True)]
    names = sorted({name for row in rows for name in row})
    size = range(len(LEARNED_CLASSES))
    weights, squares, sums = ({name: [0.0 for _ in size] for name in names} for _ in range(3))
    order = list(range(len(rows)))
    shuffle = Random(1).shuffle
    for step in range(_STEPS):
        shuffle(order)
        for number in order:
            found = find_probabilities({name: tuple(weights[name]) for name in rows[number]}, rows[number])
            for at, one in enumerate(LEARNED_CLASSES):
                error = found[one] - (examples[number].reply_class == one)
                for name, value in rows[number].items():
                    slope = error * value + _SHRINK * weights[name][at]
                    squares[name][at] += slope * slope
                    weights[name][at] -= _STEP * slope / (1e-6 + squares[name][at] ** 0.5)
        if step >= _STEPS // 2:
            for name in names:
                sums[name] = [total + weight for total, weight in zip(sums[name], weights[name], strict=True)]
    return {name: tuple(round(total / (_STEPS - _STEPS // 2), 3) for total in sums[name]) for name in names}


def fold_of(example: Example) -> int:
    """Return the fold of a text."""
    return crc32(example.text.encode()) % _FOLDS


def score_folds(examples: Sequence[Example], left_out: Callable[[int, Example], bool]) -> dict[str, Scores]:
    """Return the scores of `calibration`, each by machines that were learned without the replies of its fold."""
    found: dict[str, Scores] = {}
    for fold in range(_FOLDS):
        found |= score_without(examples, partial(left_out, fold))
    return found


def _is_in_fold(fold: int, example: Example) -> bool:
    return example.half == "calibration" and fold_of(example) == fold


def _has_language_of_fold(fold: int, example: Example) -> bool:
    return crc32(example.language.encode()) % _FOLDS == fold


def write(examples: Sequence[Example]) -> None:
    """Learn, and write the weights."""
    calibration = [one for one in examples if one.half == "calibration"]
    scores = score_folds(examples, _is_in_fold)
    meaning = fit(calibration, [scores[one.text] for one in calibration])
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(one)}" for name, one in sorted(meaning.items()))
    learned_meaning.WEIGHTS_FILE.write_text(f"{{\n{lines}\n}}\n", "utf-8")
    numbers = [max(-_MAX_BYTE, min(_MAX_BYTE, round(weight * UNIT))) for part in learn_all(examples) for weight in part]
    WEIGHTS_FILE.write_bytes(bytes(number & 0xFF for number in numbers) + digest_corpus())


def check(examples: Sequence[Example]) -> Iterator[str]:
    """Yield how `calibration` would be classified without its fold, its language, and its style of text."""
    calibration = [one for one in examples if one.half == "calibration"]
    known = score_folds(examples, _is_in_fold)
    tried = {
        "fold": known,
        "language": score_folds(examples, _has_language_of_fold),
        "style": score_without(examples, lambda one: one.half == "calibration"),
    }
    for name, scores in tried.items():
        judged: list[tuple[str, ReplyClass]] = []
        for fold in range(_FOLDS):
            others = [one for one in calibration if fold_of(one) != fold]
            weights = fit(others, [known[one.text] for one in others])
            for one in calibration:
                if fold_of(one) == fold:
                    chances = find_probabilities(weights, make_features(scores[one.text], one.signs))
                    judged.append((one.reply_class, decide(chances, one.signs)))
        yield f"without its {name}: {_describe(judged)}"


def _describe(judged: Sequence[tuple[str, ReplyClass]]) -> str:
    claimed = [expected for expected, found in judged if found is ReplyClass.NO_MAIL]
    refused = [found for expected, found in judged if expected == ReplyClass.NO_MAIL]
    wishes = [found for expected, found in judged if expected == ReplyClass.WANTS_TO_TALK]
    hot = sum(DEFAULT_ACTIONS[found] is ReplyAction.HAND_OFF for found in refused)
    return (
        f"precision {claimed.count(ReplyClass.NO_MAIL) / len(claimed):.1%}, "
        f"recall {refused.count(ReplyClass.NO_MAIL) / len(refused):.1%}, "
        f"for a person {refused.count(ReplyClass.POSSIBLE_OPT_OUT) / len(refused):.1%}, "
        f"handed off {hot} of {len(refused)}; of {len(wishes)} that want to talk "
        f"{wishes.count(ReplyClass.POSSIBLE_OPT_OUT) / len(wishes):.1%} for a person, "
        f"{wishes.count(ReplyClass.NO_MAIL) / len(wishes):.1%} taken for opt-outs"
    )


if __name__ == "__main__":
    found = read_examples()
    if "--check" in sys.argv:
        for line in check(found):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    else:
        write(found)
        sys.stdout.write(f"learned from {len(found)} replies: {WEIGHTS_FILE}, {learned_meaning.WEIGHTS_FILE}\n")
