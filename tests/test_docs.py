"""The documents for marketers, sales and operators: examples run, links and settings are complete."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from sqlalchemy import CheckConstraint

from flows.deployments import SCHEDULE
from nurture.cli.app import load
from nurture.cli.commands import COMMANDS, GROUPS
from nurture.db.tables.base import table
from nurture.db.tables.delivery import Message
from nurture.journey.intake.api.tokens import TokenScope
from nurture.settings import Settings
from tests import settings_table
from tests.doc_examples import (
    DOCUMENTS,
    NURTURE,
    ROOT,
    RunScript,
    headings,
    read_document,
    read_section,
    shell_blocks,
)
from tests.doubles.sendgrid import KEY, SendGridDouble

FIRST_TRACK = "".join(shell_blocks(read_section("README.md", "Your first track, in ten minutes")))

NOT_RUN_HERE = {
    ("README.md", "Two commands"): "the demo has tests of its own, and the tests run already",
    ("docs/operators.md", "One machine"): "tests/flows/test_up.py starts it",
    ("docs/operators.md", "API"): "tests/cli/test_tokens.py runs it against a server",
    ("docs/operators.md", "Console"): "tests/cli/test_console.py runs it",
    ("docs/operators.md", "Several machines"): "its servers stay up; what it exports is checked below",
}
"""Sections whose examples no test of this folder types, and why."""

_COMMAND = re.compile(r"(?:\.venv/bin/)?nurture((?: [^\s`|]+)+)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def test_what_marketers_type_works_as_it_stands_there(run_script: RunScript) -> None:
    run_script(FIRST_TRACK)
    printed = run_script("".join(shell_blocks(read_document("docs/marketers.md"))))
    assert "2 rows from spring-fair: 2 new" in printed
    assert "Every lead has one" in printed


def test_what_sales_types_works_as_it_stands_there(tmp_path: Path, run_script: RunScript) -> None:
    run_script(FIRST_TRACK)
    printed = run_script("".join(shell_blocks(read_document("docs/sales.md"))))
    assert "1 row from file: 1 new" in printed
    assert "2 offered" in printed
    assert "Version 2 of the policy is in force" in printed
    assert "12000" in (tmp_path / "sales.csv").read_text("utf-8")


def test_the_way_to_real_mail_works_on_a_new_database_as_it_is_typed(
    tmp_path: Path, run_script: RunScript, monkeypatch: pytest.MonkeyPatch
) -> None:
    (script, _smtp) = shell_blocks(read_section("docs/operators.md", "Sending for real"))
    script = script.partition(f"{NURTURE}up")[0]
    leads = "Email,First Name,Lead Source,Consent\nana@example.com,Ana,Fair,Yes\n"
    (tmp_path / "leads.csv").write_text(leads, encoding="utf-8")
    with SendGridDouble(tmp_path / "sendgrid.log") as sendgrid:
        monkeypatch.setenv("NURTURE_SENDGRID_URL", sendgrid.url)
        printed = run_script(script.replace("SG.your-key", KEY) + f"\n{NURTURE}run --json")
        assert len(sendgrid.accepted()) == 1
    assert "1 row from csv: 1 new" in printed
    assert re.search(r'"classified": *\{[^}]*: *1', printed)


def test_a_backup_is_made_as_it_is_typed(tmp_path: Path, run_script: RunScript) -> None:
    (script,) = shell_blocks(read_section("docs/operators.md", "Backup and restore"))
    run_script(f"{NURTURE}init")
    # In bash, which fills in the date.
    run_script("true; " + script.replace("/backups/", f"{tmp_path}/backups/"))
    assert [path.suffix for path in (tmp_path / "backups").iterdir()] == [".db"]


def test_every_shell_example_is_run_or_named_with_the_reason() -> None:
    run_by_section = {
        ("README.md", "Your first track, in ten minutes"),
        ("docs/operators.md", "Sending for real"),
        ("docs/operators.md", "Backup and restore"),
    }
    with_examples = {
        (name, heading[2])
        for name in ("README.md", "docs/operators.md")
        for heading in headings(read_document(name))
        if len(heading[1]) == 2 and shell_blocks(read_section(name, heading[2]))
    }
    assert with_examples == run_by_section | NOT_RUN_HERE.keys()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_setting_that_a_document_exports_is_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in shell_blocks(read_document(name)):
        with monkeypatch.context() as patch:
            for line in re.findall(r"^export (NURTURE_.*)$", block, re.MULTILINE):
                variable, _, value = shlex.split(line, comments=True)[0].partition("=")
                patch.setenv(variable, value)
            Settings.read()


def test_the_table_of_settings_is_current() -> None:
    page = settings_table.PAGE.read_text("utf-8")
    assert settings_table.updated(page) == page, f"run `{settings_table.COMMAND}`"


def test_every_scheduled_flow_stands_in_the_table() -> None:
    section = read_section("docs/operators.md", "Flows and deployments")
    assert re.findall(r"^\| `(flows\.[\w.]+)`", section, re.MULTILINE) == [one.entrypoint for one in SCHEDULE]


def test_every_delivery_state_stands_in_the_table() -> None:
    section = read_section("docs/operators.md", "Delivery states")
    listed = {state for row in re.findall(r"^\| (`.+?) \|", section, re.MULTILINE) for state in re.findall(r"\w+", row)}
    (allowed,) = [
        str(constraint.sqltext)
        for constraint in table(Message).constraints
        if isinstance(constraint, CheckConstraint) and constraint.name == "ck_message_state"
    ]
    assert listed == set(re.findall(r"'(\w+)'", allowed))


def test_every_scope_of_a_token_is_named() -> None:
    section = read_section("docs/operators.md", "API")
    assert {scope.value for scope in TokenScope} == set(re.findall(r"`(\w+:write)`", section))


def test_the_daily_commands_stand_first_in_the_reference_and_in_the_order_of_the_table() -> None:
    listed = re.findall(r"^\| `nurture ([a-z-]+)", read_section("docs/cli.md", "Every day"), re.MULTILINE)
    assert listed == [name for name in COMMANDS if " " not in name]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_that_a_document_names_exists_with_its_options(name: str) -> None:
    text = read_document(name)
    mentioned = re.findall(r"`([^`\n]+)`", text) + "\n".join(shell_blocks(text)).splitlines()
    for command in (found[1] for one in mentioned for found in _COMMAND.finditer(one)):
        words = command.split()
        path = next(
            (" ".join(words[:end]) for end in range(len(words), 0, -1) if " ".join(words[:end]) in COMMANDS),
            None,
        )
        if path is None:
            assert words[0].startswith("-") or any(" ".join(words[:end]) in GROUPS for end in (1, 2)), command
            continue
        known = {option for one in load(path).params for option in (*one.opts, *one.secondary_opts)}
        assert set(re.findall(r"(?<=\s)--[a-z-]+", f" {command}")) <= known | {"--json", "--help"}, command


@pytest.mark.parametrize("name", [*DOCUMENTS, "CONTRIBUTING.md", "SECURITY.md", "templates/README.md"])
def test_every_link_between_documents_leads_somewhere(name: str) -> None:
    for target in _LINK.findall(read_document(name)):
        if re.match(r"\w+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = ((ROOT / name).parent / file).resolve() if file else ROOT / name
        assert path.is_file(), target
        if anchor:
            linked = headings(read_document(path.relative_to(ROOT).as_posix()))
            assert anchor in {_anchor(heading[2]) for heading in linked}, target


def _anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
