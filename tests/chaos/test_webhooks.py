"""A small run of the inbound experiments: forged events, a killed server, mail scanners."""

from __future__ import annotations

from pathlib import Path
from random import Random

from nurture.db.engine import Database
from tests.chaos.forging import forge
from tests.chaos.scanning import scan
from tests.chaos.server_kills import run_server_kills


def test_forged_requests_change_nothing_and_use_little_memory(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'forging.db'}")
    found = forge(database, tmp_path, 240, 4, Random(7))
    database.close()
    assert found.changed == []
    assert found.requests == 240
    assert set(found.statuses) <= {0, 400, 401, 413}  # 0: the server closed the connection of a huge body
    assert found.grown < 100


def test_a_server_that_is_killed_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'ending.db'}")
    found = run_server_kills(database, tmp_path, 2_000, 2, Random(7))
    database.close()
    assert (found.kills, found.acknowledged, found.lost, found.unprocessed) == (2, 2_000, 0, 0)


def test_mail_scanners_cause_no_hand_off_and_no_opt_out(sqlite_url: str, tmp_path: Path) -> None:
    database = Database(sqlite_url)
    found = scan(database, tmp_path, 28, Random(7))
    database.close()
    assert (found.leads, found.offers, found.opt_outs, found.other_signals, found.broken) == (28, 0, 0, 0, 0)
    assert found.verdicts["human"] == 2  # single clicks, which look like those of readers
    assert found.verdicts["bot"] > 50
    assert found.verdicts["suspect"] > 10
