"""`agreement:` in the policy: the duties of both sides, and what is wrong with them."""

from __future__ import annotations

from datetime import date

import pytest

from nurture.definitions.read_all import check, load
from nurture.domain.policy.agreement import Agreement, Duty
from tests.definitions.build import POLICY, bundle

AGREEMENT = """\
agreement:
  review_on: 2026-07-15
  marketing: {R1: at most 5 %}
  sales: {R35-90: at least 90%}
"""


def test_both_sides_have_duties_and_a_day_of_review() -> None:
    duties = (Duty("marketing", "R1", 0.05, is_minimum=False), Duty("sales", "R35-90", 0.9, is_minimum=True))
    assert load(bundle(policy=POLICY + AGREEMENT)).policy(1).agreement == Agreement(date(2026, 7, 15), duties)
    assert load(bundle(policy=POLICY)).policy(1).agreement is None
    assert [one.is_kept(0.05) for one in duties] == [True, False]


@pytest.mark.parametrize("wrong", ["R1: 5 %", "R1: at most five", "follow-up: at least 90 %"])
def test_a_duty_that_is_no_limit_on_a_measure_is_reported_with_an_example(wrong: str) -> None:
    text = AGREEMENT.replace("R1: at most 5 %", wrong)
    assert "R18: at least 90 %" in " ".join(map(str, check(bundle(policy=POLICY + text))))
