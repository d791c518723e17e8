"""What the README tells a newcomer to type works as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest

from nurture.cli import main
from nurture.cli.commands import COMMANDS
from nurture.settings import list_settings
from tests.doubles.sendgrid import KEY, SendGridDouble

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NURTURE = ".venv/bin/nurture "
"""Run here: how the installed command starts is tested once, in tests/cli/test_process.py."""


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Return what types a script in a folder where nothing is set, and tells what was answered."""
    for name in [name for name in os.environ if name.startswith("NURTURE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def type_(script: str) -> str:
        capsys.readouterr()
        for is_ours, lines in groupby(script.splitlines(), lambda line: line.startswith(NURTURE)):
            if not is_ours:
                _in_a_shell(tmp_path, "\n".join(lines), monkeypatch)
                continue
            for line in lines:
                with pytest.raises(SystemExit) as left:
                    main(shlex.split(line, comments=True)[1:])
                assert not left.value.code, (line, capsys.readouterr())
        return capsys.readouterr().out

    return type_


def _in_a_shell(folder: Path, lines: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let bash do what is not ours, and keep what it exports."""
    exported = folder / ".exported"
    done = subprocess.run(
        ["bash", "-e"], input=f"{lines}\nenv -0 > {exported}", cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name, _, value in (one.partition("=") for one in exported.read_text().split("\0")):
        if name.startswith("NURTURE_"):
            monkeypatch.setenv(name, value)
    exported.unlink()


def test_the_first_track_of_the_readme_works_as_it_is_typed(tmp_path: Path, reader: Callable[[str], str]) -> None:
    section = README.partition("### Your first track")[2].partition("### Every day")[0]
    script = "\n".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL))
    shutil.copytree(ROOT / "templates", tmp_path / "templates")
    answered = reader(script)
    assert "No problems in 4 tracks" in answered
    assert "2 rows from csv: 2 new" in answered
    assert "classified  2 nurture" in answered
    assert "by track guide-readers" in answered


def test_the_way_to_real_mail_works_on_a_new_database_as_it_is_typed(
    tmp_path: Path, reader: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    section = README.partition("### Sending for real")[2].partition("### From other programs")[0]
    script = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[0].partition(f"{NURTURE}up")[0]
    leads = "Email,First Name,Lead Source,Consent\nana@example.com,Ana,Fair,Yes\n"
    (tmp_path / "leads.csv").write_text(leads, encoding="utf-8")
    with SendGridDouble(tmp_path / "sendgrid.log") as sendgrid:
        monkeypatch.setenv("NURTURE_SENDGRID_URL", sendgrid.url)
        answered = reader(script.replace("SG.your-key", KEY) + f"\n{NURTURE}run --json")
        assert len(sendgrid.accepted()) == 1
    assert "1 row from csv: 1 new" in answered
    assert re.search(r'"classified": *\{[^}]*: *1', answered)


def test_every_setting_stands_in_the_readme_with_its_default() -> None:
    for variable in list_settings():
        assert f"`{variable.name}`" in README, variable.name


def test_the_daily_commands_stand_in_the_readme_and_it_links_to_all_others() -> None:
    section = README.partition("### Every day")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `nurture ([a-z-]+)", section, re.MULTILINE)
    assert listed == [name for name in COMMANDS if " " not in name and name != "version"]
    assert "(docs/cli.md)" in section
