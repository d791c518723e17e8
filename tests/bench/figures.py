"""What a benchmark returns, and how it is measured and shown."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    *ratio* is how much of the hand-written loop's speed is left, 1.0 being all of it; None where there is no
    loop to compare with. Exactly one of *at_least* and *below* is the target, or neither.
    """

    name: str
    value: float
    unit: str
    ratio: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    note: str = ""

    @property
    def target(self) -> str:
        """Return the target as text."""
        sign, limit = (">=", self.minimum) if self.minimum is not None else ("<", self.maximum)
        if limit is None:
            return ""
        return f"{sign} {limit:,.0f}" if float(limit).is_integer() else f"{sign} {limit:,.4g}"

    @property
    def is_met(self) -> bool:
        """Whether the target is met; true where there is none."""
        enough = self.minimum is None or self.value >= self.minimum
        return enough and (self.maximum is None or self.value < self.maximum)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A benchmark that could not run, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds on the wall and seconds of this process's CPU."""

    wall: float
    cpu: float


def measure_time(work: Callable[[], object]) -> Duration:
    """Run *work* once."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Duration(time.perf_counter() - wall, time.process_time() - cpu)


def best_of(work: Callable[[], object], repeats: int) -> Duration:
    """Run *work* some times and return the quickest: whatever else the machine does only slows it."""
    return min((measure_time(work) for _ in range(repeats)), key=lambda one: one.wall)


def notes(figures: list[Figure | Skipped]) -> str:
    """Return the notes on the figures, one line each."""
    lines = [(one.name, one.reason if isinstance(one, Skipped) else one.note) for one in figures]
    return "\n".join(f"{name}: {text}" for name, text in lines if text)


def figure_table(figures: list[Figure | Skipped]) -> Table:
    """Return the figures as a table."""
    table = Table(title="nurture, beside hand-written loops")
    for name in ("name", "value", "unit", "target", "ratio"):
        table.add_column(name, justify="left" if name in ("name", "unit") else "right", no_wrap=True)
    for one in figures:
        if isinstance(one, Skipped):
            table.add_row(one.name, "skipped")
            continue
        value = f"{one.value:,.0f}" if one.value >= 1_000 else f"{one.value:,.2f}"
        color = "green" if one.is_met else "red"
        ratio = "" if one.ratio is None else f"{one.ratio:.2g}"
        table.add_row(one.name, f"[{color}]{value}[/]", one.unit, one.target, ratio)
    return table
