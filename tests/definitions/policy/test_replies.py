"""`replies:` in the policy."""

from __future__ import annotations

import pytest

from nurture.definitions.read_all import load
from nurture.domain.replies import ALLOWED_ACTIONS, DEFAULT_ACTIONS, ReplyAction, ReplyClass
from tests.definitions.build import POLICY, bundle, problems


def test_classes_that_the_table_leaves_out_have_their_default() -> None:
    policy = load(bundle(policy=f"{POLICY}replies: {{not_interested: queue}}\n")).policy(1)
    assert policy.replies == {**DEFAULT_ACTIONS, ReplyClass.NOT_INTERESTED: ReplyAction.QUEUE}
    assert load(bundle()).policy(1).replies == DEFAULT_ACTIONS


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("{no_mail: hand_off}", "the class `no_mail` cannot have the action `hand_off`. Write `suppress`"),
        ("{not_now: call}", "Write `pause` or `queue` or `end_track` or `note`"),
        ("{no_thanks: queue}", "`no_thanks` is no class of replies. Known: wants_to_talk"),
        ("hand_off", "`replies` is not a table"),
    ],
)
def test_an_action_that_a_class_cannot_have_is_reported(table: str, problem: str) -> None:
    (found,) = problems(bundle(policy=f"{POLICY}replies: {table}\n"))
    assert problem in found


def test_only_answers_in_person_are_handed_off_by_default() -> None:
    hot = {one for one, action in DEFAULT_ACTIONS.items() if action is ReplyAction.HAND_OFF}
    assert hot == {ReplyClass.WANTS_TO_TALK, ReplyClass.QUESTION, ReplyClass.MEETING, ReplyClass.UNCLEAR}
    assert set(ALLOWED_ACTIONS) == set(ReplyClass)
