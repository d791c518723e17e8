"""The versions of a broadcast, and to how many leads each was sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import NotFound
from nurture.reporting.broadcasts import list_versions
from tests.journey.broadcasts.world import HOUR, TEN, broadcast_rules, make_broadcast, republish, send
from tests.journey.builders import add_lead, run_at


def test_each_version_says_what_changed_and_to_how_many_it_was_sent(db: Database, tmp_path: Path) -> None:
    ctx = make_broadcast(db, tmp_path)
    for number in range(3):
        add_lead(ctx, email=f"k{number}@people.example", city="Kiel")
    send(ctx)
    run_at(ctx, TEN)
    republish(ctx, broadcast_rules(text="Good day."))
    add_lead(ctx, email="new@people.example", city="Kiel")
    run_at(ctx, TEN + HOUR)
    newest, first = list_versions(ctx, "spring")
    assert (newest.version, newest.changed_files, newest.sent) == (2, ("broadcasts/spring/invitation.md",), 0)
    assert (first.version, first.sent) == (1, 3)
    assert set(first.changed_files) >= {"broadcasts/spring/broadcast.yaml", "broadcasts/spring/invitation.md"}


def test_a_broadcast_that_is_not_published_has_no_versions(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_broadcast(sqlite_db, tmp_path)
    with pytest.raises(NotFound, match="No broadcast autumn is published"):
        list_versions(ctx, "autumn")
