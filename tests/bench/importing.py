"""Rows per second of a lead file, from CSV to custody, and whether memory stays flat."""

from __future__ import annotations

import csv
import json
import sqlite3
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nurture.db import schema
from nurture.db.engine import Database
from nurture.journey.intake.import_file import LeadImportResult, import_file
from nurture.runtime.context import AppContext
from nurture.simulation.engine import DiscardingProvider
from tests.bench.figures import Figure, Skipped, best_of, measure_time

ROWS, FEW = 100_000, 10_000
BATCH = 2_000
REPEATS = 2
NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
HEADER = (
    "Email",
    "First Name",
    "Last Name",
    "Company",
    "Job Title",
    "Industry",
    "Number of Employees",
    "Country",
    "State/Province",
    "Registration Time",
    "Attended",
    "Time in Session (minutes)",
    "Purchasing Time Frame",
    "Consent",
    "Lead Source",
    "Questions",
)


def measure(folder: Path) -> list[Figure | Skipped]:
    """Import a webinar platform's export into an empty SQLite database."""
    many, few = _write_csv(folder, ROWS), _write_csv(folder, FEW)
    done = [measure_time(lambda: _import_file(folder, many)) for _ in range(REPEATS)]
    engine = min(done, key=lambda one: one.wall)
    loop = best_of(lambda: _loop(folder, many), REPEATS)
    peaks = [_peak(folder, path) for path in (few, many)]
    note = f"{ROWS:,} rows; {ROWS / engine.cpu:,.0f} per s of CPU; the loop does {ROWS / loop.wall:,.0f}"
    ratio = loop.wall / engine.wall
    smallest, largest = (peak / 2**20 for peak in peaks)
    memory = f"peak of Python's memory: {smallest:.1f} MB with {FEW:,} rows, {largest:.1f} with {ROWS:,}"
    return [
        Figure("import_rows_per_s", ROWS / engine.wall, "rows/s", ratio, minimum=10_000, note=note),
        Figure("import_ratio", loop.cpu / engine.cpu, "of the loop's CPU", minimum=0.5),
        Figure("import_memory_growth", peaks[1] / peaks[0], "times", note=memory),
    ]


def _write_csv(folder: Path, count: int) -> Path:
    path = folder / f"webinar-{count}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(_row(number) for number in range(count))
    return path


def _row(number: int) -> tuple[object, ...]:
    country, region = (("Germany", ""), ("United States", "CA"), ("Brazil", "SP"), ("France", ""))[number % 4]
    attended = number % 3 == 0
    return (
        f"ann.{number}@firm{number % 5000}.example",
        f"Ann{number % 97}",
        f"Lee{number % 89}",
        f"Firm {number % 5000}",
        "Head of Operations",
        "Food",
        number % 900,
        country,
        region,
        f"2026-0{number % 9 + 1}-1{number % 9} 10:1{number % 6}:00",
        "Yes" if attended else "No",
        41 if attended else "",
        "Within 3 months" if number % 7 == 0 else "",
        "yes",
        "Web",
        "How much is it?" if number % 5 == 0 else "",
    )


def _import_file(folder: Path, file: Path) -> LeadImportResult:
    path = folder / "import.db"
    for old in folder.glob("import.db*"):
        old.unlink()
    database = Database(f"sqlite:///{path}")
    schema.upgrade(database)
    done = import_file(AppContext(database, DiscardingProvider()), file, NOW)
    database.close()
    assert done.new == done.rows
    return done


def _peak(folder: Path, file: Path) -> int:
    tracemalloc.start()
    _import_file(folder, file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def _loop(folder: Path, file: Path) -> None:
    """Read and insert the same rows, believing every cell."""
    for old in folder.glob("loop.db*"):
        old.unlink()
    database = Database(f"sqlite:///{folder / 'loop.db'}")
    schema.upgrade(database)
    database.close()
    connection = sqlite3.connect(folder / "loop.db", isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    with file.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        batch: list[dict[str, Any]] = []
        number = 1
        for row in reader:
            batch.append(row)
            if len(batch) == BATCH:
                _insert(connection, batch, number)
                number += len(batch)
                batch = []
    connection.close()


def _insert(connection: sqlite3.Connection, batch: list[dict[str, Any]], first: int) -> None:
    now = NOW.isoformat()
    rows = list(enumerate(batch, first))
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        "INSERT INTO address (id, email, normalized) VALUES (?, ?, ?)",
        [(id_, row["Email"], row["Email"].lower()) for id_, row in rows],
    )
    connection.executemany(
        "INSERT INTO lead (id, address_id, source, fields, zone, country, consent_basis, engagement,"
        " readiness, first_contact_at, created_at, updated_at) VALUES (?, ?, 'x', ?, '', '', 'consent', 0,"
        " '', ?, ?, ?)",
        [(id_, id_, json.dumps(row), now, now, now) for id_, row in rows],
    )
    connection.executemany(
        "INSERT INTO consent_statement (address_id, channel, scope, ref, basis, granted, source, recorded_at, evidence,"
        " wording) VALUES (?, 'email', 'global', '', 'consent', 1, 'x', ?, '', '')",
        [(id_, now) for id_, _ in rows],
    )
    connection.executemany(
        "INSERT INTO custody (lead_id, kind, ref, since, next_action, due_at, version)"
        " VALUES (?, 'intake', 'import', ?, 'classify', ?, 1)",
        [(id_, now, now) for id_, _ in rows],
    )
    connection.executemany(
        "INSERT INTO journal (lead_id, at, stage, event, reason, custody_to, ref)"
        " VALUES (?, ?, 'intake', 'imported', 'may be mailed', 'intake', 'import')",
        [(id_, now) for id_, _ in rows],
    )
    connection.executemany(
        "INSERT INTO signal (lead_id, kind, occurred_at, recorded_at, natural_key, verdict,"
        " verdict_reason, source)"
        " VALUES (?, 'registered', ?, ?, ?, 'human', '', 'x')",
        [(id_, row["Registration Time"], now, f"import {id_}") for id_, row in rows],
    )
    connection.execute("COMMIT")
