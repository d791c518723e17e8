from __future__ import annotations

from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.replies import ReplyClass
from nurture.mail.inbound.learned_words import BUCKETS, LEARNED_CLASSES, WEIGHTS_FILE, read_words
from nurture.mail.inbound.phrase_patterns import normalize
from tests.mail.inbound.learn_words import digest_corpus, learn, make_example


def test_the_weights_were_learned_from_the_open_replies_as_they_are() -> None:
    """If this fails, run `python -m tests.mail.inbound.learn_words`."""
    content = WEIGHTS_FILE.read_bytes()
    assert content[len(LEARNED_CLASSES) * BUCKETS :] == digest_corpus()


def test_learning_tells_the_words_of_a_class_from_others() -> None:
    opt_outs = ["no more mails please", "stop the mails", "no mails to me"]
    others = ["call me please", "what does it cost", "call me tomorrow"]
    examples = [make_example(text, "no_mail") for text in opt_outs]
    weights = learn([*examples, *(make_example(text, "question") for text in others)], ReplyClass.NO_MAIL)
    scores = {
        text: sum(weights[bucket] * value for bucket, value in make_example(text, "").features)
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
    found = read_words(text, reply_class)
    assert found.score > 0
    assert all(word in normalize(text) for part in found.words.split(", ") for word in part.split())


@given(st.text(max_size=300), st.sampled_from(LEARNED_CLASSES))
def test_any_text_has_a_score(text: str, reply_class: ReplyClass) -> None:
    assert isfinite(read_words(text, reply_class).score)


def test_only_the_beginning_of_a_long_text_counts() -> None:
    text = "hello there. " * 400
    assert read_words(f"{text}stop the mails", ReplyClass.NO_MAIL) == read_words(text, ReplyClass.NO_MAIL)
