"""`nurture reports leaks` in an empty folder: no database, no set-up; hostile files; what it writes."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import CliSession
from tests.reporting.leaks.builders import FILES

CONTACTS, DEALS = FILES / "hubspot-contacts.csv", FILES / "hubspot-deals.csv"
AT = ("--at", "2026-11-30")


@pytest.fixture
def leaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CliSession:
    """A folder without templates and database, and no settings."""
    for name in [name for name in os.environ if name.startswith("NURTURE_")]:
        monkeypatch.delenv(name)
    (here := tmp_path / "here").mkdir()
    monkeypatch.chdir(here)
    return CliSession(here, capsys, monkeypatch)


def test_one_command_reports_in_an_empty_folder_and_leaves_nothing_behind(leaks: CliSession) -> None:
    printed = leaks.ok("reports", "leaks", CONTACTS, DEALS, *AT).out
    assert "Nobody touched 6 of 12 leads (50.0 %)." in printed
    assert "--win-rate" in printed
    assert "@" not in printed.replace("contact's email", "")
    assert list(leaks.folder.iterdir()) == []
    found = leaks.ok("reports", "leaks", CONTACTS, DEALS, *AT, "--json").json
    assert (found["untouched"], found["leaked"], found["case"]["leads"]) == (6, 3, 3)


@pytest.mark.parametrize("columns", ["80", "120"])
def test_no_line_is_wider_than_the_terminal(tmp_path: Path, columns: str) -> None:
    command = [Path(sys.executable).with_name("nurture"), "reports", "leaks", str(CONTACTS), *AT, "--list", "leaked"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NURTURE_")}
    done = subprocess.run(
        command, env=environment | {"COLUMNS": columns}, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert max(map(len, done.stdout.splitlines())) <= int(columns)


def test_the_page_and_the_lists_are_private_files_of_our_own(leaks: CliSession) -> None:
    page, rows = leaks.folder / "leaks.html", leaks.folder / "out.csv"
    command = ("reports", "leaks", CONTACTS, DEALS, *AT, "--html", page, "--csv", rows, "--list", "leaked")
    for _ in range(2):  # its own files are written over
        assert "Written to" in leaks.ok(*command, "--list", "won-deals").out
    assert {file.stat().st_mode & 0o777 for file in (page, rows)} == {0o600}
    with rows.open(encoding="utf-8", newline="") as opened:
        found = list(csv.reader(opened))
    assert [row[0] for row in found] == ["list", "leaked", "leaked", "leaked", "list", "won-deals", "won-deals"]
    assert "ana@souza.example" in found[1]
    foreign = leaks.write("mine.csv", "a,b\n")
    assert (
        "nurture did not write it"
        in leaks.fails("reports", "leaks", CONTACTS, *AT, "--csv", foreign, "--list", "leaked").err
    )


def test_formulas_of_a_file_are_harmless_in_the_lists(leaks: CliSession) -> None:
    file = leaks.write(
        "evil.csv", 'Email,First Name,Last Name,Lead Owner,Lead Status\na@a.example,=HYPERLINK,"@SUM(A1)",+cmd|x,New\n'
    )
    leaks.ok("reports", "leaks", file, *AT, "--list", "never-touched", "--csv", "out.csv")
    cells = (leaks.folder / "out.csv").read_text("utf-8")
    assert "'=HYPERLINK" in cells
    assert ",+cmd" not in cells


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "is empty"),
        ("header.csv", b"Email,Lead Status\n", "no rows"),
        ("plain.csv", b"1,2,3\n4,5,6\n", "no column of email addresses"),
        ("old.zip", b"PK\x03\x04" + b"\0" * 40, "workbook"),
        ("page.pdf", b"%PDF-1.7 x", "PDF"),
        ("wide.csv", b"Email," + b"x," * 20_000 + b"\na@a.example\n", "columns"),
        ("nul.csv", b"\0" * 1_000, ""),
    ],
)
def test_hostile_files_are_refused_with_a_clear_message(
    leaks: CliSession, name: str, content: bytes, message: str
) -> None:
    assert message in leaks.fails("reports", "leaks", leaks.write(name, content), *AT).err


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252", "utf-8-sig"])
def test_other_encodings_and_broken_rows_cost_only_themselves(leaks: CliSession, encoding: str) -> None:
    text = "Email;Name;Lead Status\na@a.example;Zoë Müller;New\n\nb@b.example;x\nnot an address;Y;New\n"
    found = leaks.ok("reports", "leaks", leaks.write("f.csv", text.encode(encoding)), *AT, "--json").json
    assert (found["leads"], found["files"][0]["rejected"]) == (1, 2)


def test_wrong_options_are_named(leaks: CliSession) -> None:
    assert "Name one" in leaks.fails("reports", "leaks", CONTACTS, "--csv", "x.csv").err
    assert "Write it as 4%" in leaks.fails("reports", "leaks", CONTACTS, "--win-rate", "much").err
    assert "leaked" in leaks.fails("reports", "leaks", CONTACTS, *AT, "--list", "leakd").err
    assert not Path("x.csv").exists()
