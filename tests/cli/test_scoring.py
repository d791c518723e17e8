"""`nurture leads score`: the arithmetic behind a lead's score and grade."""

from __future__ import annotations

import pytest

from tests.cli.conftest import CliSession

pytestmark = pytest.mark.quick


def test_a_score_is_shown_as_a_sum_of_signals(seeded_cli: CliSession) -> None:
    seeded_cli.ok("leads", "signal", "head@people.example", "clicked")
    seeded_cli.ok("leads", "signal", "head@people.example", "replied")
    result = seeded_cli.ok("leads", "score", "head@people.example").out
    for words in ("clicked", "replied", "as reported", "total, by policy version 1", "50.0"):
        assert words in result
    assert "falls below 25 (engaged) on 2026-02-" in result


def test_json_has_every_line_and_the_same_sum(seeded_cli: CliSession) -> None:
    seeded_cli.ok("leads", "signal", "1", "clicked")
    found = seeded_cli.ok("leads", "score", "1", "--json").json
    assert found["lead_id"] == 1
    assert found["engagement"] == found["stored"] == sum(line["remaining"] for line in found["lines"]) == 10
    assert found["lines"][0]["reason"] == "as reported"
    assert found["thresholds"] == [{"value": 25.0, "used_by": "engaged", "reached": False, "falls_below_at": None}]


def test_a_lead_that_did_nothing_has_a_grade_and_no_lines(seeded_cli: CliSession) -> None:
    result = seeded_cli.ok("leads", "score", "2").out
    assert "No signals yet." in result
    assert "fit D" in result
    assert "is below 25 (engaged)" in result
    assert "no lead" in seeded_cli.fails("leads", "score", "999").err
