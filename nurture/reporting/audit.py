"""The audit: the ledger of all leads, counted twice, and findings of inconsistent or overdue leads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from nurture.db import locks
from nurture.domain.lead import Custodian
from nurture.reporting import audit_queries, ledger_queries
from nurture.reporting.ledger_queries import LedgerCounts, LedgerKey
from nurture.runtime.context import AppContext


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
    """The first 20 leads."""


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
    is_violation: bool = True


FINDING_TYPES: Final[Mapping[str, FindingType]] = {
    "no-custodian": FindingType(
        "leads without a custodian", "Restore their custody rows from the last good backup of the database."
    ),
    "custody-differs-from-journal": FindingType(
        "leads whose custodian differs from the newest journal entry",
        "The database was edited by hand: `nurture explain LEAD` shows what was decided.",
    ),
    "track-without-enrollment": FindingType(
        "leads in the custody of a track without an enrollment on it",
        "Enroll each again: `nurture leads enroll LEAD TRACK`.",
    ),
    "enrollment-without-track": FindingType(
        "leads enrolled on a track but in another custody",
        "`nurture explain LEAD` shows which; enroll or close them again.",
    ),
    "two-enrollments": FindingType(
        "leads on two tracks at once", "The index uq_enrollment_open is missing: run `nurture admin upgrade`."
    ),
    "custody-without-offer": FindingType(
        "leads in the custody of an offer that is not open", "Enroll each again: `nurture leads enroll LEAD TRACK`."
    ),
    "offer-without-custody": FindingType(
        "open hand-offs of leads in another custody",
        "Answer them: `nurture handoffs list`, then `nurture handoffs reject ID --reason CODE`.",
    ),
    "offer-overdue": FindingType(
        "open hand-offs that expired more than an hour ago",
        "Check that the hand-off flow runs; `nurture run` catches up.",
    ),
    "touch-off-track": FindingType(
        "emails planned for leads that are not on that track", "`nurture run` cancels them before they are sent."
    ),
    "sweep-stuck": FindingType(
        "leads that were due more than a day ago",
        "Check that `nurture up` or the deployments run; `nurture run` catches up.",
    ),
    "mail-stuck": FindingType(
        "messages that were due more than a day ago",
        "Check the email provider and that the deliver flow runs; `nurture run` tries again.",
    ),
    "signal-stuck": FindingType(
        "signals that have not been applied for more than a day",
        "Check that the listen flow runs; `nurture run` catches up.",
    ),
    "manual-action-overdue": FindingType(
        "leads in a queue or with a rep whose next action was due more than a day ago",
        "List them with `nurture leads list --custodian queue` and `--custodian rep`; enroll, close or remind.",
        is_violation=False,
    ),
    "delivery-unknown": FindingType(
        "messages with unknown delivery",
        "Look them up at the email provider; they count as sent after 72 hours and are never sent again.",
        is_violation=False,
    ),
    "no-recent-touch": FindingType(
        "leads on a track without a touch for longer than the policy's max_silence",
        "`nurture explain LEAD` shows what holds each; shorten the waits of its track.",
        is_violation=False,
    ),
}
"""Every kind of finding, most severe first."""


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
        found = {kind: audit_queries.count_and_list(tx, select) for kind, select in selects.items()}
    findings = (
        AuditFinding(kind, meaning.description, meaning.remedy, meaning.is_violation, *found[kind])
        for kind, meaning in FINDING_TYPES.items()
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
