"""A small run of the experiments on webhooks: forgeries, and a server that is killed."""

from __future__ import annotations

from pathlib import Path
from random import Random

from nurture.store.database import Database

from .ending import end
from .forging import forge


def test_forgeries_change_nothing_break_nothing_and_cost_little_memory(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'forging.db'}")
    found = forge(database, tmp_path, 240, 4, Random(7))
    database.close()
    assert found.changed == []
    assert found.requests == 240
    assert set(found.statuses) <= {0, 400, 401, 413}  # 0: a giant whose connection we ended
    assert found.grown < 100


def test_a_server_that_is_killed_keeps_what_it_thanked_for(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'ending.db'}")
    found = end(database, tmp_path, 2_000, 2, Random(7))
    database.close()
    assert (found.kills, found.thanked, found.lost, found.unprocessed) == (2, 2_000, 0, 0)
