"""Import leads from a file or a list of rows. Imports can be repeated."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, Unpack

from nurture.db.transaction import Transaction
from nurture.domain.fields import Fields
from nurture.domain.lead import Custodian
from nurture.errors import FileUnreadable
from nurture.files import open_private
from nurture.formats.column_mapping import ColumnMapping, load_mapping
from nurture.formats.column_report import ColumnUse, describe_columns, describe_mapping, describe_system, find_missing
from nurture.formats.columns import SKIP
from nurture.formats.lead_file import LeadFile, open_leads
from nurture.formats.lead_row import LeadRow
from nurture.formats.rejected_rows import BadRow
from nurture.formats.table_file import ReadOptions
from nurture.journey.accounts.import_file import load_rep_ids
from nurture.journey.consent.suppression import TargetIndex
from nurture.journey.engagement.signals import apply_if_published
from nurture.journey.intake import queries
from nurture.journey.intake.fold import fold_file, fold_people
from nurture.journey.intake.interpret import Origin
from nurture.journey.intake.preview import preview_classification
from nurture.journey.intake.queries import ClosedLead
from nurture.journey.intake.upsert import UpsertResult, record_refusals, upsert_leads
from nurture.journey.routing.missing_fields import recheck_filled_fields
from nurture.runtime.batches import gc_paused
from nurture.runtime.context import AppContext
from nurture.runtime.import_run import BATCH_SIZE, ImportOptions, ImportResult, ImportRun

_MAX_SHOWN: Final = 5


@dataclass
class LeadImportResult(ImportResult):
    """The result of an import of leads.

    *by_custodian* counts new leads by custodian, *by_queue* those in queues by queue, *by_basis* all rows by the basis
    that they give. *consent* is as in `Match`. *freed* counts known leads that wait for classification again. *columns*
    says what each column is used for, *system* which one was recognized, and why; *missing* is what no column gives,
    *unknown_statuses* counts the status words that are not known. *preview* is where a dry run's new leads would go
    next, *closed* which of them the policy would close.
    """

    signals: int = 0
    by_custodian: Counter[str] = field(default_factory=Counter)
    by_queue: Counter[str] = field(default_factory=Counter)
    consent: Counter[str] = field(default_factory=Counter)
    freed: int = 0
    columns: tuple[ColumnUse, ...] = ()
    system: str = ""
    missing: tuple[str, ...] = ()
    by_basis: Counter[str] = field(default_factory=Counter)
    unknown_statuses: Mapping[str, int] = field(default_factory=dict)
    preview: Counter[str] = field(default_factory=Counter, compare=False)
    closed: list[ClosedLead] = field(default_factory=list, compare=False)

    def add(self, batch: UpsertResult) -> None:
        """Add the counts of an imported batch."""
        self.new += batch.verdicts["new"]
        self.updated += batch.verdicts["updated"]
        self.unchanged += batch.verdicts["unchanged"]
        self.signals += batch.signals
        self.consent += batch.consent
        self.freed += batch.freed
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
    skip_columns: Sequence[str] = (),
    attended: bool = True,
    **options: Unpack[ImportOptions],
) -> LeadImportResult:
    """Import the leads of the file at *path*. Importing the same file again changes nothing.

    *source* is the system whose ids the file contains. A column that may be an opt-out and is neither mapped nor in
    *skip_columns* stops the import, unless nobody attends it: then its leads come in and are not mailed. Raises
    FileUnreadable if the file or the mapping is invalid; earlier batches remain imported.
    """
    with ctx.database.read() as tx:
        declared = ctx.definitions.declared_fields(tx)
    columns = _choose_mapping(mapping, source, skip_columns, declared)
    with gc_paused(), open_leads(path, columns, options.get("reading"), attended=attended) as file:
        result, dry_run = _start_result(file, columns), options.get("dry_run", False)
        with ctx.database.read() as reading:
            topics, confirm = TargetIndex.load(ctx, reading).topics, _sources_to_confirm(ctx, reading)
        origin = Origin(path.name, now, file.webinar_at, topics, load_rep_ids(ctx), confirm)
        owners: Counter[str] = Counter()

        def write(tx: Transaction, batch: Sequence[LeadRow]) -> Iterable[BadRow]:
            result.rows += sum([len(row.parts) - 1 for row in batch if row.parts])
            result.by_basis.update([row.consent_basis or "none" for row in batch])
            owners.update([row.owner for row in batch if row.owner])
            newest = queries.newest_lead_id(tx) if dry_run else 0
            result.add(upsert_leads(tx, batch, origin))
            if dry_run:
                places, closed = preview_classification(ctx, tx, newest, now)
                result.preview += places
                result.closed += closed
            return ()

        rows = fold_file(file)
        batch_size = min(ctx.batch_size, BATCH_SIZE)
        run = ImportRun(
            "leads", file, file.header, rows, write, result, batch_size, partial(record_refusals, origin=origin)
        )
        run.execute(ctx.database, now, **options)
        result.notes += (*file.describe_noted(), *_describe_owners(owners, origin.reps))
        result.unknown_statuses = dict(file.unknown_statuses)
    if not dry_run:
        _apply(ctx, now)
    return result


def _describe_owners(owners: Counter[str], reps: Mapping[str, str]) -> list[str]:
    unknown = [f"{owner} ({count:,})" for owner, count in owners.most_common() if owner.casefold() not in reps]
    if not unknown or not reps:
        return []
    some = ", ".join(unknown[:_MAX_SHOWN]) + (", ..." if len(unknown) > _MAX_SHOWN else "")
    return [f"Owners who are not reps in the policy keep the leads that they work: {some}."]


@dataclass(frozen=True, slots=True)
class FileSummary:
    """What an import understands of a file: see `LeadImportResult`. *names* are those of the columns.

    *unclear* are columns that may be opt-outs: (name, whether a yes permits mail, some values).
    """

    names: tuple[str, ...]
    rows: int
    columns: tuple[ColumnUse, ...]
    system: str
    missing: tuple[str, ...]
    unclear: tuple[tuple[str, bool, tuple[str, ...]], ...]
    notes: tuple[str, ...]


def describe_file(ctx: AppContext, path: Path, mapping: Path | None = None) -> FileSummary:
    """Return what an import understands of the file at *path*; nothing is written. Raises FileUnreadable."""
    with ctx.database.read() as tx:
        columns = _choose_mapping(mapping, None, (), ctx.definitions.declared_fields(tx))
    with open_leads(path, columns, attended=False) as file:
        plan, profiles = file.plan, file.profiles
        unclear = [
            (name, kind.positive, tuple(profiles[index].values or profiles[index].examples)[:_MAX_SHOWN])
            for index, name, kind in plan.unclear
        ]
        return FileSummary(
            tuple(file.header),
            max((one.rows for one in profiles), default=0),
            tuple(describe_columns(file.header, plan, profiles)),
            describe_system(file.header, plan, columns),
            tuple(find_missing(plan)),
            tuple(unclear),
            tuple(file.notes),
        )


def write_mapping_file(
    path: Path,
    *,
    mapping: Path | None = None,
    source: str | None = None,
    skip_columns: Sequence[str] = (),
    reading: ReadOptions | None = None,
) -> Path:
    """Write a commented mapping beside the file of leads at *path*, and return its path; nothing is imported.

    Raises FileUnreadable, also if the mapping exists.
    """
    columns = _choose_mapping(mapping, source, skip_columns, {})
    target = path.with_name(f"{path.stem}.mapping.yaml")
    with open_leads(path, columns, reading, attended=False) as file:
        for _ in file:
            pass  # counts the unknown status words
        uses = describe_columns(file.header, file.plan, file.profiles)
        system = describe_system(file.header, file.plan, columns)
        text = describe_mapping(uses, file.plan, system, file.unknown_statuses)
    try:
        with open_private(target, "x", encoding="utf-8") as to:
            to.write(text)
    except FileExistsError as error:
        raise FileUnreadable(f"{target} exists; edit it, or move it away to have it written again") from error
    except OSError as error:
        raise FileUnreadable(f"{target} cannot be written: {error.strerror}") from error
    return target


def _choose_mapping(
    path: Path | None, source: str | None, skip_columns: Sequence[str], declared: Fields
) -> ColumnMapping:
    mapping = load_mapping(path, declared) if path is not None else ColumnMapping("--skip-column", declared=declared)
    mapping = replace(mapping, columns={**mapping.columns, **dict.fromkeys(skip_columns, SKIP)})
    return mapping if source is None else replace(mapping, source=source)


def import_rows(
    ctx: AppContext, rows: Sequence[LeadRow], name: str, now: datetime, refusals: Sequence[LeadRow] = ()
) -> LeadImportResult:
    """Import leads that come from no file, in one transaction; *name* is their origin in the journal.

    *refusals* are the opt-outs of leads that were rejected.
    """
    result = LeadImportResult(name, rows=len(rows))
    with ctx.database.write() as tx:
        topics, confirm = TargetIndex.load(ctx, tx).topics, _sources_to_confirm(ctx, tx)
        origin = Origin(name, now, topics=topics, confirm=confirm)
        if refusals:
            record_refusals(tx, refusals, origin)
        result.add(upsert_leads(tx, fold_people(rows), origin))
    _apply(ctx, now)
    return result


def _sources_to_confirm(ctx: AppContext, tx: Transaction) -> frozenset[str]:
    definitions = ctx.definitions.find_current(tx)
    return definitions.sending.confirm if definitions is not None else frozenset()


def _start_result(file: LeadFile, mapping: ColumnMapping) -> LeadImportResult:
    plan = file.plan
    mapped = {step.column: step.field for step in plan.columns}
    return LeadImportResult(
        file.source,
        mapped=mapped,
        unmapped=tuple(file.header[index] for index, _ in plan.custom if file.header[index] not in mapped),
        columns=tuple(describe_columns(file.header, plan, file.profiles)),
        system=describe_system(file.header, plan, mapping),
        missing=tuple(find_missing(plan)),
    )


def _apply(ctx: AppContext, now: datetime) -> None:
    recheck_filled_fields(ctx, now)
    apply_if_published(ctx, now)
