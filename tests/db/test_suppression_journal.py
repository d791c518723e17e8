"""The suppression journal is synced to disk, and an incomplete line affects no other."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nurture.db.suppression_journal import JournalLine, SuppressionJournal, read_journals

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
OUT = JournalLine("erased:1", "suppress", "global", "", "page", NOON)
IN = JournalLine("erased:1", "opt_in", "global", "", "page", NOON + timedelta(hours=1))


@pytest.fixture
def log(tmp_path: Path) -> SuppressionJournal:
    return SuppressionJournal(tmp_path / "journal.suppressions", lambda: NOON)


def test_an_opt_out_counts_without_its_commit_and_an_opt_in_only_with_it(log: SuppressionJournal) -> None:
    log.write([OUT])
    name = log.write([IN])
    assert read_journals([log.path]).entries == [OUT]
    log.commit(name)
    assert read_journals([log.path]).entries == [OUT, IN]
    log.close()


def test_a_journal_has_a_start_time_and_is_private(log: SuppressionJournal) -> None:
    log.open_file()
    assert read_journals([log.path]).started_at == NOON
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
    log.close()


@pytest.mark.parametrize("cut", [2, 9, 60])
def test_an_incomplete_line_affects_no_other(log: SuppressionJournal, cut: int) -> None:
    log.write([OUT, OUT._replace(address_hash="erased:2")])
    log.close()
    whole = log.path.read_bytes()
    log.path.write_bytes(whole[:-cut])
    assert read_journals([log.path]).unreadable == 1
    log.write([OUT._replace(address_hash="erased:3")])
    found = read_journals([log.path])
    assert [line.address_hash for line in found.entries] == ["erased:1", "erased:3"]
    assert found.unreadable == 1
    log.close()


def test_unreadable_lines_are_counted(log: SuppressionJournal) -> None:
    log.open_file()
    log.close()
    odd = b'{"a": 1}\n[1]\n[]\n["a", "b"]\n["a", "m", "suppress", "global", "", "page", "yesterday"]\n'
    log.path.write_bytes(log.path.read_bytes() + odd)
    found = read_journals([log.path])
    assert found.entries == []
    assert found.unreadable == 5


def test_several_journals_are_merged(tmp_path: Path) -> None:
    first = SuppressionJournal(tmp_path / "a", lambda: NOON)
    second = SuppressionJournal(tmp_path / "b", lambda: NOON - timedelta(days=1))
    first.write([OUT])
    second.write([OUT])
    second.write([OUT._replace(at=NOON - timedelta(hours=1))])
    found = read_journals([first.path, second.path])
    assert [line.at for line in found.entries] == [NOON - timedelta(hours=1), NOON]
    assert found.started_at == NOON - timedelta(days=1)
    first.close()
    second.close()
