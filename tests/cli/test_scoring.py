"""`nurture leads score`: the arithmetic behind a lead's number and letter."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Place

pytestmark = pytest.mark.quick


def test_a_score_is_a_sum_that_a_person_can_follow(running: Place) -> None:
    running.ok("leads", "signal", "head@people.example", "clicked")
    running.ok("leads", "signal", "head@people.example", "replied")
    said = running.ok("leads", "score", "head@people.example").out
    for words in ("clicked", "replied", "as we were told", "together, by policy version 1", "50.0"):
        assert words in said
    assert "falls below 25 (engaged) on 2026-02-" in said


def test_a_program_gets_every_line_and_the_same_sum(running: Place) -> None:
    running.ok("leads", "signal", "1", "clicked")
    found = running.ok("leads", "score", "1", "--json").json
    assert found["lead_id"] == 1
    assert found["engagement"] == found["kept"] == sum(line["now"] for line in found["entries"]) == 10
    assert found["entries"][0]["because"] == "as we were told"
    assert found["falls"] == [{"asked": 25.0, "by": "engaged", "reached": False, "at": None}]


def test_a_lead_that_did_nothing_has_a_letter_and_no_lines(running: Place) -> None:
    said = running.ok("leads", "score", "2").out
    assert "It did nothing yet that we know of." in said
    assert "fit D" in said
    assert "is below 25 (engaged)" in said
    assert "no lead" in running.fails("leads", "score", "999").err
