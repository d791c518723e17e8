"""Read README.md and docs/, and run their shell examples."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from itertools import groupby
from pathlib import Path

import pytest

from nurture.cli import main

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md")))
NURTURE = ".venv/bin/nurture "
"""Commands that begin with this run in this process: tests/cli covers how the installed one starts."""

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)

RunScript = Callable[[str], str]


@cache
def read_document(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def headings(text: str) -> list[re.Match[str]]:
    """Return the headings of a document, without comments in code blocks."""
    blanked = _BLOCK.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), text)
    return list(_HEADING.finditer(blanked))


def read_section(name: str, title: str) -> str:
    """Return the text below the heading *title*, up to the next heading that is not below it."""
    text = read_document(name)
    found = headings(text)
    (start,) = [one for one in found if one[2] == title]
    rest = [one.start() for one in found if one.start() > start.start() and len(one[1]) <= len(start[1])]
    return text[start.end() : rest[0] if rest else len(text)]


def shell_blocks(text: str) -> list[str]:
    """Return the shell examples of a text, in order."""
    return [script for language, script in _BLOCK.findall(text) if language == "sh"]


def run_in_folder(
    folder: Path, script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """Run *script* in *folder* and return nurture's output; every command must succeed."""
    capsys.readouterr()
    for is_nurture, lines in groupby(script.splitlines(), lambda line: line.startswith(NURTURE)):
        if not is_nurture:
            run_in_shell(folder, "\n".join(lines), monkeypatch)
            continue
        for line in lines:
            with pytest.raises(SystemExit) as left:
                main(shlex.split(line, comments=True)[1:])
            assert not left.value.code, (line, capsys.readouterr())
    return capsys.readouterr().out


def run_in_shell(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run *script* in bash and return its output; keep the settings that it exports."""
    exported = folder / ".exported"
    command = folder / NURTURE.strip()
    if not command.exists():
        command.parent.mkdir(parents=True, exist_ok=True)
        command.symlink_to(Path(sys.executable).with_name("nurture"))
    done = subprocess.run(
        ["bash", "-e"],
        input=f"{script}\nenv -0 > {exported}",
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name, _, value in (one.partition("=") for one in exported.read_text("utf-8").split("\0")):
        if name.startswith("NURTURE_"):
            monkeypatch.setenv(name, value)
    exported.unlink()
    return done.stdout
