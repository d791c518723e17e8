"""The suppression journal: what is in it is on the disk, and a line cut short spoils no other."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nurture.db.suppression_journal import Line, OptOutLog, read

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
OUT = Line("erased:1", "suppress", "global", "", "page", NOON)
IN = Line("erased:1", "opt_in", "global", "", "page", NOON + timedelta(hours=1))


@pytest.fixture
def log(tmp_path: Path) -> OptOutLog:
    return OptOutLog(tmp_path / "journal.optouts", lambda: NOON)


def test_an_opt_out_counts_without_its_commit_and_an_opt_in_only_with_it(log: OptOutLog) -> None:
    log.write([OUT])
    name = log.write([IN])
    assert read([log.path]).lines == [OUT]
    log.commit(name)
    assert read([log.path]).lines == [OUT, IN]
    log.close()


def test_it_says_since_when_it_knows_and_is_private(log: OptOutLog) -> None:
    log.open()
    assert read([log.path]).begun == NOON
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
    log.close()


@pytest.mark.parametrize("cut", [2, 9, 60])
def test_a_line_that_death_cut_short_spoils_no_other(log: OptOutLog, cut: int) -> None:
    log.write([OUT, OUT._replace(mark="erased:2")])
    log.close()
    whole = log.path.read_bytes()
    log.path.write_bytes(whole[:-cut])
    assert read([log.path]).torn == 1
    log.write([OUT._replace(mark="erased:3")])
    found = read([log.path])
    assert [line.mark for line in found.lines] == ["erased:1", "erased:3"]
    assert found.torn == 1
    log.close()


def test_what_is_no_line_of_a_journal_is_counted(log: OptOutLog) -> None:
    log.open()
    log.close()
    odd = b'{"a": 1}\n[1]\n[]\n["a", "b"]\n["a", "m", "suppress", "global", "", "page", "yesterday"]\n'
    log.path.write_bytes(log.path.read_bytes() + odd)
    found = read([log.path])
    assert found.lines == []
    assert found.torn == 5


def test_several_are_read_as_one(tmp_path: Path) -> None:
    first = OptOutLog(tmp_path / "a", lambda: NOON)
    second = OptOutLog(tmp_path / "b", lambda: NOON - timedelta(days=1))
    first.write([OUT])
    second.write([OUT])
    second.write([OUT._replace(at=NOON - timedelta(hours=1))])
    found = read([first.path, second.path])
    assert [line.at for line in found.lines] == [NOON - timedelta(hours=1), NOON]
    assert found.begun == NOON - timedelta(days=1)
    first.close()
    second.close()
