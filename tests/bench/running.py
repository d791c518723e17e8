"""What `nurture up` costs with nothing to do: CPU time, memory, and bytes of Prefect's database; its console apart."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tests.bench.figures import Figure, Skipped
from tests.flows.prefect_api import any_port, is_served, until

WARM_UP_SECONDS: Final = 90
"""Imports, the tables of Prefect and the registration of the flows are over by then."""

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def measure(folder: Path) -> list[Figure | Skipped]:
    """Measure an idle `nurture up` on an empty database for MINUTES minutes (default 10)."""
    minutes = float(os.environ.get("MINUTES", "10"))
    names = ("NURTURE_WEB_PORT", "NURTURE_PREFECT_PORT", "NURTURE_CONSOLE_PORT")
    ports = {name: str(any_port()) for name in names}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "NURTURE_"))}
    environment |= {**ports, "NURTURE_JOURNAL_DIR": str(folder / "journal")}
    with (folder / "up.log").open("wb") as log:
        program = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from flows.up import up; from nurture.settings import Settings; up(Settings.read())",
            ],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: is_served(f"http://127.0.0.1:{ports['NURTURE_PREFECT_PORT']}/api/health"), 180)
        until(lambda: is_served(f"http://127.0.0.1:{ports['NURTURE_WEB_PORT']}/healthz"), 60)
        time.sleep(WARM_UP_SECONDS)
        tree = process_tree(program.pid)
        began, cpu, used = time.monotonic(), cpu_seconds(tree), _prefect_bytes(folder)
        memory = console_memory = 0.0
        console = next(pid for pid in tree if _name(pid) == "console")
        while time.monotonic() - began < minutes * 60:
            console_memory = max(console_memory, _memory_mb(console))
            memory = max(memory, sum(_memory_mb(pid) for pid in process_tree(program.pid) if pid != console))
            time.sleep(5)
        hours = (time.monotonic() - began) / 3_600
        spent = {pid: seconds - cpu.get(pid, 0) for pid, seconds in cpu_seconds(process_tree(program.pid)).items()}
        grown = (_prefect_bytes(folder) - used) / 1e6
        parts = ", ".join(f"{_name(pid)} {spent[pid]:.1f} s {_memory_mb(pid):.0f} MB" for pid in spent)
    finally:
        program.send_signal(signal.SIGINT)
        program.wait(30)
    console_spent = spent.pop(console)
    note = f"{minutes:g} minutes: {parts}"
    return [
        Figure("up_idle_cpu_percent", sum(spent.values()) / hours / 36, "% of a core", maximum=3, note=note),
        Figure("up_idle_prefect_mb_per_hour", grown / hours, "MB", maximum=1, note="pages of prefect.db in use"),
        Figure(
            "up_idle_memory_mb", memory, "MB", maximum=450, note="PSS of all but the console, the most of any moment"
        ),
        Figure("console_idle_cpu_percent", console_spent / hours / 36, "% of a core", maximum=0.5, note="never opened"),
        Figure("console_idle_memory_mb", console_memory, "MB", maximum=160, note="PSS of the console, never opened"),
    ]


def process_tree(root: int) -> list[int]:
    """Return a process and everything below it."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int(_stat(int(entry.name))[1])
        except OSError:
            continue
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the command, of which the first is the state."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_seconds(tree: list[int]) -> dict[int, float]:
    """Return the CPU seconds of each process, with those of its children that have ended."""
    spent = {}
    for pid in tree:
        try:
            spent[pid] = sum(int(ticks) for ticks in _stat(pid)[11:15]) / _TICKS
        except OSError:
            continue
    return spent


def _memory_mb(pid: int) -> float:
    """Return the proportional set size of a process, 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1_000


def _name(pid: int) -> str:
    last = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").rpartition(b"\0")[2]
    return last.decode() if len(last) < 12 else "other"


def _prefect_bytes(folder: Path) -> int:
    """Return the bytes of Prefect's database that are in use."""
    with sqlite3.connect(f"file:{folder / '.nurture' / 'prefect' / 'prefect.db'}?mode=ro", uri=True) as database:
        [(used,)] = database.execute(
            "SELECT (p.page_count - f.freelist_count) * s.page_size "
            "FROM pragma_page_count p, pragma_freelist_count f, pragma_page_size s"
        )
    database.close()
    return int(used)
