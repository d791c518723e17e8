"""`nurture cleanup` says what it deletes, deletes it, and gives the room back."""

from __future__ import annotations

from tests.cli.conftest import CliSession


def test_a_dry_run_lists_every_kind_with_its_first_day_and_changes_nothing(cli: CliSession) -> None:
    cli.ok("publish")
    said = cli.ok("cleanup", "--dry-run").out
    for kind in ("webhook batches", "provider events", "requests of clicks", "texts of replies", "planner decisions"):
        assert kind in said
    assert "would be deleted" in said
    assert "Nothing was changed" in said


def test_a_retention_of_zero_keeps_a_kind_forever(cli: CliSession) -> None:
    cli.ok("publish")
    cli.environment.setenv("NURTURE_KEEP_REPLIES", "0")
    found = {row["name"]: row["before"] for row in cli.ok("cleanup", "--json").json["cleaned"]}
    assert found["texts of replies"] is None
    assert all(before for name, before in found.items() if name != "texts of replies")


def test_the_file_is_written_anew(cli: CliSession) -> None:
    cli.ok("publish")
    assert cli.ok("cleanup", "--vacuum", "--json").json["free_bytes"] == 0
