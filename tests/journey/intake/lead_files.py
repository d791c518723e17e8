"""Lead files for tests of intake, and what became of them."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text

from nurture.db.engine import Database
from nurture.db.tables import core
from nurture.journey.intake.import_file import Imported, import_file
from nurture.mail.providers.maildir import Mailbox
from nurture.runtime.context import House

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HEADER = (
    "Lead ID",
    "Email",
    "First Name",
    "Company",
    "Job Title",
    "Status",
    "Owner",
    "Customer",
    "Country",
    "Consent",
    "Consent Date",
    "Opted Out",
    "Created At",
    "Registered On",
    "Attended",
    "Purchase Timeframe",
    "Demo Requested",
    "Shoe Size",
)
Row = dict[str, str]
_numbers = itertools.count(1)


def row(email: str = "ann@example.com", **cells: str) -> Row:
    return {"Email": email, "Consent": "yes"} | {name.replace("_", " "): text for name, text in cells.items()}


def saved(folder: Path, rows: Iterable[Row]) -> Path:
    path = folder / f"leads-{next(_numbers)}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADER, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def a_house(db: Database, tmp_path: Path, batch: int = 2_000) -> House:
    return House(db, Mailbox(tmp_path / "mailbox"), batch=batch)


def bring(house: House, folder: Path, *rows: Row, now: datetime = NOW, **options: Any) -> Imported:
    return import_file(house, saved(folder, rows), now, source="crm", **options)


def rows_of(db: Database, sql: str) -> list[Any]:
    with db.read() as connection:
        return [tuple(found) for found in connection.execute(text(sql))]


def picture(db: Database) -> list[Any]:
    """Return what is known about each lead, whatever its number."""
    with db.read() as connection:
        ask = connection.execute
        addresses = {found.id: found.normal for found in ask(_ADDRESS.select())}
        barred = [
            (found.address_id, found.scope, found.act, found.source) for found in ask(_SUPPRESSION.select())
        ]
        signals = list(ask(SIGNAL.select()))
        custody = {found.lead_id: found for found in ask(CUSTODY.select())}
        keys = ask(_IDENTITY.select()).all()
        leads = list(ask(LEAD.select()))
    assert len(custody) == len(leads)
    seen = []
    for lead in leads:
        keeper = custody[lead.id]
        facts = {name: value for name, value in lead.facts.items() if name != "candidates"}
        seen.append(
            (
                addresses.get(lead.address_id),
                lead.source,
                sorted(facts.items()),
                lead.zone,
                lead.country,
                lead.basis,
                lead.basis_at,
                lead.first_contact_at,
                keeper.kind,
                keeper.ref,
                keeper.next_action,
                keeper.due_at,
                sorted(
                    (key.source, key.external_id)
                    for key in keys
                    if key.lead_id == lead.id and not key.source.startswith("ambiguous")
                ),
                sorted(found[1:] for found in barred if found[0] == lead.address_id),
                sorted(
                    (found.kind, found.occurred_at, found.value or "", found.applied_at is None)
                    for found in signals
                    if found.lead_id == lead.id
                ),
            )
        )
    return sorted(seen, key=repr)


_ADDRESS = core.Address.__table__  # type: ignore[attr-defined]
LEAD = core.Lead.__table__  # type: ignore[attr-defined]
CUSTODY = core.Custody.__table__  # type: ignore[attr-defined]
_IDENTITY = core.Identity.__table__  # type: ignore[attr-defined]
SIGNAL = core.Signal.__table__  # type: ignore[attr-defined]
_SUPPRESSION = core.Suppression.__table__  # type: ignore[attr-defined]


def custody_of(db: Database) -> list[Any]:
    return rows_of(db, "SELECT kind, ref FROM custody ORDER BY lead_id")


def facts_of(db: Database) -> list[dict[str, Any]]:
    with db.read() as connection:
        return [found.facts for found in connection.execute(LEAD.select().order_by(LEAD.c.id))]
