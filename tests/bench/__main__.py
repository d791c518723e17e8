"""Run the benchmarks, all or the named ones: `python -m tests.bench [advance] [idle] ...`."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rich.console import Console

from tests.bench import (
    advancing,
    auditing,
    clicking,
    composing,
    console_pages,
    delivering,
    demo_requests,
    forecasting,
    growth,
    idling,
    importing,
    leaks,
    measuring,
    minute_delays,
    olist,
    practicing,
    reading,
    reaudiencing,
    replies,
    routing,
    running,
    scaling,
    signalling,
    starting,
    touching,
    viewing,
    webhooks,
    workbooks,
)
from tests.bench.figures import Figure, Skipped, figure_table, notes

BENCHMARKS: Final[dict[str, Callable[[Path], list[Figure | Skipped]]]] = {
    "advance": advancing.measure,
    "audit": auditing.measure,
    "idle": idling.measure,
    "batches": delivering.measure_batches,
    "click": clicking.measure,
    "compose": composing.measure,
    "console": console_pages.measure,
    "deliver": delivering.measure,
    "demo-requests": demo_requests.measure,
    "forecast": forecasting.measure,
    "growth": growth.measure,
    "hostile": reading.measure,
    "import": importing.measure,
    "leaks": leaks.measure,
    "measures": measuring.measure,
    "minutes": minute_delays.measure,
    "olist": olist.measure,
    "practice": practicing.measure,
    "reaudience": reaudiencing.measure,
    "replies": replies.measure,
    "routing": routing.measure,
    "scale-out": scaling.measure,
    "signals": signalling.measure,
    "start": starting.measure,
    "touch": touching.measure,
    "up": running.measure,
    "viewers": viewing.measure,
    "webhooks": webhooks.measure,
    "workbooks": workbooks.measure,
}
RESULTS: Final = Path(__file__).parents[2] / "build" / "bench.json"


def main(chosen: list[str]) -> int:
    console = Console()
    unknown = [name for name in chosen if name not in BENCHMARKS]
    if unknown:
        console.print(f"There is no benchmark {unknown[0]}. There are: {', '.join(BENCHMARKS)}.")
        return 2
    figures: list[Figure | Skipped] = []
    for name in chosen or BENCHMARKS:
        with tempfile.TemporaryDirectory(prefix="nurture-bench-") as folder, console.status(f"measuring {name}"):
            figures += BENCHMARKS[name](Path(folder))
    console.print(figure_table(figures))
    console.print(notes(figures), highlight=False, soft_wrap=True)
    write([one for one in figures if isinstance(one, Figure)], whole=not chosen)
    return 0


def write(figures: list[Figure], *, whole: bool) -> None:
    """Write build/bench.json; unless the run was *whole*, other figures keep their previous values."""
    RESULTS.parent.mkdir(exist_ok=True)
    known = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() and not whole else {}
    known |= {one.name: {"value": one.value, "unit": one.unit, "ratio": one.ratio} for one in figures}
    RESULTS.write_text(json.dumps(known, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
