"""The audit: the ledger of all leads, counted twice, and findings of inconsistent or overdue leads."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from nurture.db import locks, rollups
from nurture.db.rollups import RollupDifference
from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian
from nurture.domain.policy.policy import Policy
from nurture.journey.handoff.waiting.lists import load_waiting
from nurture.reporting import audit_queries, ledger_queries
from nurture.reporting.ledger_queries import LedgerCounts, LedgerKey
from nurture.runtime.context import AppContext

_FINDING_TYPES: Final = Path(__file__).with_name("audit_findings.yaml")


@dataclass(frozen=True, slots=True)
class Balance:
    """Leads, and their custodians by custody and by the journal. Both residuals must be 0."""

    name: str
    leads: int
    custody: Mapping[str, int]
    journal: Mapping[str, int]
    residual: int
    journal_residual: int

    @property
    def is_balanced(self) -> bool:
        """Return whether every lead has a custodian and both counts agree."""
        return self.residual == 0 and self.custody == self.journal


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """A finding. *is_violation*: an invariant is broken; otherwise a person should check."""

    kind: str
    description: str
    remedy: str
    is_violation: bool
    count: int
    lead_ids: tuple[int, ...]
    """The first 20 leads; of `address-vanished` the first 20 addresses."""

    @property
    def headline(self) -> str:
        """Return what was found, and how many."""
        return f"{self.description[0].upper()}{self.description[1:]}: {self.count:,}."


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The result of an audit."""

    at: datetime
    total: Balance
    by_source: tuple[Balance, ...]
    by_day: tuple[Balance, ...]
    """By the day (UTC) on which leads were created."""
    findings: tuple[AuditFinding, ...]

    @property
    def ok(self) -> bool:
        """Return whether every balance is balanced and no finding is a violation."""
        balances = (self.total, *self.by_source, *self.by_day)
        return all(one.is_balanced for one in balances) and not any(one.is_violation for one in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, with `ok`."""
        return {"ok": self.ok, **asdict(self)}


@dataclass(frozen=True, slots=True)
class FindingType:
    """The texts of a kind of finding."""

    description: str
    remedy: str
    is_violation: bool


@cache
def load_finding_types() -> dict[str, FindingType]:
    """Return the texts of every kind of finding, most severe first."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - where an audit runs

    severities: dict[str, dict[str, dict[str, str]]] = YAML(typ="safe").load(_FINDING_TYPES.read_text("utf-8"))
    return {
        kind: FindingType(**texts, is_violation=severity == "violations")
        for severity, kinds in severities.items()
        for kind, texts in kinds.items()
    }


def run_audit(ctx: AppContext, now: datetime) -> AuditReport:
    """Audit all leads in a constant number of statements, from one snapshot, without writing.

    `no-recent-touch` needs a published policy.
    """
    with ctx.database.read() as tx:
        locks.use_snapshot(tx)
        counted = ledger_queries.count_leads(tx)
        definitions = ctx.definitions.find_current(tx)
        max_silence = definitions.policy.max_silence if definitions is not None else None
        selects = audit_queries.finding_queries(now, max_silence)
        if definitions is not None:
            selects["queue-overdue"] = audit_queries.late_in_queues(tx, _queue_clocks(ctx, tx, definitions.policy, now))
        found = {kind: audit_queries.count_and_list(tx, select) for kind, select in selects.items()}
        vanished = audit_queries.count_created_leads(tx)
    for (source, _), count in counted.leads.items():  # no lead is ever deleted
        vanished[source] = vanished.get(source, 0) - count
    missing = {source: count for source, count in sorted(vanished.items()) if count > 0}
    found["lead-vanished"] = audit_queries.FindingCount(sum(missing.values()), ())
    sources = {"lead-vanished": f", of {', '.join(missing)}"}
    findings = (
        AuditFinding(
            kind, meaning.description + sources.get(kind, ""), meaning.remedy, meaning.is_violation, *found[kind]
        )
        for kind, meaning in load_finding_types().items()
        if kind in found and found[kind].lead_count
    )
    keys = {*counted.leads, *counted.journal}
    return AuditReport(
        now,
        _balance("all", counted, keys),
        tuple(_balances(counted, keys, 0)),
        tuple(_balances(counted, keys, 1)),
        tuple(findings),
    )


def recount(ctx: AppContext) -> list[RollupDifference]:
    """Count the facts behind reports again, correct the counts that differ, and return how many did.

    Workers wait meanwhile: for minutes with millions of leads.
    """
    with ctx.database.write() as tx:
        return rollups.recount(tx)


def _queue_clocks(ctx: AppContext, tx: Transaction, policy: Policy, now: datetime) -> list[tuple[str, datetime]]:
    """Return each queue, and since when its leads are too late; nothing is in time in a queue that nobody works."""
    found = load_waiting(tx, policy, ctx.holidays, now, person=None, limit=0).queues
    return [(one.name, one.late_since) for one in found]


def _balances(counts: LedgerCounts, keys: Iterable[LedgerKey], position: int) -> Iterator[Balance]:
    groups: dict[str, list[LedgerKey]] = {}
    for key in keys:
        groups.setdefault(key[position], []).append(key)
    for name in sorted(groups):
        yield _balance(name, counts, groups[name])


def _balance(name: str, counts: LedgerCounts, keys: Iterable[LedgerKey]) -> Balance:
    leads = 0
    custody: Counter[str] = Counter()
    journal: Counter[str] = Counter()
    for key in keys:
        leads += counts.leads.get(key, 0)
        custody.update(counts.custody.get(key, {}))
        journal.update(counts.journal.get(key, {}))
    by_custody, by_journal = _in_order(custody), _in_order(journal)
    residual, journal_residual = leads - sum(by_custody.values()), leads - sum(by_journal.values())
    return Balance(name, leads, by_custody, by_journal, residual, journal_residual)


def _in_order(kinds: Mapping[str, int]) -> dict[str, int]:
    return {kind.value: kinds.get(kind.value, 0) for kind in Custodian}
