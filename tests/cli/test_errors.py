"""Bad input gives one error with a remedy and an exit code, and changes nothing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import CliSession


def _edit(cli: CliSession, path: str, old: str, new: str) -> None:
    file = cli.templates / path
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")


WELCOME, POLICY = "tracks/welcome/track.yaml", "sales/policy.yaml"
HELLO = "tracks/welcome/01-hello.md"
RULES = {
    "broken YAML": (WELCOME, "steps:\n", "steps: [\n", "track.yaml:"),
    "an unknown key": (WELCOME, "priority: 10", "priorty: 10", "priority"),
    "a step id used twice": (WELCOME, "id: wait-for-click", "id: 01-hello", "01-hello"),
    "a then that leads nowhere": (WELCOME, "then: continue", "then: go-on", "continue"),
    "a finally that leads nowhere": (WELCOME, "finally: keep", "finally: kepp", "keep"),
    "a missing email file": (WELCOME, "email: 02-more", "email: 02-mor", "02-mor"),
    "an undefined variable": (HELLO, "lead.first_name", "lead.frist_name", "first_name"),
    "a zone that does not exist": ("defaults.yaml", "zone_fallback: UTC", "zone_fallback: Mars/Base", "Mars"),
    "a span over 400 days": (WELCOME, "up_to: 5 days", "up_to: 500 days", "400"),
    "no track at all for the end": (WELCOME, "finally: keep\n", "", "finally"),
}  # fmt: skip


@pytest.mark.parametrize("case", RULES)
@pytest.mark.parametrize("command", ["check", "publish"])
def test_invalid_definitions_are_named_with_file_line_and_remedy(
    seeded_cli: CliSession, case: str, command: str
) -> None:
    path, old, new, names = RULES[case]
    _edit(seeded_cli, path, old, new)
    before = seeded_cli.counts()
    result = seeded_cli.fails(command)
    assert result.code == 2
    printed = result.out + result.err
    assert Path(path).name in printed.replace("\n", "")
    assert names in printed.replace("\n", "")
    assert seeded_cli.counts() == before


def test_a_policy_without_reps_is_invalid(seeded_cli: CliSession) -> None:
    text = (seeded_cli.templates / POLICY).read_text("utf-8")
    begin, end = text.index("reps:"), text.index("accept_within")
    (seeded_cli.templates / POLICY).write_text(text[:begin] + "reps: []\n" + text[end:], "utf-8")
    before = seeded_cli.counts()
    result = seeded_cli.fails("publish")
    assert (result.code, "reps" in result.err) == (2, True)
    assert seeded_cli.counts() == before


def test_all_problems_are_reported_at_once(seeded_cli: CliSession) -> None:
    for path, old, new, _ in (RULES["an unknown key"], RULES["an undefined variable"]):
        _edit(seeded_cli, path, old, new)
    problems = seeded_cli.run("check", "--json")
    assert problems.code == 2
    assert {Path(one["file"]).name for one in problems.json} == {"track.yaml", "01-hello.md"}
    assert all(one["line"] > 0 and one["message"] and one["suggestion"] for one in problems.json)


def _wide(cli: CliSession) -> Path:
    return cli.write("wide.csv", "Email," + ",".join(f"c{number}" for number in range(10_000)) + "\n" + "x," * 10_000)


FILES: dict[str, tuple[Callable[[CliSession], Path], str]] = {
    "ten thousand columns": (_wide, "column"),
    "a folder": (lambda cli: cli.folder, "folder"),
    "this folder": (lambda _: Path(), "folder"),
    "no file": (lambda cli: cli.folder / "gone.csv", "gone.csv"),
    "an empty file": (lambda cli: cli.write("empty.csv", ""), "empty"),
    "a picture": (lambda cli: cli.write("a.png", bytes(range(256)) * 40), "a.png"),
    "no known column": (lambda cli: cli.write("odd.csv", "foo,bar\n1,2\n"), "mapping"),
    "a header alone": (lambda cli: cli.write("head.csv", "Email,First Name\n"), "head.csv"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_without_leads_is_refused(seeded_cli: CliSession, case: str) -> None:
    make, names = FILES[case]
    file = make(seeded_cli)
    before = seeded_cli.counts()
    result = seeded_cli.fails("import", file, "--source", "crm")
    assert result.code == 5
    assert names in result.err
    assert seeded_cli.counts() == before


def test_utf_16_is_detected(seeded_cli: CliSession) -> None:
    text = "Email,First Name,Consent\nzoe@people.example,Zoë,consent\n"
    done = seeded_cli.ok("import", seeded_cli.write("u16.csv", text.encode("utf-16")), "--source", "crm", "--json").json
    assert (done["new"], done["rejected"]) == (1, 0)
    assert seeded_cli.ok("leads", "list", "--source", "crm", "--json").out.count("Zoë") == 1


def test_a_nul_in_a_row_makes_that_row_bad_and_no_other(seeded_cli: CliSession) -> None:
    text = b"Email,First Name,Consent\na@people.example,A\0nn,consent\nb@people.example,Bob,consent\n"
    done = seeded_cli.ok("import", seeded_cli.write("nul.csv", text), "--source", "crm", "--json").json
    assert (done["new"], done["rejected"]) == (1, 1)


def test_a_mapping_with_problems_imports_nothing(seeded_cli: CliSession) -> None:
    file = seeded_cli.write("p.csv", "Mail\na@people.example\n")
    mapping = seeded_cli.write("m.yaml", "columns: {Mail: emial}\ncolour: blue\n")
    before = seeded_cli.counts()
    result = seeded_cli.fails("import", file, "--mapping", mapping)
    assert result.code == 5
    assert "email" in result.err
    assert "colour" in result.err
    assert seeded_cli.counts() == before


@pytest.mark.parametrize("command", ["run", "publish", "import p.csv", "leads suppress a@people.example"])
def test_a_read_only_database_is_named_and_unchanged(seeded_cli: CliSession, command: str) -> None:
    url = os.environ["NURTURE_DATABASE_URL"]
    seeded_cli.write("p.csv", "Email,Consent\na@people.example,consent\n")
    _edit(seeded_cli, "tracks/welcome/01-hello.md", "Hello {{", "Good day {{")
    before = seeded_cli.counts()
    seeded_cli.environment.setenv("NURTURE_DATABASE_URL", _read_only(url))
    result = seeded_cli.fails(*command.split())
    assert result.code == 6
    assert "read-only" in result.err
    seeded_cli.environment.setenv("NURTURE_DATABASE_URL", url)
    assert seeded_cli.counts() == before


def _read_only(url: str) -> str:
    """Return a database URL that SQLite opens read-only, because permissions do not stop root."""
    path = url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return f"sqlite:///file:{path}?mode=ro&uri=true"


def test_a_virtual_clock_is_not_set_back(seeded_cli: CliSession) -> None:
    before = seeded_cli.counts()
    result = seeded_cli.fails("run", "--at", "2026-01-04")
    assert result.code == 4
    assert "only moves forward" in result.err
    assert seeded_cli.counts() == before


def test_a_live_clock_that_was_set_back_stops_everything(cli: CliSession) -> None:
    cli.ok("publish")
    _set_seen_at(cli, "2031-01-01T00:00:00+00:00")
    before = cli.counts()
    for command in ("run", "publish", "leads list", "leads suppress a@people.example"):
        result = cli.fails(*command.split())
        assert result.code == 4
        assert "Correct the system clock" in result.err
    assert cli.counts() == before


def _set_seen_at(cli: CliSession, timestamp: str) -> None:
    with sqlite3.connect(os.environ["NURTURE_DATABASE_URL"].removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE clock SET seen_at = ?", (timestamp,))
    connection.close()


def test_a_live_database_refuses_virtual_time(cli: CliSession) -> None:
    cli.ok("publish")
    result = cli.fails("run", "--at", "2036-01-01")
    assert result.code == 4
    assert "is live" in result.err


def test_a_database_without_tables_says_what_to_run(cli: CliSession) -> None:
    cli.environment.setenv("NURTURE_DATABASE_URL", f"sqlite:///{cli.folder / 'none.db'}")
    result = cli.fails("leads", "list")
    assert result.code == 6
    assert "nurture admin upgrade" in result.err
    assert not (cli.folder / "none.db").exists()


@pytest.mark.parametrize(
    ("command", "code", "names"),
    [
        (["explain", "999"], 3, "999"),
        (["explain", "nobody@people.example"], 3, "nobody@people.example"),
        (["leads", "list", "--custodian", "tracks"], 3, "track"),
        (["handoffs", "accept", "77"], 3, "nurture handoffs list"),
        (["handoffs", "reject", "1", "--reason", "dunno"], 4, "not-now"),
        (["handoffs", "reject", "1", "--reason", "not-now", "--decides-on", "soon"], 4, "2027-03-31"),
        (["handoffs", "list", "--state", "open"], 3, "offered"),
        (["leads", "signal", "1", "waved"], 4, "clicked"),
        (["leads", "signal", "1", "deciding", "soon"], 4, "2027-03-31"),
        (["leads", "signal", "1", "deciding"], 4, "2027-03-31"),
        (["leads", "signal", "1", "clicked", "--at", "2030-01-01"], 4, "future"),
        (["leads", "signal", "1", "clicked", "--at", "noon"], 4, "2027-03-31"),
        (["leads", "suppress", "nobody"], 4, "not an email address"),
        (["leads", "suppress", "a@people.example", "--track", "welcom"], 3, "welcome"),
        (["leads", "suppress", "a@people.example", "--topic", "News"], 3, "nurture publish"),
        (["leads", "suppress", "a@people.example", "--topic", "News", "--track", "keep"], 4, "not both"),
        (["leads", "suppressions", "list", "nobody"], 4, "not an email address"),
        (["leads", "suppressions", "import", "none.csv"], 5, "does not exist"),
        (["leads", "suppressions", "export", "none/out.csv"], 5, "cannot be written"),
        (["leads", "opt-in", "head@people.example", "--scope", "all", "--evidence", "on the phone"], 4, "topic:NAME"),
        (
            ["leads", "opt-in", "head@people.example", "--scope", "global", "--evidence", "yes"],
            4,
            "not enough evidence",
        ),
        (["leads", "pause", "1", "--until", "2020-01-01"], 4, "in the past"),
        (["leads", "pause", "1", "--until", "99999999999d"], 4, "99999999999d"),
        (["leads", "pause", "1", "--until", "²d"], 4, "²d"),
        (["leads", "pause", "1", "--until", ""], 4, "2027-03-31"),
        (["leads", "enroll", "1", "welcom"], 3, "welcome"),
        (["leads", "enroll", "3", "keep"], 4, "with sales"),
        (["leads", "leave", "3"], 4, "on no track"),
        (["leads", "leave", "1", "--queue", ""], 4, "--queue"),
        (["handoffs", "close", "1", "lost"], 4, "--reason"),
        (["handoffs", "close", "1", "gone"], 2, "gone"),
        (["handoffs", "close", "1", "won", "--amount=-5"], 4, "--amount: '-5' is out of range for a deal"),
        (["handoffs", "close", "1", "won", "--amount", "lots"], 4, "Write it as 12000.50"),
        (["preview", "welcome"], 3, "TRACK/EMAIL"),
        (["preview", "welcome/03-gone"], 3, "01-hello"),
        (["preview", "nowhere/01-hello"], 3, "welcome"),
        (["preview", "welcome/01-hello", "--lead", "999"], 3, "999"),
        (["tracks", "test", "welcome/01-hello", "--to", "me"], 1, "not an email address"),
        (["simulate", "nowhere"], 3, "welcome"),
        (["simulate", "welcome", "--start", "soon"], 4, "2027-03-31"),
        (["simulate", "welcome", "--start", "9999-12-01"], 4, "2199"),
        (["simulate", "welcome", "--field", "title"], 3, "NAME=VALUE"),
        (["simulate", "welcome", "--zone", "Mars/Base"], 4, "Mars/Base"),
        (["simulate", "welcome", "--days", "0"], 2, "days"),
        (["check", "--templates", "gone"], 5, "gone"),
        (["handoffs", "follow-up", "1"], 4, "accept the hand-off first"),
        (["reports", "sales", "--since", "2027-01-02", "--until", "2027-01-01"], 4, "Swap the two days"),
        (["leads", "import-signals", "gone.csv"], 5, "gone.csv"),
        (["leads", "import-signals", "."], 5, "folder"),
        (["run", "--at", "now"], 4, "2027-03-31"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_each_mistake_has_an_exit_code_and_a_remedy(
    seeded_cli: CliSession, command: list[str], code: int, names: str
) -> None:
    before = seeded_cli.counts()
    result = seeded_cli.fails(*command)
    assert names in result.err.replace("\n", " ")
    assert result.code == code
    assert seeded_cli.counts() == before


def test_files_that_cannot_be_written_are_named(seeded_cli: CliSession) -> None:
    seeded_cli.write("taken", "a file")
    result = seeded_cli.fails("preview", "welcome/01-hello", "--output", "taken/below")
    assert (result.code, "taken" in result.err) == (5, True)


def test_a_misspelled_setting_is_named(cli: CliSession) -> None:
    cli.environment.setenv("NURTURE_DATABSE_URL", "sqlite:///x.db")
    result = cli.fails("leads", "list")
    assert result.code == 6
    assert "NURTURE_DATABASE_URL" in result.err


def test_the_demo_does_not_empty_a_folder_that_holds_other_things(cli: CliSession) -> None:
    cli.write("mine/notes.txt", "keep")
    result = cli.fails("demo", "--folder", "mine", "--no-flows")
    assert result.code == 4
    assert (cli.folder / "mine/notes.txt").read_text() == "keep"


@pytest.mark.parametrize(
    "command",
    [
        "leads suppressions export mine",
        "reports sales --csv mine",
        "reports sales --html mine",
        "import bad.csv --report mine",
        "leads import-signals bad.csv --report mine",
        "leads import-signals bad.csv --report bad.csv",
        "handoffs outcomes import bad.csv --report bad.csv",
    ],
)
def test_no_command_overwrites_a_file_of_others(seeded_cli: CliSession, command: str) -> None:
    seeded_cli.write("mine", "my notes")
    bad = "lead,outcome,kind,at,Email,Company,Consent\nnobody,,,,no address,,\n"
    seeded_cli.write("bad.csv", bad)
    assert seeded_cli.fails(*command.split()).code in (4, 5)
    assert (seeded_cli.folder / "mine").read_text() == "my notes"
    assert (seeded_cli.folder / "bad.csv").read_text() == bad
    assert not list(seeded_cli.folder.glob(".mine*"))


def test_a_command_overwrites_its_own_files(seeded_cli: CliSession) -> None:
    seeded_cli.write("bad.csv", "Email,Company,Consent\nno address,,\n")
    for _ in range(2):
        seeded_cli.ok("leads", "suppressions", "export", "opt-outs.csv")
        seeded_cli.ok("reports", "sales", "--csv", "sales.csv", "--html", "sales.html")
        seeded_cli.ok("import", "bad.csv")
    assert (seeded_cli.folder / "bad.bad-rows.csv").exists()


def test_init_touches_nothing_beside_the_templates_that_it_makes(cli: CliSession) -> None:
    cli.environment.setenv("NURTURE_TEMPLATES", "new/rules")
    cli.write("new/rules.partial/notes.txt", "mine")
    cli.ok("init")
    assert (cli.folder / "new/rules.partial/notes.txt").read_text() == "mine"
    assert {path.name for path in (cli.folder / "new").iterdir()} == {"rules", "rules.partial"}
    cli.write("new/rules/notes.txt", "mine")
    assert "there already" in cli.ok("init").out
    assert (cli.folder / "new/rules/notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("typed", "meant"), [("impotr", "import"), ("leads enrol", "enroll"), ("handoffs reps lnik", "link")]
)
def test_a_mistyped_command_is_suggested_in_every_group(cli: CliSession, typed: str, meant: str) -> None:
    result = cli.fails(*typed.split())
    assert result.code == 2
    assert f"'. Did you mean '{meant}'?" in result.err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("admin init", "nurture init"), ("leads check", "nurture check"), ("tokens", "nurture admin tokens")],
)
def test_a_command_that_stands_in_another_group_is_found_there(cli: CliSession, typed: str, meant: str) -> None:
    assert f"'{meant}'" in cli.fails(*typed.split()).err.replace("\n", " ")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("handoffs", "accept", "one"), "`one` is not a whole number. `nurture handoffs list` shows the ids."),
        (
            ("handoffs", "list", "--limit", "0"),
            "`0` is not greater than or equal to 1. See `",
        ),
    ],
)
def test_a_number_that_is_none_is_named_with_what_to_do(cli: CliSession, command: tuple[str, ...], says: str) -> None:
    result = cli.fails(*command)
    printed = " ".join(result.err.replace("│", " ").split())
    assert (result.code, says in printed) == (2, True), printed
