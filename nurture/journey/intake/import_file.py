"""Import leads from a file or a list of rows. Imports can be repeated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Unpack

from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian
from nurture.formats.column_mapping import ColumnMapping, load_mapping
from nurture.formats.lead_file import LeadFile, open_leads
from nurture.formats.lead_row import LeadRow
from nurture.formats.rejected_rows import BadRow
from nurture.formats.row_plan import make_plan
from nurture.journey.engagement.signals import apply_if_published
from nurture.journey.intake.match import Origin
from nurture.journey.intake.upsert import UpsertResult, upsert_leads
from nurture.journey.routing.missing_fields import recheck_filled_fields
from nurture.runtime.context import AppContext
from nurture.runtime.import_run import BATCH_SIZE, ImportOptions, ImportResult, ImportRun


@dataclass
class LeadImportResult(ImportResult):
    """The result of an import of leads.

    *by_custodian* counts new leads by custodian, *by_queue* those in queues by queue. *mapped* maps columns to
    fields; *unmapped* columns become custom fields.
    """

    signals: int = 0
    by_custodian: Counter[str] = field(default_factory=Counter)
    by_queue: Counter[str] = field(default_factory=Counter)
    mapped: Mapping[str, str] = field(default_factory=dict)
    unmapped: tuple[str, ...] = ()

    def add(self, batch: UpsertResult) -> None:
        """Add the counts of an imported batch."""
        self.new += batch.verdicts["new"]
        self.updated += batch.verdicts["updated"]
        self.unchanged += batch.verdicts["unchanged"]
        self.signals += batch.signals
        for (kind, ref), count in batch.by_custody.items():
            self.by_custodian[kind] += count
            if kind == Custodian.QUEUE:
                self.by_queue[ref] += count


def import_file(
    ctx: AppContext,
    path: Path,
    now: datetime,
    *,
    mapping: Path | None = None,
    source: str | None = None,
    **options: Unpack[ImportOptions],
) -> LeadImportResult:
    """Import the leads of the CSV file at *path*. Importing the same file again changes nothing.

    *source* is the system whose ids the file contains. Raises FileUnreadable if the file or the mapping is invalid;
    earlier batches remain imported.
    """
    columns = load_mapping(mapping) if mapping is not None else ColumnMapping()
    if source is not None:
        columns = replace(columns, source=source)
    with open_leads(path, columns) as file:
        result = _start_result(file, columns)

        def write(tx: Transaction, batch: Sequence[LeadRow]) -> Iterable[BadRow]:
            result.add(upsert_leads(tx, batch, Origin(path.name, now, file.webinar_at)))
            return ()

        run = ImportRun("leads", file, file.header, file, write, result, min(ctx.batch_size, BATCH_SIZE))
        run.execute(ctx.database, now, **options)
    if not options.get("dry_run"):
        _apply(ctx, now)
    return result


def import_rows(ctx: AppContext, rows: Sequence[LeadRow], name: str, now: datetime) -> LeadImportResult:
    """Import leads that come from no file, in one transaction; *name* is their origin in the journal."""
    result = LeadImportResult(name, rows=len(rows))
    with ctx.database.write() as tx:
        result.add(upsert_leads(tx, rows, Origin(name, now)))
    _apply(ctx, now)
    return result


def _start_result(file: LeadFile, columns: ColumnMapping) -> LeadImportResult:
    plan = make_plan(file.header, columns, str(file.path))
    mapping = {step.column: step.field for step in plan.columns}
    unmapped = tuple(file.header[index] for index, _ in plan.custom if file.header[index] not in mapping)
    return LeadImportResult(file.source, mapped=mapping, unmapped=unmapped, notes=tuple(file.notes))


def _apply(ctx: AppContext, now: datetime) -> None:
    recheck_filled_fields(ctx, now)
    apply_if_published(ctx, now)
