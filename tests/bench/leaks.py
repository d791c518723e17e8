"""Seconds for the leak report on a file of many leads, with the page and a list, and the memory that it takes."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from random import Random

from tests.bench.figures import Figure, Skipped, measure_time

ROWS, FEW = 100_000, 10_000
HEADER = (
    "Record ID", "First Name", "Last Name", "Email", "Contact owner", "Lead Status", "Company Name", "Job Title",
    "Industry", "Number of Employees", "Country/Region", "Create Date", "Last Contacted", "Number of times contacted",
    "First outreach date", "Legal basis for processing contact's data",
)  # fmt: skip
_RUN = """
import resource, sys
from nurture.cli import main
try:
    main(sys.argv[1:])
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_maxrss / 1024, used.ru_utime + used.ru_stime, file=sys.stderr)
"""


def measure(folder: Path) -> list[Figure | Skipped]:
    """Run the command as a person does, start included, with few rows and with many."""
    deals = folder / "deals.csv"
    lines = [
        f"Deal {number},Closed Won,{900 + number},2026-05-01,p{number * 37}@firm{number * 37 % 9_000}.example"
        for number in range(500)
    ]
    deals.write_text("\n".join(["Deal Name,Deal Stage,Amount,Close Date,Contact Email", *lines]) + "\n", "utf-8")
    used: dict[int, tuple[float, float]] = {}

    def run(rows: int) -> None:
        leads = _write(folder / f"contacts-{rows}.csv", rows)
        files = str(leads), str(deals), "--at", "2026-11-30", "--html", str(folder / f"leaks-{rows}.html")
        command = [
            sys.executable,
            "-c",
            _RUN,
            "reports",
            "leaks",
            *files,
            "--list",
            "leaked",
            "--csv",
            str(folder / f"leaked-{rows}.csv"),
        ]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        memory, cpu = done.stderr.split()
        used[rows] = float(memory), float(cpu)

    run(FEW)
    took = measure_time(lambda: run(ROWS))
    note = f"{ROWS:,} rows, the page and the list of leaked leads; {used[ROWS][1]:.0f} s of CPU"
    memory = f"{used[FEW][0]:.0f} MB with {FEW:,} rows"
    return [
        Figure("leaks_100k_rows_s", took.wall, "s", maximum=60, note=note),
        Figure("leaks_100k_rows_mb", used[ROWS][0], "MB", maximum=400, note=memory),
    ]


def _write(path: Path, rows: int) -> Path:
    chance = Random(17)
    choose, between = chance.choice, chance.randint
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for number in range(rows):
            is_touched = chance.random() < 0.4
            day = f"2026-{between(1, 9):02}-{between(1, 28):02}"
            touches = ("2026-11-12 10:00", between(1, 5), "2026-10-12 10:00") if is_touched else ("", "", "")
            writer.writerow(
                (
                    number + 1, f"Ann{number % 97}", f"Lee{number % 8_900}", f"p{number}@firm{number % 9_000}.example",
                    choose(("Mara", "Tomas", "", "Web Queue", "Old Rep (Deactivated User)")),
                    choose(("New", "Open", "In Progress", "Unqualified", "")), f"Firm {number % 9_000}",
                    choose(("Head of Operations", "Student", "Buyer")), choose(("Food", "Manufacturing", "Retail")),
                    between(1, 900), choose(("Germany", "Brazil", "France")), f"{day} {between(0, 23):02}:15", *touches,
                    choose(("", "Legitimate interest")),
                )
            )  # fmt: skip
    return path
