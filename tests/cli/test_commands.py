"""Every command: it is there, helps, prints for people, and prints JSON for programs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nurture.cli.app import app
from nurture.cli.commands import COMMANDS, GROUPS
from tests.cli.conftest import Place


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_there_and_says_what_it_does(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert re.search(r"[A-Z][^\n]{10,}\.", shown.output), "help says nothing"
    prints_for_programs = command not in ("demo", "up")
    assert ("--json" in _plain(shown.output)) is prints_for_programs


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("group", ["", *GROUPS])
def test_a_group_lists_its_commands_and_the_groups_below_it(group: str) -> None:
    shown = _plain(CliRunner().invoke(app, [*group.split(), "--help"], env={"COLUMNS": "200"}).output)
    listed = re.findall(r"^│ ([a-z][a-z-]+) ", shown, re.MULTILINE)
    below = [
        name for path in (*COMMANDS, *GROUPS) for before, _, name in [path.rpartition(" ")] if before == group
    ]
    assert listed == below


def test_without_a_command_there_is_help_and_an_unknown_one_is_an_error() -> None:
    assert "Usage" in CliRunner().invoke(app, []).output
    assert CliRunner().invoke(app, ["advnace"]).exit_code == 2


@pytest.mark.parametrize(
    "command",
    [
        "handoffs accept 1",
        "leads accounts list",
        "leads accounts match 1",
        "leads accounts match 1 none",
        "handoffs reps list",
        "handoffs reps revoke ana",
        "handoffs replay",
        "reports audit",
        "check",
        "handoffs close 1 won",
        "handoffs crm check",
        "handoffs crm drift",
        "handoffs crm sync",
        "admin upgrade",
        "delivery run",
        "doctor",
        "delivery messages",
        "leads enroll 1 keep",
        "handoffs list",
        "leads list",
        "handoffs reassign 1 ben",
        "leads erase 2 --yes",
        "leads leave 1",
        "leads open-tracking 1",
        "handoffs outcomes list",
        "policy show",
        "leads open-tracking 1 --agreed",
        "leads open-tracking 1 --withdrawn",
        "leads pause 1 --until 30d",
        "preview welcome/01-hello",
        "preview welcome/01-hello --lead 1",
        "policy check",
        "policy diff",
        "publish",
        "publish --dry-run",
        "handoffs reject 1 --reason not-now",
        "reports funnel",
        "reports links",
        "reports touches",
        "leads qualify 1 --source ana --budget yes --sure confirmed",
        "leads replies 1",
        "reports sales",
        "reports sales --html sales.html --csv sales.csv",
        "reports tracks",
        "reports wins",
        "leads resume 1",
        "reports deliverability",
        "leads score 1",
        "leads signal 1 clicked",
        "simulate welcome --days 30 --start 2026-03-02",
        "leads suppress stranger@people.example",
        "leads suppressions export gone.csv",
        "leads suppressions list",
        "leads suppressions list head@people.example",
        "tracks test welcome/01-hello --to me@house.example",
        "run",
        "tracks list",
        "version",
        "explain 1",
    ],
)
def test_each_command_prints_for_people_and_for_programs(running: Place, command: str) -> None:
    said = running.ok(*command.split(), "--json")
    assert said.json is not None
    assert said.err == ""
    if " ".join(command.split()[:2]) not in (
        "handoffs accept",
        "handoffs reassign",
        "handoffs reject",
        "leads leave",
    ):  # what is done once is not done twice
        assert running.ok(*command.split()).out.strip()


@pytest.mark.parametrize(
    "command",
    ["handoffs accept 1", "handoffs reassign 1 ben", "handoffs reject 1 --reason bad-fit", "leads leave 1"],
)
def test_what_is_done_once_prints_for_people_too(running: Place, command: str) -> None:
    assert running.ok(*command.split()).out.strip()
    assert running.fails(*command.split()).code == 4


def test_a_lead_that_was_taken_over_is_followed_up(running: Place) -> None:
    assert running.fails("handoffs", "follow-up", 3).code == 4
    running.ok("handoffs", "accept", 1)
    assert running.ok("handoffs", "follow-up", 3, "--how", "meeting", "--json").json["how"] == "meeting"
    assert "by ana: call" in running.ok("handoffs", "follow-up", 3).out


def test_the_way_of_a_lead_from_a_file_to_a_rep(running: Place) -> None:
    leads = running.ok("leads", "list", "--json").json
    assert {(lead["name"], lead["custodian"], lead["ref"]) for lead in leads} == {
        ("Hedda", "track", "welcome"), ("Claus", "track", "keep"), ("Rea", "offer", "1"),
    }  # fmt: skip
    assert running.ok("leads", "list", "--track", "keep", "--json").json[0]["name"] == "Claus"
    (offer,) = running.ok("handoffs", "list", "--json").json
    assert offer["rep"] == "ana"
    running.ok("handoffs", "accept", offer["offer_id"])
    assert [lead["ref"] for lead in running.ok("leads", "list", "--custodian", "rep", "--json").json] == [
        "ana"
    ]
    running.ok("leads", "signal", "head@people.example", "replied")
    running.ok("run")
    running.ok("handoffs", "reject", 2, "--reason", "not-now", "--decides-on", "2026-12-01")
    assert [each["state"] for each in running.ok("handoffs", "list", "--json").json] == [
        "rejected",
        "accepted",
    ]
    assert running.ok("handoffs", "list", "--state", "accepted", "--json").json[0]["offer_id"] == 1
    running.ok("handoffs", "close", "c3", "won", "--amount", "1200", "--on", "2026-01-04")
    assert running.ok("reports", "funnel", "--json").json["closed"] == {"won": 1}
    told = running.ok("explain", "c1", "--json").json
    assert "recycled" in [each["event"] for each in told["history"]]
    assert running.ok("reports", "audit", "--json").json["ok"] is True


def test_a_changed_policy_waits_for_its_approver(running: Place) -> None:
    path = running.templates / "sales/policy.yaml"
    path.write_text(path.read_text("utf-8").replace("capacity: 5", "capacity: 1"), "utf-8")
    assert "waits for the approval of Sam, sales" in running.ok("publish").out
    assert 'nurture policy approve --by "Sam"' in running.ok("policy", "show").out
    assert "rep ana, capacity: 5 becomes 1" in running.ok("policy", "diff").out
    assert "Sam, sales" in running.fails("policy", "approve", "--by", "Ann").err
    assert running.fails("policy", "approve", "--by", "Sam", "--on", "tomorrow").code == 4
    done = running.ok("policy", "approve", "--by", "Sam", "--on", "2026-01-02", "--version", 2, "--json").json
    assert (done["policy_version"], done["approved_by"], done["approved_on"]) == (
        2,
        "Sam, sales",
        "2026-01-02",
    )
    listed = running.ok("policy", "show", "--json").json
    assert [(one["version"], one["state"], one["offers"]) for one in listed] == [
        (2, "in force", 0), (1, "before", 1),
    ]  # fmt: skip


def test_why_says_where_a_lead_is_who_has_it_and_why(running: Place) -> None:
    shown = running.ok("explain", "ready@people.example").out
    for word in ("Rea", "offer", "ana", "demo_requested is yes"):
        assert word in shown


def test_an_import_tells_what_came_in_and_again_changes_nothing(place: Place) -> None:
    file = place.write(
        "people.csv",
        "Email,First Name,Consent\nann@people.example,Ann,consent\nnot an address,Bob,consent\n",
    )
    done = place.ok("import", file, "--source", "crm", "--json").json
    assert (done["rows"], done["new"], done["bad"]) == (2, 1, 1)
    assert Path(done["report_path"]).exists()
    before = place.counts()
    again = place.ok("import", file, "--source", "crm", "--json").json
    assert (again["new"], again["unchanged"]) == (0, 1)
    after = place.counts()
    assert {**after, "import_file": 0} == {**before, "import_file": 0}


def test_a_dry_run_of_an_import_leaves_nothing(place: Place) -> None:
    file = place.write("people.csv", "Email,Consent\nann@people.example,consent\n")
    before = place.counts()
    assert place.ok("import", file, "--source", "crm", "--dry-run", "--json").json["new"] == 1
    after = place.counts()
    assert {**after, "clock": 0} == {**before, "clock": 0}


def test_signals_come_from_a_file(running: Place) -> None:
    file = running.write("signals.csv", "lead,kind,at\nc1,clicked,2026-01-05\nc9,clicked,2026-01-05\n")
    done = running.ok("leads", "import-signals", file, "--json").json
    assert (done["new"], done["bad"]) == (1, 1)
    assert "bad rows" in running.ok("leads", "import-signals", file).out


def test_opt_outs_go_in_from_the_command_line_and_from_a_file_and_come_out_again(running: Place) -> None:
    said = running.ok(
        "leads", "suppress", "head@people.example", "Stranger <stranger@people.example>", "--json"
    ).json
    assert (said["new"], said["known"]) == (2, 0)
    running.ok("leads", "suppress", "clerk@people.example", "--track", "Keep")
    (track,) = running.ok("leads", "suppressions", "list", "clerk@people.example", "--json").json
    assert (track["scope"], track["ref"], track["source"]) == ("track", "keep", "admin")
    file = running.write("list.csv", "new@people.example\nnot an address\nhead@people.example\n")
    done = running.ok("leads", "suppressions", "import", file, "--json").json
    assert (done["rows"], done["new"], done["known"], done["bad"]) == (3, 1, 1, 1)
    assert "not an address" in Path(done["report_path"]).read_text("utf-8-sig")
    shown = running.ok("leads", "suppressions", "export", "-").out
    assert shown.splitlines()[0] == "email,scope,ref,source,date"
    assert len(shown.splitlines()) == 5
    assert len(running.ok("leads", "suppressions", "export", "-", "--json").json) == 4
    assert running.ok("leads", "suppressions", "export", "out.csv", "--json").json == {
        "file": "out.csv",
        "rows": 4,
    }
    assert (running.folder / "out.csv").read_text("utf-8") == shown
    running.ok("run")
    assert running.ok("leads", "list", "--custodian", "queue", "--json").json != []


def test_a_lead_that_opts_in_again_is_mailed_again_and_its_evidence_is_told(running: Place) -> None:
    running.ok("leads", "suppress", "head@people.example")
    running.ok("run", "--at", "2026-01-05T10:00")
    evidence = "asked for our news again on the phone on 5 January"
    opt_in = ("leads", "opt-in", "head@people.example", "--scope", "global", "--evidence", evidence)
    done = running.ok(*opt_in, "--json").json
    assert [one["source"] for one in done["lifted"]] == ["admin"]
    assert "Nothing stands" in running.ok(*opt_in).out
    assert evidence in " ".join(running.ok("explain", "head@people.example").out.split())
    running.ok("run", "--at", "2026-01-05T11:00")
    assert running.ok("leads", "suppressions", "list", "--json").json == []
    on_track = running.ok("leads", "list", "--custodian", "track", "--json").json
    assert "Hedda" in {lead["name"] for lead in on_track}


def test_a_preview_leaves_files_to_open_and_a_test_mail_arrives(running: Place) -> None:
    shown = running.ok("preview", "welcome/01-hello", "--lead", "c1", "--json").json
    assert "Hello Hedda" in Path(shown["text"]).read_text("utf-8")
    assert Path(shown["html"]).exists()
    before = running.counts()
    running.ok("tracks", "test", "welcome/01-hello.md", "--to", "me@house.example")
    assert any("me@house.example" in mail.read_text() for mail in (running.folder / "mailbox/new").iterdir())
    assert running.counts() == before


def test_check_tells_how_much_it_found_in_order(place: Place) -> None:
    assert "No faults in 2 tracks, 3 emails" in place.ok("check").out
    assert place.ok("check", "--json").json == []


def test_db_upgrade_makes_a_database_once(place: Place) -> None:
    place.environment.setenv("NURTURE_DATABASE_URL", f"sqlite:///{place.folder / 'new.db'}")
    assert place.ok("admin", "upgrade", "--json").json["applied"]
    assert place.ok("admin", "upgrade", "--json").json["applied"] == []
