"""Measure the CPU time of starting a command, and of importing its libraries."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench.figures import Figure, Skipped

RUNS: Final = 9
MAX_RATIO: Final = 2
_NURTURE: Final = Path(sys.executable).with_name("nurture")
_LEADS: Final = "email,first_name,company\nann@example.com,Ann,Example Ltd\n"


def measure(folder: Path) -> list[Figure | Skipped]:
    """Measure `nurture version`, and `nurture explain` before and after rules are published.

    Each runs in turn with the imports that it cannot do without.
    """
    environment = _make_database(folder)
    version = _ratio("cli_version_ratio", [_NURTURE, "version"], "import typer", environment)
    command, libraries = [_NURTURE, "explain", "1"], "import typer, sqlmodel"
    explain = _ratio("cli_explain_ratio", command, libraries, environment)
    for step in (["init"], ["publish"], ["run"]):
        subprocess.run([_NURTURE, *step], env=environment, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    published = _ratio("cli_explain_published_ratio", command, libraries, environment)  # it reads the rules too
    return [version, explain, published]


def _ratio(name: str, command: Sequence[str | Path], baseline: str, environment: Mapping[str, str]) -> Figure:
    pairs = [
        (_cpu_seconds(command, environment), _cpu_seconds([sys.executable, "-c", baseline], environment))
        for _ in range(RUNS)
    ]
    ours, libraries = (median(column) for column in zip(*pairs, strict=True))
    note = f"median of {RUNS}; {1_000 * ours:.0f} ms of CPU, `{baseline}` {1_000 * libraries:.0f} ms"
    return Figure(name, ours / libraries, "times", maximum=MAX_RATIO, note=note)


def _cpu_seconds(command: Sequence[str | Path], environment: Mapping[str, str]) -> float:
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, [str(part) for part in command])
    return usage.ru_utime + usage.ru_stime


def _make_database(folder: Path) -> Mapping[str, str]:
    """Make a database with one lead; return the environment in which commands find it."""
    ours = {
        "NURTURE_DATABASE_URL": f"sqlite:///{folder / 'start.db'}",
        "NURTURE_JOURNAL_DIR": str(folder / "journal"),
        "NURTURE_MAILDIR": str(folder / "maildir"),
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NURTURE_")} | ours
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has bytecode
    leads = folder / "leads.csv"
    leads.write_text(_LEADS, "utf-8")
    subprocess.run(
        [_NURTURE, "import", leads, "--source", "bench"], env=environment, stdout=subprocess.DEVNULL, check=True
    )
    return environment
