from __future__ import annotations

from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.replies import ReplyClass
from nurture.mail.inbound.learned_words import (
    BUCKETS,
    LEARNED_CLASSES,
    WEIGHTS_FILE,
    find_features,
    find_telling_words,
    read_scores,
)
from nurture.mail.inbound.phrase_patterns import normalize
from tests.mail.inbound.learn_words import Example, digest_corpus, learn


def test_the_weights_were_learned_from_the_replies_as_they_are() -> None:
    """If this fails, run `python -m tests.mail.inbound.learn_words`."""
    content = WEIGHTS_FILE.read_bytes()
    assert content[len(LEARNED_CLASSES) * BUCKETS :] == digest_corpus()


def test_learning_tells_the_words_of_a_class_from_others() -> None:
    opt_outs = ["no more mails please", "stop the mails", "no mails to me"]
    others = ["call me please", "what does it cost", "call me tomorrow"]
    examples = [Example(find_features(text), "no_mail") for text in opt_outs]
    weights = learn([*examples, *(Example(find_features(text), "question") for text in others)], ReplyClass.NO_MAIL)
    scores = {
        text: sum(part.score(weights) for part in find_features(text))
        for text in ("stop mails to me please", "call me, what does it cost")
    }
    assert [score > 0 for score in scores.values()] == [True, False]


@pytest.mark.parametrize(
    ("text", "reply_class"),
    [
        ("Would you be so kind as to leave me out of the campaigns to come?", ReplyClass.NO_MAIL),
        ("Seid doch so lieb und lasst mich bei künftigen Kampagnen weg.", ReplyClass.NO_MAIL),
        ("We talked to the board, and we stay with our own tool.", ReplyClass.NOT_INTERESTED),
    ],
)
def test_words_in_another_order_are_read_and_shown(text: str, reply_class: ReplyClass) -> None:
    scores = read_scores(text)
    assert max(scores, key=lambda one: scores[one]) is reply_class
    words = find_telling_words(text, reply_class)
    assert words
    assert all(word in normalize(text) for part in words.split(", ") for word in part.split())


@given(st.text(max_size=300))
def test_any_text_has_scores(text: str) -> None:
    assert all(map(isfinite, read_scores(text).values()))


def test_only_the_beginning_of_a_long_text_counts() -> None:
    text = "hello there. " * 400
    assert read_scores(f"{text}stop the mails") == read_scores(text)
