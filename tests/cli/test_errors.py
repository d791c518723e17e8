"""Bad input: one clear error that says what to do, an exit code, nothing half-done, nothing lost."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Place


def _changed(place: Place, path: str, old: str, new: str) -> None:
    file = place.templates / path
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


@pytest.mark.parametrize("fault", RULES)
@pytest.mark.parametrize("command", ["check", "publish"])
def test_faulty_rules_are_named_with_file_line_and_remedy(running: Place, fault: str, command: str) -> None:
    path, old, new, names = RULES[fault]
    _changed(running, path, old, new)
    before = running.counts()
    said = running.fails(command)
    assert said.code == 2
    told = said.out + said.err
    assert Path(path).name in told.replace("\n", "")
    assert names in told.replace("\n", "")
    assert running.counts() == before


def test_a_policy_without_reps_is_a_fault(running: Place) -> None:
    text = (running.templates / POLICY).read_text("utf-8")
    begin, end = text.index("reps:"), text.index("accept_within")
    (running.templates / POLICY).write_text(text[:begin] + "reps: []\n" + text[end:], "utf-8")
    before = running.counts()
    said = running.fails("publish")
    assert (said.code, "reps" in said.err) == (2, True)
    assert running.counts() == before


def test_all_faults_come_at_once(running: Place) -> None:
    for path, old, new, _ in (RULES["an unknown key"], RULES["an undefined variable"]):
        _changed(running, path, old, new)
    faults = running.run("check", "--json")
    assert faults.code == 2
    assert {Path(fault["file"]).name for fault in faults.json} == {"track.yaml", "01-hello.md"}
    assert all(fault["line"] > 0 and fault["what"] and fault["instead"] for fault in faults.json)


def _wide(place: Place) -> Path:
    return place.write(
        "wide.csv", "Email," + ",".join(f"c{number}" for number in range(10_000)) + "\n" + "x," * 10_000
    )


FILES: dict[str, tuple[Callable[[Place], Path], str]] = {
    "ten thousand columns": (_wide, "column"),
    "a folder": (lambda place: place.folder, "folder"),
    "this folder": (lambda _: Path(), "folder"),
    "no file": (lambda place: place.folder / "gone.csv", "gone.csv"),
    "an empty file": (lambda place: place.write("empty.csv", ""), "empty"),
    "a picture": (lambda place: place.write("a.png", bytes(range(256)) * 40), "a.png"),
    "no known column": (lambda place: place.write("odd.csv", "foo,bar\n1,2\n"), "mapping"),
    "a header alone": (lambda place: place.write("head.csv", "Email,First Name\n"), "head.csv"),
}


@pytest.mark.parametrize("fault", FILES)
def test_a_file_that_is_no_file_of_leads_is_refused_whole(running: Place, fault: str) -> None:
    make, names = FILES[fault]
    file = make(running)
    before = running.counts()
    said = running.fails("import", file, "--source", "crm")
    assert said.code == 5
    assert names in said.err
    assert running.counts() == before


def test_utf_16_is_read_as_what_it_is(running: Place) -> None:
    text = "Email,First Name,Consent\nzoe@people.example,Zoë,consent\n"
    done = running.ok(
        "import", running.write("u16.csv", text.encode("utf-16")), "--source", "crm", "--json"
    ).json
    assert (done["new"], done["bad"]) == (1, 0)
    assert running.ok("leads", "list", "--source", "crm", "--json").out.count("Zoë") == 1


def test_a_nul_in_a_row_makes_that_row_bad_and_no_other(running: Place) -> None:
    text = b"Email,First Name,Consent\na@people.example,A\0nn,consent\nb@people.example,Bob,consent\n"
    done = running.ok("import", running.write("nul.csv", text), "--source", "crm", "--json").json
    assert (done["new"], done["bad"]) == (1, 1)


def test_a_mapping_with_faults_brings_nothing_in(running: Place) -> None:
    file = running.write("p.csv", "Mail\na@people.example\n")
    mapping = running.write("m.yaml", "columns: {Mail: emial}\ncolour: blue\n")
    before = running.counts()
    said = running.fails("import", file, "--mapping", mapping)
    assert said.code == 5
    assert "email" in said.err
    assert "colour" in said.err
    assert running.counts() == before


@pytest.mark.parametrize("command", ["run", "publish", "import p.csv", "leads suppress a@people.example"])
def test_a_read_only_database_is_named_and_keeps_what_it_has(running: Place, command: str) -> None:
    url = os.environ["NURTURE_DATABASE_URL"]
    running.write("p.csv", "Email,Consent\na@people.example,consent\n")
    _changed(running, "tracks/welcome/01-hello.md", "Hello {{", "Good day {{")
    before = running.counts()
    running.environment.setenv("NURTURE_DATABASE_URL", _read_only(url))
    said = running.fails(*command.split())
    assert said.code == 6
    assert "read-only" in said.err
    running.environment.setenv("NURTURE_DATABASE_URL", url)
    assert running.counts() == before


def _read_only(url: str) -> str:
    """Name the database so that SQLite itself opens it for reading only: permissions do not stop root."""
    path = url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return f"sqlite:///file:{path}?mode=ro&uri=true"


def test_a_virtual_clock_is_not_set_back(running: Place) -> None:
    before = running.counts()
    said = running.fails("run", "--at", "2026-01-04")
    assert said.code == 4
    assert "only moves forward" in said.err
    assert running.counts() == before


def test_a_live_clock_that_was_set_back_stops_everything(place: Place) -> None:
    place.ok("publish")
    _see(place, "2031-01-01T00:00:00+00:00")
    before = place.counts()
    for command in ("run", "publish", "leads list", "leads suppress a@people.example"):
        said = place.fails(*command.split())
        assert said.code == 4
        assert "Set the system's clock right" in said.err
    assert place.counts() == before


def _see(place: Place, moment: str) -> None:
    with sqlite3.connect(os.environ["NURTURE_DATABASE_URL"].removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE clock SET seen_at = ?", (moment,))
    connection.close()


def test_a_live_database_takes_no_virtual_time(place: Place) -> None:
    place.ok("publish")
    said = place.fails("run", "--at", "2036-01-01")
    assert said.code == 4
    assert "is live" in said.err


def test_a_database_without_tables_says_what_to_run(place: Place) -> None:
    place.environment.setenv("NURTURE_DATABASE_URL", f"sqlite:///{place.folder / 'none.db'}")
    said = place.fails("leads", "list")
    assert said.code == 6
    assert "nurture admin upgrade" in said.err
    assert not (place.folder / "none.db").exists()


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
        (
            ["leads", "opt-in", "head@people.example", "--scope", "all", "--evidence", "on the phone"],
            4,
            "topic:NAME",
        ),
        (
            ["leads", "opt-in", "head@people.example", "--scope", "global", "--evidence", "yes"],
            4,
            "no evidence",
        ),
        (["leads", "pause", "1", "--until", "2020-01-01"], 4, "passed"),
        (["leads", "pause", "1", "--until", "99999999999d"], 4, "99999999999d"),
        (["leads", "pause", "1", "--until", "²d"], 4, "²d"),
        (["leads", "pause", "1", "--until", ""], 4, "2027-03-31"),
        (["leads", "enroll", "1", "welcom"], 3, "welcome"),
        (["leads", "enroll", "3", "keep"], 4, "with sales"),
        (["leads", "leave", "3"], 4, "on no track"),
        (["leads", "leave", "1", "--queue", ""], 4, "--queue"),
        (["handoffs", "close", "1", "lost"], 4, "--reason"),
        (["handoffs", "close", "1", "gone"], 2, "gone"),
        (["preview", "welcome"], 3, "TRACK/EMAIL"),
        (["preview", "welcome/03-gone"], 3, "01-hello"),
        (["preview", "nowhere/01-hello"], 3, "welcome"),
        (["preview", "welcome/01-hello", "--lead", "999"], 3, "999"),
        (["tracks", "test", "welcome/01-hello", "--to", "me"], 1, "not an email address"),
        (["simulate", "nowhere"], 3, "welcome"),
        (["simulate", "welcome", "--start", "soon"], 4, "2027-03-31"),
        (["simulate", "welcome", "--start", "9999-12-01"], 4, "2199"),
        (["simulate", "welcome", "--fact", "title"], 3, "NAME=VALUE"),
        (["simulate", "welcome", "--zone", "Mars/Base"], 4, "Mars/Base"),
        (["simulate", "welcome", "--days", "0"], 2, "days"),
        (["check", "--templates", "gone"], 5, "gone"),
        (["handoffs", "follow-up", "1"], 4, "it has to be accepted first"),
        (["reports", "sales", "--since", "2027-01-02", "--until", "2027-01-01"], 4, "Turn the days round"),
        (["leads", "import-signals", "gone.csv"], 5, "gone.csv"),
        (["leads", "import-signals", "."], 5, "folder"),
        (["run", "--at", "now"], 4, "2027-03-31"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_each_mistake_has_an_exit_code_and_says_what_to_do(
    running: Place, command: list[str], code: int, names: str
) -> None:
    before = running.counts()
    said = running.fails(*command)
    assert names in said.err.replace("\n", " ")
    assert said.code == code
    assert running.counts() == before


def test_files_that_cannot_be_written_are_named(running: Place) -> None:
    running.write("taken", "a file")
    said = running.fails("preview", "welcome/01-hello", "--output", "taken/below")
    assert (said.code, "taken" in said.err) == (5, True)


def test_a_misspelled_setting_is_named(place: Place) -> None:
    place.environment.setenv("NURTURE_DATABSE_URL", "sqlite:///x.db")
    said = place.fails("leads", "list")
    assert said.code == 6
    assert "NURTURE_DATABASE_URL" in said.err


def test_the_demo_does_not_empty_a_folder_that_holds_other_things(place: Place) -> None:
    place.write("mine/notes.txt", "keep")
    said = place.fails("demo", "--folder", "mine", "--no-flows")
    assert said.code == 4
    assert (place.folder / "mine/notes.txt").read_text() == "keep"


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
def test_no_command_writes_over_a_file_that_it_did_not_write(running: Place, command: str) -> None:
    running.write("mine", "my notes")
    bad = "lead,outcome,kind,at,Email,Company,Consent\nnobody,,,,no address,,\n"
    running.write("bad.csv", bad)
    assert running.fails(*command.split()).code in (4, 5)
    assert (running.folder / "mine").read_text() == "my notes"
    assert (running.folder / "bad.csv").read_text() == bad
    assert not list(running.folder.glob(".mine*"))


def test_a_command_writes_over_what_it_wrote_before(running: Place) -> None:
    running.write("bad.csv", "Email,Company,Consent\nno address,,\n")
    for _ in range(2):
        running.ok("leads", "suppressions", "export", "opt-outs.csv")
        running.ok("reports", "sales", "--csv", "sales.csv", "--html", "sales.html")
        running.ok("import", "bad.csv")
    assert (running.folder / "bad.bad-rows.csv").exists()


def test_init_touches_nothing_beside_the_templates_that_it_makes(place: Place) -> None:
    place.environment.setenv("NURTURE_TEMPLATES", "new/rules")
    place.write("new/rules.partial/notes.txt", "mine")
    place.ok("admin", "init")
    assert (place.folder / "new/rules.partial/notes.txt").read_text() == "mine"
    assert {path.name for path in (place.folder / "new").iterdir()} == {"rules", "rules.partial"}
    place.write("new/rules/notes.txt", "mine")
    assert "there already" in place.ok("admin", "init").out
    assert (place.folder / "new/rules/notes.txt").read_text() == "mine"
