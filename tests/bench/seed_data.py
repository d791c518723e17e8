"""Data for benchmarks: many enrolled leads, written straight into the tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import BigInteger, Float, Integer, String

from nurture.db import clock_row, schema
from nurture.db.engine import Database
from nurture.db.types import Json, UtcDateTime
from nurture.definitions.folder import Sources, read_folder
from nurture.publishing.publish import publish
from nurture.runtime.context import AppContext
from nurture.simulation.engine import DiscardingProvider

TEMPLATES = Path(__file__).parents[2] / "templates"
START = datetime(2026, 3, 3, 10, tzinfo=UTC)  # a Tuesday, 10:00: every shipped window is open in Europe

_I, _N, _F, _S, _T = BigInteger(), Integer(), Float(), String(), UtcDateTime()


def make_context(url: str, sources: Sources | None = None) -> AppContext:
    """Return a migrated context on a virtual clock, with *sources* (the shipped ones) published."""
    database = Database(url)
    schema.upgrade(database)
    clock_row.bind_mode(database, "virtual", START - timedelta(days=60))
    made = AppContext(database, DiscardingProvider())
    publish(made, sources or read_folder(TEMPLATES), START - timedelta(days=60))
    return made


def enroll_leads(made: AppContext, count: int, *, first: int = 1, due: datetime = START, page: int = 10_000) -> None:
    """Put *count* leads on webinar-attended, its first email due for an hour, waking at *due*."""
    entered = START - timedelta(hours=5)
    for begin in range(first, first + count, page):
        ids = range(begin, min(begin + page, first + count))
        with made.database.write() as tx:
            tx.insert(
                "address",
                {"id": _I, "email": _S, "normalized": _S},
                [(i, f"lead{i}@company{i % 5000}.example", f"lead{i}@company{i % 5000}.example") for i in ids],
            )
            columns = {
                "id": _I,
                "address_id": _I,
                "source": _S,
                "fields": Json,
                "zone": _S,
                "country": _S,
                "consent_basis": _S,
                "engagement": _F,
                "readiness": _S,
                "first_contact_at": _T,
                "created_at": _T,
                "updated_at": _T,
            }
            zones = ("Europe/Berlin", "Europe/London", "Europe/Paris", "Europe/Madrid")
            countries = ("DE", "GB", "FR", "ES")
            tx.insert(
                "lead",
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
            custody = {
                "lead_id": _I,
                "kind": _S,
                "ref": _S,
                "since": _T,
                "next_action": _S,
                "due_at": _T,
                "version": _N,
            }
            tx.insert("custody", custody, [(i, "track", "webinar-attended", entered, "begin", due, 1) for i in ids])
            enrollment = {
                "lead_id": _I,
                "track": _S,
                "entered_at": _T,
                "step": _S,
                "visit": _N,
                "anchor_at": _T,
                "reached_at": _T,
            }
            tx.insert(
                "enrollment",
                enrollment,
                [(i, "webinar-attended", entered, "01-recording", 1, entered, entered) for i in ids],
            )
