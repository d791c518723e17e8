"""Reps from the command line: their load, and the links to their pages."""

from __future__ import annotations

from tests.cli.conftest import Place


def test_reps_are_listed_with_what_they_have(running: Place) -> None:
    ana, ben = running.ok("handoffs", "reps", "list", "--json").json
    assert (ana["id"], ana["open"], ana["overdue"], ana["today"]) == ("ana", 1, 0, 1)
    assert (ben["id"], ben["open"]) == ("ben", 0)
    running.ok("handoffs", "accept", 1)
    ana, _ = running.ok("handoffs", "reps", "list", "--json").json
    assert (ana["open"], ana["to_follow_up"]) == (0, 0)
    assert "1 of 5" in running.ok("handoffs", "reps", "list").out


def test_a_link_is_made_and_ended(running: Place) -> None:
    assert "NURTURE_BASE_URL" in running.fails("handoffs", "reps", "link", "ana").err
    running.environment.setenv("NURTURE_BASE_URL", "https://go.example.com")
    assert "names no rep 'zoe'" in running.fails("handoffs", "reps", "link", "zoe").err
    made = running.ok("handoffs", "reps", "link", "ana", "--json").json
    assert made["url"].startswith("https://go.example.com/i/")
    assert running.ok("handoffs", "reps", "link", "ana").out.strip() != made["url"]
    assert running.ok("handoffs", "reps", "revoke", "ana", "--json").json == {
        "rep": "ana",
        "ended": 2,
        "ended_in_briefs": 0,
    }
    assert "0 links" in running.ok("handoffs", "reps", "revoke", "ana").out
    assert "names no rep 'zoe'" in running.fails("handoffs", "reps", "revoke", "zoe").err
