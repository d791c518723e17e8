"""Lead files for tests of intake, and queries of what they imported."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text

from nurture.db.engine import Database
from nurture.db.tables import consent as consent_tables
from nurture.db.tables import leads as lead_tables
from nurture.db.tables import signals as signal_tables
from nurture.db.tables.base import table
from nurture.journey.intake.import_file import LeadImportResult, import_file
from nurture.journey.message_kinds import MESSAGE_KINDS
from nurture.mail.providers.maildir.provider import MaildirProvider
from nurture.runtime.context import AppContext

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


def write_file(folder: Path, rows: Iterable[Row]) -> Path:
    path = folder / f"leads-{next(_numbers)}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADER, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def plain_context(db: Database, tmp_path: Path, batch: int = 2_000) -> AppContext:
    return AppContext(db, MaildirProvider(tmp_path / "maildir"), batch_size=batch, message_kinds=MESSAGE_KINDS)


def import_leads(ctx: AppContext, folder: Path, *rows: Row, now: datetime = NOW, **options: Any) -> LeadImportResult:
    return import_file(ctx, write_file(folder, rows), now, source="crm", **options)


def rows_of(db: Database, sql: str) -> list[Any]:
    with db.read() as tx:
        return [tuple(found) for found in tx.execute(text(sql))]


def lead_states(db: Database) -> list[Any]:
    """Return the state of each lead without its id."""
    with db.read() as tx:
        execute = tx.execute
        addresses = {found.id: found.normalized for found in execute(_ADDRESS.select())}
        suppressions = [
            (found.address_id, found.scope, found.action, found.source) for found in execute(_SUPPRESSION.select())
        ]
        statements = [
            (found.address_id, found.scope, found.ref, found.basis, found.source, found.stated_at)
            for found in execute(_STATEMENT.select())
        ]
        signals = list(execute(SIGNAL.select()))
        custody = {found.lead_id: found for found in execute(CUSTODY.select())}
        keys = execute(_IDENTITY.select()).all()
        leads = list(execute(LEAD.select()))
    assert len(custody) == len(leads)
    states = []
    for lead in leads:
        custodian = custody[lead.id]
        fields = {name: value for name, value in lead.fields.items() if name != "candidates"}
        states.append(
            (
                addresses.get(lead.address_id),
                lead.source,
                sorted(fields.items()),
                lead.zone,
                lead.country,
                lead.consent_basis,
                lead.first_contact_at,
                custodian.kind,
                custodian.ref,
                custodian.next_action,
                custodian.due_at,
                sorted(
                    (key.source, key.external_id)
                    for key in keys
                    if key.lead_id == lead.id and not key.source.startswith("ambiguous")
                ),
                sorted(found[1:] for found in suppressions if found[0] == lead.address_id),
                sorted((found[1:] for found in statements if found[0] == lead.address_id), key=repr),
                sorted(
                    (found.kind, found.occurred_at, found.value or "", found.applied_at is None)
                    for found in signals
                    if found.lead_id == lead.id
                ),
            )
        )
    return sorted(states, key=repr)


_ADDRESS = table(lead_tables.Address)
LEAD = table(lead_tables.Lead)
CUSTODY = table(lead_tables.Custody)
_IDENTITY = table(lead_tables.Identity)
SIGNAL = table(signal_tables.Signal)
_STATEMENT = table(consent_tables.ConsentStatement)
_SUPPRESSION = table(consent_tables.Suppression)


def statements_of(db: Database) -> list[Any]:
    """Return (address, scope, basis, source) of each consent statement; the basis of a withdrawal is None."""
    columns = "normalized, scope, basis, source"
    return rows_of(
        db, f"SELECT {columns} FROM consent_statement s JOIN address ON address.id = address_id ORDER BY 1, s.id"
    )


def custody_of(db: Database) -> list[Any]:
    return rows_of(db, "SELECT kind, ref FROM custody ORDER BY lead_id")


def fields_of(db: Database) -> list[dict[str, Any]]:
    with db.read() as tx:
        return [found.fields for found in tx.execute(LEAD.select().order_by(LEAD.c.id))]
