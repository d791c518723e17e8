"""Prove that no lead fell between: the ledger, counted twice, and a look at every way to leak."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from nurture.db import locks
from nurture.domain.lead import Custodian
from nurture.errors import NotFound
from nurture.reporting import audit_queries, ledger_queries
from nurture.reporting.ledger_queries import LedgerCounts, LedgerKey
from nurture.runtime.context import AppContext


@dataclass(frozen=True, slots=True)
class Balance:
    """Leads in, and where they are: by custody and by the journal. Both residuals must be 0."""

    name: str
    leads: int
    custody: Mapping[str, int]
    journal: Mapping[str, int]
    residual: int
    journal_residual: int

    @property
    def is_balanced(self) -> bool:
        """Return whether every lead is somewhere, and both ways of counting agree."""
        return self.residual == 0 and self.custody == self.journal


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """Something that should not be. *is_violation*: a promise is broken; else somebody should look at it."""

    kind: str
    description: str
    remedy: str
    is_violation: bool
    count: int
    lead_ids: tuple[int, ...]
    """The first leads of them, 20 at most."""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit saw at one moment."""

    at: datetime
    total: Balance
    by_source: tuple[Balance, ...]
    by_day: tuple[Balance, ...]
    """By the day (UTC) on which leads came in."""
    findings: tuple[AuditFinding, ...]

    @property
    def ok(self) -> bool:
        """Return whether the ledger closes everywhere and no promise is broken."""
        balances = (self.total, *self.by_source, *self.by_day)
        return all(one.is_balanced for one in balances) and not any(one.is_violation for one in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, with `ok`."""
        return {"ok": self.ok, **asdict(self)}


@dataclass(frozen=True, slots=True)
class DayBalance:
    """The ledger at the end of one day (UTC): all leads so far, and who kept them then."""

    day: date
    leads: int
    new_leads: int
    custody: Mapping[str, int]
    residual: int


@dataclass(frozen=True, slots=True)
class FindingType:
    """What a finding says to a person."""

    description: str
    remedy: str
    is_violation: bool = True


FINDING_TYPES: Final[Mapping[str, FindingType]] = {
    "no-custodian": FindingType(
        "leads that nobody keeps", "Restore their custody rows from the last good copy of the database."
    ),
    "custody-differs-from-journal": FindingType(
        "leads whose custodian is not the one that the journal names last",
        "Somebody wrote to the database by hand: `nurture explain LEAD` shows what was decided.",
    ),
    "track-without-enrollment": FindingType(
        "leads that a track keeps though they do not stand on it", "Put each back: `nurture leads enroll LEAD TRACK`."
    ),
    "enrollment-without-track": FindingType(
        "leads that stand on a track though somebody else keeps them",
        "`nurture explain LEAD` shows who; enroll or close them again.",
    ),
    "two-enrollments": FindingType(
        "leads on two tracks at once", "The index uq_enrollment_open is gone: run `nurture admin upgrade`."
    ),
    "custody-without-offer": FindingType(
        "leads that wait for a rep's answer to no open hand-off", "Put each back: `nurture leads enroll LEAD TRACK`."
    ),
    "offer-without-custody": FindingType(
        "open hand-offs of leads that somebody else keeps",
        "Answer them: `nurture handoffs list`, then `nurture handoffs reject ID --reason CODE`.",
    ),
    "offer-overdue": FindingType(
        "open hand-offs that should have been taken back more than an hour ago",
        "Check that the hand-off flow runs; `nurture run` catches up.",
    ),
    "touch-off-track": FindingType(
        "emails planned for leads that are not on that track", "`nurture run` calls them off before they go."
    ),
    "sweep-stuck": FindingType(
        "leads that were due more than a day ago",
        "Check that `nurture up` or the deployments run; `nurture run` catches up.",
    ),
    "mail-stuck": FindingType(
        "messages that should have gone more than a day ago",
        "Check the mail provider and that the deliver flow runs; `nurture run` tries again.",
    ),
    "signal-stuck": FindingType(
        "signals that nothing was made of for more than a day",
        "Check that the listen flow runs; `nurture run` catches up.",
    ),
    "manual-action-overdue": FindingType(
        "leads in a queue or with a rep, on whom a person should have acted more than a day ago",
        "`nurture leads list --custodian queue` and `--custodian rep` list them: enroll, close or remind.",
        is_violation=False,
    ),
    "delivery-unknown": FindingType(
        "messages of which nobody knows whether they went",
        "Look them up at the mail provider; they count as sent after 72 hours and are never sent again.",
        is_violation=False,
    ),
    "no-recent-touch": FindingType(
        "leads on a track without a touch for longer than the policy's max_silence",
        "`nurture explain LEAD` says what holds each; shorten the gaps of its track.",
        is_violation=False,
    ),
}
"""Every kind of finding, the worst first."""


def run_audit(ctx: AppContext, now: datetime) -> AuditReport:
    """Look at everything at once, in a constant number of statements, without writing.

    Without published rules no silence is looked for.
    """
    with ctx.database.read() as connection:
        locks.use_snapshot(ctx.database, connection)
        counted = ledger_queries.count_leads(connection)
        selects = audit_queries.finding_queries(now, _max_silence(ctx, connection))
        found = {kind: audit_queries.count_and_list(connection, select) for kind, select in selects.items()}
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


def _max_silence(ctx: AppContext, connection: Connection) -> timedelta | None:
    try:
        return ctx.definitions.current(connection).policy.max_silence
    except NotFound:
        return None


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


def ledger_by_day(ctx: AppContext, since: date | None = None, until: date | None = None) -> list[DayBalance]:
    """Return the ledger at the end of each day (UTC) from *since* to *until*, both included.

    Told by the journal and by when leads came in; custody is not asked. Without *since* it begins with the
    first lead, without *until* it ends with the last change.
    """
    before = datetime.combine((until or date(9998, 12, 31)) + timedelta(days=1), time(), UTC)
    with ctx.database.read() as connection:
        locks.use_snapshot(ctx.database, connection)
        changes = {one.day: one for one in ledger_queries.daily_changes(ctx.database, connection, before)}
    if not changes:
        return []
    first, last = min(changes), until or max(changes)
    day, leads, kinds = first, 0, Counter[str]()
    balances = []
    while day <= last:
        new_leads = 0
        if day in changes:
            new_leads = changes[day].new_leads
            leads += new_leads
            kinds.update(changes[day].custody_changes)
        if since is None or day >= since:
            custody = _in_order(kinds)
            balances.append(DayBalance(day, leads, new_leads, custody, leads - sum(custody.values())))
        day += timedelta(days=1)
    return balances
