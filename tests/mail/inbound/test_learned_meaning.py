from __future__ import annotations

import pytest

from nurture.domain.replies import ReplyClass
from nurture.mail.inbound.learned_meaning import find_probabilities, weigh
from nurture.mail.inbound.learned_words import LEARNED_CLASSES
from tests.mail.inbound.learn_words import Example, fit


def test_probabilities_add_up_and_follow_the_weights() -> None:
    first = LEARNED_CLASSES[0]
    weights = {"": (1.0,) + (0.0,) * 9, "sign": (2.0,) + (0.0,) * 9}
    found = find_probabilities(weights, {"": 1.0, "sign": 1.0, "new": 9.0})
    assert sum(found.values()) == pytest.approx(1.0)
    assert found[first] > 0.6
    assert len({found[one] for one in LEARNED_CLASSES[1:]}) == 1


def test_a_sign_that_misleads_loses_its_weight() -> None:
    """A phrase that is in opt-outs and in others alike says less than the learned words."""
    scores = dict.fromkeys(LEARNED_CLASSES, -1.0)
    examples = [
        Example((), "no_mail", signs=frozenset({"rule no_mail"})),
        Example((), "question", signs=frozenset({"rule no_mail"})),
    ] * 20
    read = [scores | {ReplyClass.NO_MAIL: 1.0}, scores | {ReplyClass.QUESTION: 1.0}] * 20
    weights = fit(examples, read)
    opt_out, question = (
        find_probabilities(weights, {"": 1.0, "rule no_mail": 1.0} | {f"reads like {k}": v for k, v in one.items()})
        for one in read[:2]
    )
    assert opt_out[ReplyClass.NO_MAIL] > 0.8
    assert question[ReplyClass.NO_MAIL] < 0.2


def test_signs_of_phrases_raise_the_probability_of_their_class() -> None:
    text = "Kindly see to it."
    with_sign = weigh(text, {"rule no_mail", "means no_mail"})[ReplyClass.NO_MAIL]
    assert with_sign > weigh(text, {"means unclear"})[ReplyClass.NO_MAIL]
