"""Data for benchmarks: many enrolled leads, written straight into the tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from nurture.db import clock_row, schema
from nurture.db.engine import Database
from nurture.db.tables import leads as lead_tables
from nurture.db.tables import tracks as track_tables
from nurture.db.tables.base import table
from nurture.definitions.folder import Sources, read_folder
from nurture.domain.consent.statements import grant
from nurture.journey.leads import consent_queries
from nurture.journey.message_kinds import MESSAGE_KINDS
from nurture.publishing.publish import publish
from nurture.runtime.context import AppContext
from nurture.simulation.engine import DiscardingProvider

TEMPLATES = Path(__file__).parents[2] / "templates"
START = datetime(2026, 3, 3, 10, tzinfo=UTC)  # a Tuesday, 10:00: every shipped window is open in Europe


def make_context(url: str, sources: Sources | None = None) -> AppContext:
    """Return a migrated context on a virtual clock, with *sources* (the shipped ones) published."""
    database = Database(url)
    schema.upgrade(database)
    clock_row.bind_mode(database, "virtual", START - timedelta(days=60))
    made = AppContext(database, DiscardingProvider(), message_kinds=MESSAGE_KINDS)
    publish(made, sources or read_folder(TEMPLATES), START - timedelta(days=60))
    return made


def enroll_leads(made: AppContext, count: int, *, first: int = 1, due: datetime = START, page: int = 10_000) -> None:
    """Put *count* leads on webinar-attended, its first email due for an hour, waking at *due*."""
    entered = START - timedelta(hours=5)
    for begin in range(first, first + count, page):
        ids = range(begin, min(begin + page, first + count))
        with made.database.write() as tx:
            tx.insert(
                table(lead_tables.Address),
                ("id", "email", "normalized"),
                [(i, f"lead{i}@company{i % 5000}.example", f"lead{i}@company{i % 5000}.example") for i in ids],
            )
            columns = (
                "id",
                "address_id",
                "source",
                "fields",
                "zone",
                "country",
                "consent_basis",
                "engagement",
                "readiness",
                "first_contact_at",
                "created_at",
                "updated_at",
            )
            zones = ("Europe/Berlin", "Europe/London", "Europe/Paris", "Europe/Madrid")
            countries = ("DE", "GB", "FR", "ES")
            tx.insert(
                table(lead_tables.Lead),
                columns,
                [
                    (
                        i,
                        i,
                        "bench",
                        {
                            "first_name": f"First{i}",
                            "company": f"Company {i % 5000}",
                            "title": "Head of Planning",
                            "attended": True,
                            "employees": 250,
                            "industry": "Manufacturing",
                        },
                        zones[i % 4],
                        countries[i % 4],
                        "consent",
                        0.0,
                        "",
                        entered,
                        entered,
                        entered,
                    )
                    for i in ids
                ],
            )
            given = grant("consent", "bench", None, entered)
            consent_queries.append_statements(tx, [(i, given) for i in ids])
            custody = ("lead_id", "kind", "ref", "since", "next_action", "due_at", "version")
            tx.insert(
                table(lead_tables.Custody),
                custody,
                [(i, "track", "webinar-attended", entered, "begin", due, 1) for i in ids],
            )
            enrollment = ("lead_id", "track", "track_version", "entered_at", "step", "visit", "anchor_at", "reached_at")
            tx.insert(
                table(track_tables.Enrollment),
                enrollment,
                [(i, "webinar-attended", 1, entered, "01-recording", 1, entered, entered) for i in ids],
            )
