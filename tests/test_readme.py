"""What the README tells a newcomer to type works as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from typer.main import get_command

from nurture.cli.root import app
from nurture.settings import variables
from tests.doubles.sendgrid import KEY, SendGridDouble

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_first_track_of_the_readme_works_as_it_is_typed(tmp_path: Path) -> None:
    section = README.partition("### Your first track")[2].partition("### Every day")[0]
    script = "\n".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL))
    shutil.copytree(ROOT / "templates", tmp_path / "templates")
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "nurture").symlink_to(Path(sys.executable).with_name("nurture"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NURTURE_")}
    done = subprocess.run(
        ["bash", "-e"],
        input=script,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No faults in 4 tracks" in done.stdout
    assert "2 rows from csv: 2 new" in done.stdout
    assert "classified  2 nurture" in done.stdout
    assert "by track guide-readers" in done.stdout


def test_the_way_to_real_mail_works_on_a_new_database_as_it_is_typed(tmp_path: Path) -> None:
    section = README.partition("### Sending for real")[2].partition("### From other programs")[0]
    script = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[0].partition(".venv/bin/nurture up")[0]
    leads = "Email,First Name,Lead Source,Consent\nana@example.com,Ana,Fair,Yes\n"
    (tmp_path / "leads.csv").write_text(leads, encoding="utf-8")
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "nurture").symlink_to(Path(sys.executable).with_name("nurture"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NURTURE_")}
    with SendGridDouble(tmp_path / "sendgrid.log") as sendgrid:
        done = subprocess.run(
            ["bash", "-e"],
            input=script.replace("SG.your-key", KEY) + "\n.venv/bin/nurture tick --json",
            cwd=tmp_path,
            env=environment | {"NURTURE_SENDGRID_URL": sendgrid.url},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(sendgrid.accepted()) == 1
    assert "1 row from csv: 1 new" in done.stdout
    assert re.search(r'"classified": *\{[^}]*: *1', done.stdout)


def test_every_setting_stands_in_the_readme_with_its_default() -> None:
    for variable in variables():
        assert f"`{variable.name}`" in README, variable.name


def test_every_command_stands_in_the_readme() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    plain = {name for name in commands if name not in ("version", "db")}
    missing = {name for name in plain if not re.search(rf"`?\b{name}\b`?", README)}
    assert not missing
