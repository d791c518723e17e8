"""Reps from the command line: their load, and the links to their pages."""

from __future__ import annotations

from tests.cli.conftest import CliSession


def test_reps_are_listed_with_their_leads(seeded_cli: CliSession) -> None:
    ana, ben = seeded_cli.ok("handoffs", "reps", "list", "--json").json
    assert (ana["id"], ana["open_offers"], ana["overdue_offers"], ana["offers_today"]) == ("ana", 1, 0, 1)
    assert (ben["id"], ben["open_offers"]) == ("ben", 0)
    seeded_cli.ok("handoffs", "accept", 1)
    ana, _ = seeded_cli.ok("handoffs", "reps", "list", "--json").json
    assert (ana["open_offers"], ana["to_follow_up"]) == (0, 0)
    assert "1 of 5" in seeded_cli.ok("handoffs", "reps", "list").out


def test_a_link_is_created_and_revoked(seeded_cli: CliSession) -> None:
    assert "NURTURE_BASE_URL" in seeded_cli.fails("handoffs", "reps", "link", "ana").err
    seeded_cli.environment.setenv("NURTURE_BASE_URL", "https://go.example.com")
    assert "no rep 'zoe' in the policy" in seeded_cli.fails("handoffs", "reps", "link", "zoe").err
    made = seeded_cli.ok("handoffs", "reps", "link", "ana", "--json").json
    assert made["url"].startswith("https://go.example.com/i/")
    assert seeded_cli.ok("handoffs", "reps", "link", "ana").out.strip() != made["url"]
    assert seeded_cli.ok("handoffs", "reps", "revoke", "ana", "--json").json == {
        "rep": "ana",
        "ended": 2,
        "ended_in_briefs": 0,
    }
    assert "0 links" in seeded_cli.ok("handoffs", "reps", "revoke", "ana").out
    assert "no rep 'zoe' in the policy" in seeded_cli.fails("handoffs", "reps", "revoke", "zoe").err
