"""docs/cli.md lists every command, with its arguments and in the order of the table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nurture.cli.app import load
from nurture.cli.commands import COMMANDS, GROUPS

REFERENCE = (Path(__file__).parents[2] / "docs/cli.md").read_text("utf-8")
_ROW = re.compile(
    r"^\| `nurture (?P<path>[a-z -]+?)(?P<arguments>(?: \[?[A-Z].*?)?)` \| (?P<what>.+) \|$", re.MULTILINE
)
ROWS = {row["path"]: row for row in _ROW.finditer(REFERENCE)}


def test_every_command_is_listed_once_in_the_order_of_the_table() -> None:
    assert [row["path"] for row in _ROW.finditer(REFERENCE)] == list(COMMANDS)
    assert len(re.findall(r"^\| `nurture ", REFERENCE, re.MULTILINE)) == len(COMMANDS)


def test_each_command_is_listed_below_its_group() -> None:
    headings = re.findall(r"^##+ nurture (.+)$", REFERENCE, re.MULTILINE)
    assert sorted(headings) == sorted(GROUPS)
    for heading, section in re.findall(r"^##+ (.+)$([^#]*)", REFERENCE, re.MULTILINE):
        group = heading.removeprefix("nurture ") if heading.startswith("nurture ") else ""
        listed = [row["path"] for row in _ROW.finditer(section)]
        assert listed == [path for path in COMMANDS if path.rpartition(" ")[0] == group], heading


@pytest.mark.parametrize("command", COMMANDS)
def test_a_row_has_the_arguments_of_its_command_and_no_option_that_is_not_there(command: str) -> None:
    params = load(command).params
    arguments = [
        f" {name}" if one.required else f" [{name}]"
        for one in params
        if one.param_type_name == "argument"
        for name in [f"{(one.metavar or one.name or '').upper()}{'...' * (one.nargs == -1)}"]
    ]
    assert ROWS[command]["arguments"] == "".join(arguments)
    assert ROWS[command]["what"].endswith(".")
    options = {option for one in params for option in (*one.opts, *one.secondary_opts)}
    assert set(re.findall(r"--[a-z-]+", ROWS[command]["what"])) <= options
