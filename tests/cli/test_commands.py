"""Every command exists, has help, prints for people, and prints JSON for programs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nurture.cli.app import app
from nurture.cli.commands import COMMANDS, GROUPS
from tests.cli.conftest import CliSession
from tests.doubles.sendgrid_events import Signer


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_exists_and_has_a_help_text(command: str) -> None:
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
    below = [name for path in (*COMMANDS, *GROUPS) for before, _, name in [path.rpartition(" ")] if before == group]
    assert listed == below


def test_no_command_prints_help_and_an_unknown_one_is_an_error() -> None:
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
        "mail run",
        "doctor",
        "mail messages",
        "leads enroll 1 keep",
        "handoffs list",
        "leads list",
        "handoffs reassign 1 ben",
        "handoffs waiting",
        "handoffs waiting --person ana",
        "reports queues",
        "reports speed",
        "leads erase 2 --yes",
        "leads leave 1",
        "leads open-tracking 1",
        "handoffs outcomes list",
        "policy show",
        "leads open-tracking 1 --agreed",
        "leads open-tracking 1 --withdrawn",
        "leads pause 1 --until 30d",
        "leads pause 1 30d",
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
        "leads qualify 1 --source ana --budget yes --confidence confirmed",
        "leads replies 1",
        "reports measures",
        "reports measures --html measures.html --csv measures.csv",
        "reports measures --row R18 --leads",
        "reports measures --row R18 --month 2027-01 --missed",
        "reports measures --definitions",
        "reports audit --rebuild",
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
        "tracks fields",
        "tracks history welcome",
        "leads enroll keep --where everybody --dry-run",
        "publish welcome --take-in",
        "check --leads",
        "version",
        "explain 1",
    ],
)
def test_each_command_prints_for_people_and_for_programs(seeded_cli: CliSession, command: str) -> None:
    result = seeded_cli.ok(*command.split(), "--json")
    assert result.json is not None
    assert result.err == ""
    if " ".join(command.split()[:2]) not in (
        "handoffs accept",
        "handoffs reassign",
        "handoffs reject",
        "leads leave",
    ):  # one-time commands are not repeated
        assert seeded_cli.ok(*command.split()).out.strip()


def test_a_lead_in_a_queue_is_decided_about_once(seeded_cli: CliSession) -> None:
    lead = seeded_cli.ok("handoffs", "reject", "1", "--reason", "please-check", "--json").json["lead"]
    decide = ("handoffs", "decide", lead, "--by", "ana")
    assert "needs a reason" in seeded_cli.run(*decide, "--discard").err
    assert "is offered to ben now" in seeded_cli.ok(*decide, "--to", "ben").out
    assert "waits in no queue" in seeded_cli.run(*decide, "--to", "ben").err


@pytest.mark.parametrize(
    "command", ["handoffs accept 1", "handoffs reassign 1 ben", "handoffs reject 1 --reason bad-fit", "leads leave 1"]
)
def test_one_time_commands_print_for_people_too(seeded_cli: CliSession, command: str) -> None:
    assert seeded_cli.ok(*command.split()).out.strip()
    assert seeded_cli.fails(*command.split()).code == 4


def test_an_accepted_lead_can_be_followed_up(seeded_cli: CliSession) -> None:
    assert seeded_cli.fails("handoffs", "follow-up", 3).code == 4
    seeded_cli.ok("handoffs", "accept", 1)
    assert seeded_cli.ok("handoffs", "follow-up", 3, "--channel", "meeting", "--json").json["channel"] == "meeting"
    assert "by ana: call" in seeded_cli.ok("handoffs", "follow-up", 3).out


def test_a_lead_goes_from_a_file_to_a_rep(seeded_cli: CliSession) -> None:
    leads = seeded_cli.ok("leads", "list", "--json").json
    assert {(lead["name"], lead["custodian"], lead["ref"]) for lead in leads} == {
        ("Hedda", "track", "welcome"), ("Claus", "track", "keep"), ("Rea", "offer", "1"),
    }  # fmt: skip
    assert seeded_cli.ok("leads", "list", "--track", "keep", "--json").json[0]["name"] == "Claus"
    (offer,) = seeded_cli.ok("handoffs", "list", "--json").json
    assert offer["rep"] == "ana"
    seeded_cli.ok("handoffs", "accept", offer["offer_id"])
    assert [lead["ref"] for lead in seeded_cli.ok("leads", "list", "--custodian", "rep", "--json").json] == ["ana"]
    seeded_cli.ok("leads", "signal", "head@people.example", "replied")
    seeded_cli.ok("run")
    seeded_cli.ok("handoffs", "reject", 2, "--reason", "not-now", "--decides-on", "2026-12-01")
    assert [each["state"] for each in seeded_cli.ok("handoffs", "list", "--json").json] == ["rejected", "accepted"]
    assert seeded_cli.ok("handoffs", "list", "--state", "accepted", "--json").json[0]["offer_id"] == 1
    seeded_cli.ok("handoffs", "close", "c3", "won", "--amount", "1200", "--on", "2026-01-04")
    assert seeded_cli.ok("reports", "funnel", "--json").json["resting"] == {"customer": 1}
    payload = seeded_cli.ok("explain", "c1", "--json").json
    assert "recycled" in [each["event"] for each in payload["history"]]
    assert seeded_cli.ok("reports", "audit", "--json").json["ok"] is True


def test_a_changed_policy_waits_for_its_approver(seeded_cli: CliSession) -> None:
    path = seeded_cli.templates / "sales/policy.yaml"
    path.write_text(path.read_text("utf-8").replace("capacity: 5", "capacity: 1"), "utf-8")
    assert "pending approval by Sam, sales" in seeded_cli.ok("publish").out
    assert 'nurture policy approve --by "Sam"' in seeded_cli.ok("policy", "show").out
    assert "rep ana, capacity: 5 becomes 1" in seeded_cli.ok("policy", "diff").out
    assert "Sam, sales" in seeded_cli.fails("policy", "approve", "--by", "Ann").err
    assert seeded_cli.fails("policy", "approve", "--by", "Sam", "--on", "tomorrow").code == 4
    done = seeded_cli.ok("policy", "approve", "--by", "Sam", "--on", "2026-01-02", "--version", 2, "--json").json
    assert (done["policy_version"], done["approved_by"], done["approved_on"]) == (2, "Sam, sales", "2026-01-02")
    listed = seeded_cli.ok("policy", "show", "--json").json
    assert [(one["version"], one["state"], one["offers"]) for one in listed] == [
        (2, "in_force", 0), (1, "superseded", 1),
    ]  # fmt: skip


def test_publish_says_how_many_known_leads_a_changed_audience_fits(seeded_cli: CliSession) -> None:
    path = seeded_cli.templates / "tracks/welcome/track.yaml"
    text = path.read_text("utf-8").replace("{field: title, contains: [head]}", "everybody")
    path.write_text(text.replace("takes_over: no\n", ""), "utf-8")
    assert seeded_cli.ok("publish", "--dry-run", "--json").json["changes"][0]["fits"] == {"keep": 1}
    shown = seeded_cli.ok("publish").out
    assert "1 lead fits: 1 on keep" in shown
    assert "--take-in" in shown


def test_a_dry_run_shows_what_leads_get_earlier_and_a_rollback_undoes_it(seeded_cli: CliSession) -> None:
    path = seeded_cli.templates / "tracks/keep/track.yaml"
    path.write_text(path.read_text("utf-8").replace("after: 10 days", "after: 2 days"), "utf-8")
    shown = seeded_cli.ok("publish", "keep", "--dry-run")
    assert "if nobody reacts, the change affects 1 of 1 lead: " in " ".join(shown.out.split())
    assert re.search(r"keep +01-news +1 +earlier", shown.out)
    effects = seeded_cli.ok("publish", "keep", "--dry-run", "--json").json["effects"]
    assert (effects["leads"], effects["rows"][0]["change"]) == (1, "earlier")
    seeded_cli.ok("publish", "keep")
    assert re.search(
        r"keep +01-news +1 +later", seeded_cli.ok("tracks", "rollback", "keep", "--to", 1, "--dry-run").out
    )
    assert (
        "track keep version 3 published (was version 2)" in seeded_cli.ok("tracks", "rollback", "keep", "--to", 1).out
    )
    assert seeded_cli.fails("tracks", "rollback", "keep", "--to", 1).code == 4


def test_explain_shows_state_custodian_and_reason_of_a_lead(seeded_cli: CliSession) -> None:
    shown = seeded_cli.ok("explain", "ready@people.example").out
    for word in ("Rea", "offer", "ana", "demo_requested is yes"):
        assert word in shown


def test_an_import_reports_its_leads_and_a_repeat_changes_nothing(cli: CliSession) -> None:
    file = cli.write(
        "people.csv", "Email,First Name,Consent\nann@people.example,Ann,consent\nnot an address,Bob,consent\n"
    )
    done = cli.ok("import", file, "--source", "crm", "--json").json
    assert (done["rows"], done["new"], done["rejected"]) == (2, 1, 1)
    assert Path(done["report_path"]).exists()
    before = cli.counts()
    again = cli.ok("import", file, "--source", "crm", "--json").json
    assert (again["new"], again["unchanged"]) == (0, 1)
    after = cli.counts()
    assert {**after, "import_file": 0} == {**before, "import_file": 0}


def test_a_dry_run_of_an_import_leaves_nothing(cli: CliSession) -> None:
    file = cli.write("people.csv", "Email,Consent\nann@people.example,consent\n")
    before = cli.counts()
    assert cli.ok("import", file, "--source", "crm", "--dry-run", "--json").json["new"] == 1
    after = cli.counts()
    assert {**after, "clock": 0} == {**before, "clock": 0}


def test_signals_are_imported_from_a_file(seeded_cli: CliSession) -> None:
    file = seeded_cli.write("signals.csv", "lead,kind,at\nc1,clicked,2026-01-05\nc9,clicked,2026-01-05\n")
    done = seeded_cli.ok("leads", "import-signals", file, "--json").json
    assert (done["new"], done["rejected"]) == (1, 1)
    assert "1 rejected row, with line and reason" in seeded_cli.ok("leads", "import-signals", file).out


def test_opt_outs_are_added_imported_and_exported(seeded_cli: CliSession) -> None:
    result = seeded_cli.ok(
        "leads", "suppress", "head@people.example", "Stranger <stranger@people.example>", "--json"
    ).json
    assert (result["new"], result["known"]) == (2, 0)
    seeded_cli.ok("leads", "suppress", "clerk@people.example", "--track", "Keep")
    (track,) = seeded_cli.ok("leads", "suppressions", "list", "clerk@people.example", "--json").json
    assert (track["scope"], track["ref"], track["source"]) == ("track", "keep", "admin")
    file = seeded_cli.write("list.csv", "new@people.example\nnot an address\nhead@people.example\n")
    done = seeded_cli.ok("leads", "suppressions", "import", file, "--json").json
    assert (done["rows"], done["new"], done["unchanged"], done["rejected"]) == (3, 1, 1, 1)
    assert "not an address" in Path(done["report_path"]).read_text("utf-8-sig")
    shown = seeded_cli.ok("leads", "suppressions", "export", "-").out
    assert shown.splitlines()[0] == "email,scope,ref,source,date,kind"
    assert len(shown.splitlines()) == 5
    assert len(seeded_cli.ok("leads", "suppressions", "export", "-", "--json").json) == 4
    assert seeded_cli.ok("leads", "suppressions", "export", "out.csv", "--json").json == {"file": "out.csv", "rows": 4}
    assert (seeded_cli.folder / "out.csv").read_text("utf-8") == shown
    seeded_cli.ok("run")
    assert seeded_cli.ok("leads", "list", "--custodian", "queue", "--json").json != []


def test_a_lead_that_opts_in_again_is_mailed_again_and_its_evidence_is_shown(seeded_cli: CliSession) -> None:
    seeded_cli.ok("leads", "suppress", "head@people.example")
    seeded_cli.ok("run", "--at", "2026-01-05T10:00")
    evidence = "asked for our news again on the phone on 5 January"
    opt_in = ("leads", "opt-in", "head@people.example", "--scope", "global", "--evidence", evidence)
    done = seeded_cli.ok(*opt_in, "--json").json
    assert [one["source"] for one in done["lifted"]] == ["admin"]
    assert "This address is not suppressed." in seeded_cli.ok(*opt_in).out
    assert evidence in " ".join(seeded_cli.ok("explain", "head@people.example").out.split())
    seeded_cli.ok("run", "--at", "2026-01-05T11:00")
    assert seeded_cli.ok("leads", "suppressions", "list", "--json").json == []
    on_track = seeded_cli.ok("leads", "list", "--custodian", "track", "--json").json
    assert "Hedda" in {lead["name"] for lead in on_track}


def test_a_preview_leaves_files_to_open_and_a_test_mail_arrives(seeded_cli: CliSession) -> None:
    shown = seeded_cli.ok("preview", "welcome/01-hello", "--lead", "c1", "--json").json
    assert "Hello Hedda" in Path(shown["text"]).read_text("utf-8")
    assert Path(shown["html"]).exists()
    before = seeded_cli.counts()
    seeded_cli.ok("tracks", "test", "welcome/01-hello.md", "--to", "me@house.example")
    assert any("me@house.example" in mail.read_text() for mail in (seeded_cli.folder / "maildir/new").iterdir())
    assert seeded_cli.counts() == before


def test_check_counts_what_is_valid(cli: CliSession) -> None:
    assert "No problems in 2 tracks, 3 emails" in cli.ok("check").out
    assert cli.ok("check", "--json").json == []


def test_check_warns_if_leads_are_to_confirm_and_there_are_no_pages(cli: CliSession) -> None:
    cli.write("rules/sending.yaml", "sources: {website: {confirm: yes}}\n")
    (warning,) = cli.ok("check", "--json").json
    assert (warning["file"], warning["is_warning"]) == ("sending.yaml", True)
    assert "NURTURE_BASE_URL is not set: these leads wait" in warning["message"]
    cli.environment.setenv("NURTURE_BASE_URL", "https://go.example.com")
    assert cli.ok("check", "--json").json == []


def test_batches_are_refused_where_the_provider_cannot_follow(cli: CliSession) -> None:
    track = cli.folder / "rules/tracks/welcome/track.yaml"
    track.write_text(f"{track.read_text()}batch: yes\n")
    for variables, words in (
        ({}, "needs a provider that takes many emails in one request, and maildir takes one"),
        ({"NURTURE_PROVIDER": "sendgrid", "NURTURE_SENDGRID_KEY": "SG.x"}, "NURTURE_SENDGRID_WEBHOOK_KEY is not set"),
    ):
        for name, value in variables.items():
            cli.environment.setenv(name, value)
        refused = cli.run("check", "--json")
        (problem,) = refused.json
        assert (refused.code, problem["file"], problem["is_warning"]) == (2, "tracks/welcome/track.yaml", False)
        assert track.read_text().splitlines()[problem["line"] - 1] == "batch: yes"
        assert words in problem["message"]
        assert words in " ".join(cli.run("publish").err.split())
    cli.environment.setenv("NURTURE_SENDGRID_WEBHOOK_KEY", Signer().public)
    assert cli.ok("check", "--json").json == []


def test_db_upgrade_makes_a_database_once(cli: CliSession) -> None:
    cli.environment.setenv("NURTURE_DATABASE_URL", f"sqlite:///{cli.folder / 'new.db'}")
    assert cli.ok("admin", "upgrade", "--json").json["applied"]
    assert cli.ok("admin", "upgrade", "--json").json["applied"] == []
