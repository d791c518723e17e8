"""Run the experiments, all or the named ones: `SEED=7 python -m tests.chaos [kill] [concurrent] ...`."""

from __future__ import annotations

import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.bench.figures import Figure, Skipped, notes
from tests.chaos import (
    concurrent_workers,
    event_orders,
    flooding,
    forging,
    full_disk,
    handoff_kills,
    hostile_mail,
    killing,
    lifecycle,
    pool_kills,
    provider_faults,
    restoring,
    scanning,
    server_kills,
    soaking,
    stopping,
    suppressing,
)
from tests.chaos.databases import PostgresSource, SqliteSource
from tests.doubles.sendgrid import SendGridDouble
from tests.postgres import postgres

RESULTS: Final = Path(__file__).parents[2] / "build" / "chaos.json"
KILLS, HANDOFF_KILLS, INTERLEAVINGS, FULL_DISKS = 200, 220, 10_000, 15
STREAMS, FORGERIES, EVENTS, ENDS = 20_000, 5_000, 50_000, 5
SCANNED, RESTORES, STOP_RACES, HISTORIES = 1_000, 200, 5_000, 30
_SHOWN: Final = 40  # violations that are printed
ExperimentResult = tuple[Sequence[Figure | Skipped], list[str]]


@dataclass(frozen=True)
class Setup:
    """The environment of the experiments."""

    folder: Path
    server: Callable[[str], str]
    double: SendGridDouble
    seed: int

    def database_sources(self, count: int, *, planned: bool = True) -> tuple[SqliteSource, PostgresSource]:
        """Return both databases, with *count* messages each."""
        return (SqliteSource(self.folder, count, planned=planned), PostgresSource(self.server, count, planned=planned))


def _kill(at: Setup) -> ExperimentResult:
    batches = SqliteSource(at.folder, 36, batch=True), PostgresSource(at.server, 36, batch=True)
    return killing.measure((*at.database_sources(36), *batches), at.double, at.folder, at.seed, KILLS)


def _handoff(at: Setup) -> ExperimentResult:
    sources = (
        SqliteSource(at.folder, handoff_kills.LEADS, ready=True),
        PostgresSource(at.server, handoff_kills.LEADS, ready=True),
    )
    return handoff_kills.measure(sources, at.double, at.folder, at.seed, HANDOFF_KILLS)


def _concurrent(at: Setup) -> ExperimentResult:
    return concurrent_workers.measure(at.database_sources(10_000), at.double, at.folder, at.seed)


def _pool(at: Setup) -> ExperimentResult:
    return pool_kills.measure(at.server, at.double, at.folder / "pool", at.seed)


def _faults(at: Setup) -> ExperimentResult:
    return provider_faults.measure(at.database_sources(3_000), at.double, at.folder, at.seed)


def _suppress(at: Setup) -> ExperimentResult:
    return suppressing.measure(at.database_sources(4_000), at.double, at.folder, at.seed, INTERLEAVINGS)


def _stops(at: Setup) -> ExperimentResult:
    races = int(os.environ.get("STOP_RACES") or STOP_RACES)
    return stopping.measure(at.database_sources(800), at.double, at.folder, at.seed, races)


def _full_disk(at: Setup) -> ExperimentResult:
    return full_disk.measure(*at.database_sources(150, planned=False), at.double, at.seed, FULL_DISKS)


def _permute(at: Setup) -> ExperimentResult:
    return event_orders.measure(at.folder / "permute", at.seed, STREAMS)


def _forge(at: Setup) -> ExperimentResult:
    return forging.measure(at.server, at.folder / "forge", at.seed, FORGERIES)


def _restore(at: Setup) -> ExperimentResult:
    return restoring.measure(at.database_sources(12), at.double, at.folder, at.seed, RESTORES)


def _server_kill(at: Setup) -> ExperimentResult:
    return server_kills.measure(at.server, at.folder / "end", at.seed, EVENTS, ENDS)


def _lifecycle(at: Setup) -> ExperimentResult:
    source = PostgresSource(at.server, 1, planned=False)
    histories = lifecycle.histories_wanted(HISTORIES)
    return lifecycle.measure(source, at.double, at.folder / "lifecycle", at.seed, histories)


def _scan(at: Setup) -> ExperimentResult:
    return scanning.measure(at.folder / "scan", at.seed, SCANNED)


def _hostile_mail(at: Setup) -> ExperimentResult:
    return hostile_mail.measure(at.server, at.folder / "hostile", at.seed)


def _soak(at: Setup) -> ExperimentResult:
    return soaking.measure(at.double, at.folder / "soak", at.seed)


def _flood(at: Setup) -> ExperimentResult:
    return flooding.measure(at.server, at.folder / "flood", at.seed)


BY_NAME_ONLY: Final = ("soak",)
"""Experiments that take longer than all others together: they run only when named."""

EXPERIMENTS: Final[dict[str, Callable[[Setup], ExperimentResult]]] = {
    "kill": _kill,
    "handoff": _handoff,
    "concurrent": _concurrent,
    "pool": _pool,
    "faults": _faults,
    "suppress": _suppress,
    "stops": _stops,
    "full-disk": _full_disk,
    "permute": _permute,
    "forge": _forge,
    "server-kill": _server_kill,
    "lifecycle": _lifecycle,
    "scan": _scan,
    "hostile-mail": _hostile_mail,
    "restore": _restore,
    "flood": _flood,
    "soak": _soak,
}


def main(chosen: list[str]) -> int:
    console = Console()
    unknown = [name for name in chosen if name not in EXPERIMENTS]
    if unknown:
        console.print(f"There is no experiment {unknown[0]}. There are: {', '.join(EXPERIMENTS)}.")
        return 2
    given = os.environ.get("SEED") or str(secrets.randbits(32))
    if not given.isdigit():
        console.print(f"SEED is a whole number, not {given!r}.")
        return 2
    console.print(f"seed {given}: repeat with `make chaos SEED={given}`", highlight=False)
    figures, wrong = _run(chosen or [name for name in EXPERIMENTS if name not in BY_NAME_ONLY], int(given), console)
    console.print(_shown(figures))
    console.print(notes(figures), highlight=False, soft_wrap=True)
    _write([one for one in figures if isinstance(one, Figure)], int(given), whole=not chosen)
    missed = [one.name for one in figures if isinstance(one, Figure) and not one.is_met]
    for line in wrong[:_SHOWN]:
        console.print(f"violation, seed {given}: {line}", style="red", highlight=False, soft_wrap=True)
    if len(wrong) > _SHOWN:
        console.print(f"... and {len(wrong) - _SHOWN} more violations", style="red", highlight=False)
    if missed:
        console.print(f"seed {given}: not met: {', '.join(missed)}", style="red", highlight=False)
    return 1 if wrong or missed else 0


def _run(chosen: Sequence[str], seed: int, console: Console) -> tuple[list[Figure | Skipped], list[str]]:
    figures: list[Figure | Skipped] = []
    wrong: list[str] = []
    with ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory(prefix="nurture-chaos-")))
        server = open_.enter_context(postgres())
        for name in chosen:
            began = time.monotonic()
            with SendGridDouble(folder / f"{name}.log") as double, console.status(f"{name}, seed {seed}"):
                found, bad = EXPERIMENTS[name](Setup(folder, server, double, seed))
            figures += found
            wrong += bad
            console.print(f"{name}: {time.monotonic() - began:.0f} s, {len(bad)} violations", highlight=False)
    return figures, wrong


def _shown(figures: Sequence[Figure | Skipped]) -> Table:
    table = Table(title="nurture, under fire")
    for name in ("name", "value", "unit", "target"):
        table.add_column(name, justify="left" if name in ("name", "unit") else "right", no_wrap=True)
    for one in figures:
        if isinstance(one, Skipped):
            table.add_row(one.name, "skipped")
            continue
        value = f"{one.value:,.0f}" if float(one.value).is_integer() else f"{one.value:,.1f}"
        color = "green" if one.is_met else "red"
        table.add_row(one.name, f"[{color}]{value}[/]", one.unit, "0" if one.maximum == 1 else one.target)
    return table


def _write(figures: Sequence[Figure], seed: int, *, whole: bool) -> None:
    """Write build/chaos.json; unless the run was *whole*, other figures keep their previous values."""
    RESULTS.parent.mkdir(exist_ok=True)
    known = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() and not whole else {}
    known |= {one.name: {"value": one.value, "unit": one.unit, "seed": seed} for one in figures}
    RESULTS.write_text(json.dumps(known, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
