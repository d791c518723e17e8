"""Opt-outs are found on the labeled corpus: `open`, for which the phrases were written, and on the held-back part."""

from __future__ import annotations

from functools import cache

import pytest

from nurture.domain.replies import ReplyClass
from tests.mail.inbound.corpus_scores import MAIN_LANGUAGES, Judged, judge, score


@cache
def judged(half: str) -> tuple[Judged, ...]:
    return tuple(judge(half))


@pytest.mark.parametrize("half", ["open", "held_back"])
def test_nearly_every_opt_out_is_found_and_nearly_nothing_else(half: str) -> None:
    found = score(judged(half))
    assert found.precision >= 0.98
    assert found.recall >= 0.95
    by_language = {name: score([one for one in judged(half) if one.language == name]) for name in MAIN_LANGUAGES}
    assert {name: one.recall for name, one in by_language.items() if one.recall < 0.9} == {}


def test_each_opt_out_on_new_texts_is_found_or_waits_for_a_person() -> None:
    """The figures of the held-back part, without room to get worse."""
    found = score(judged("held_back"))
    assert found.precision >= 0.982
    assert found.recall >= 0.976
    held = {ReplyClass.POSSIBLE_OPT_OUT, ReplyClass.UNCLEAR_SHORT}
    assert [
        one
        for one in judged("held_back")
        if one.expected == ReplyClass.NO_MAIL and not one.is_right and one.found not in held
    ] == []


def test_most_questions_do_not_wait_for_a_person() -> None:
    questions = [one for one in judged("held_back") if one.expected == ReplyClass.QUESTION]
    assert sum(one.found is ReplyClass.POSSIBLE_OPT_OUT for one in questions) <= 0.21 * len(questions)


@pytest.mark.parametrize(("half", "most"), [("open", 0.005), ("held_back", 0.0)])
def test_few_opt_outs_are_handed_off(half: str, most: float) -> None:
    found = score(judged(half))
    assert found.hot <= most * found.opt_outs
