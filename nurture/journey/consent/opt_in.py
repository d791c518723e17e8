"""Opt-ins: the only way to lift an opt-out is a newer opt-in by the lead, with evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from nurture.db.transaction import Transaction
from nurture.domain.consent.permission import may_mail
from nurture.domain.consent.statements import ConsentStatement
from nurture.domain.consent.suppression import (
    ActiveSuppression,
    LogAction,
    SuppressionLogEntry,
    SuppressionScope,
    SuppressionSource,
    current_suppressions,
    describe_suppression,
    find_covering,
    normalize_ref,
)
from nurture.domain.lead import Custodian, Queue
from nurture.errors import InvalidState
from nurture.formats.status_mapping import ConsentBasis
from nurture.journey.consent.evidence import validate_evidence
from nurture.journey.consent.statements import record
from nurture.journey.consent.suppression import SuppressionTarget, parse_address, resolve_target, to_entry
from nurture.journey.leads import consent_queries, signal_queries, snapshot, suppression_queries
from nurture.journey.leads.transitions import LeadTransitions
from nurture.runtime.context import AppContext

_RESTORED_EVIDENCE: Final = "restored from the suppression journal"


@dataclass(frozen=True, slots=True)
class OptInResult:
    """The suppressions that an opt-in lifted, and those that remain.

    *consent* is the statement that it recorded, because the address had no basis or a record had withdrawn it.
    """

    lifted: tuple[ActiveSuppression, ...]
    remaining: tuple[ActiveSuppression, ...]
    consent: ConsentStatement | None = None


def opt_in(
    ctx: AppContext,
    email: str,
    target: SuppressionTarget,
    evidence: str,
    now: datetime,
    *,
    stated_at: datetime | None = None,
    mailbox_evidence: str | None = None,
    source: SuppressionSource = SuppressionSource.ADMIN,
) -> OptInResult:
    """Log an opt-in of the lead, which lifts only older opt-outs of the same scope.

    *stated_at* (UTC) is when the lead opted in, now by default. A bounce is lifted only by *mailbox_evidence*, which
    says how it is known that the address accepts mail. Raises InvalidState if the opt-in lifts nothing, for example
    because the lead opted out later.
    """
    stated_at = stated_at or now
    if stated_at > now:
        raise InvalidState(f"{stated_at:%Y-%m-%d %H:%M} is in the future. Write when the lead opted in.")
    evidence = validate_evidence(evidence)
    mailbox_evidence = validate_evidence(mailbox_evidence) if mailbox_evidence is not None else None
    normal = parse_address(email)
    with ctx.database.write() as tx:
        target = resolve_target(ctx, tx, target)
        found = suppression_queries.find_address(tx, normal)
        suppression_queries.lock_leads_by_address(tx, [found[0]] if found else [])
        log = suppression_queries.load_logs(tx, [found[0]]).get(found[0], []) if found else []
        suppressions = current_suppressions(log)
        if found is None:
            return OptInResult((), ())
        by_hand = source is SuppressionSource.ADMIN
        consent = _record_consent(tx, found[0], target, evidence, stated_at, now) if by_hand else None
        if not suppressions or (consent is not None and find_covering(suppressions, "", target.ref) is None):
            return OptInResult((), suppressions, consent)
        entries = [SuppressionLogEntry(LogAction.OPT_IN, *target, source, stated_at)]
        if mailbox_evidence is not None:
            entries.append(SuppressionLogEntry(LogAction.OPT_IN, *target, SuppressionSource.BOUNCE, now))
        remaining = current_suppressions([*log, *entries])
        lifted = tuple(one for one in suppressions if one not in remaining)
        if not lifted:
            raise InvalidState(_nothing_lifted_message(suppressions, target, stated_at))
        evidence_by_source = {source: evidence, SuppressionSource.BOUNCE: mailbox_evidence}
        suppression_queries.append_entries(
            tx, [to_entry(found[0], one, evidence_by_source[one.source]) for one in entries]
        )
        if found[1] is not None:
            reclassify(ctx, tx, {found[1]: remaining}, now)
    return OptInResult(lifted, remaining, consent)


def _record_consent(
    tx: Transaction, address_id: int, target: SuppressionTarget, evidence: str, stated_at: datetime, now: datetime
) -> ConsentStatement | None:
    """Record consent if no basis covers *target*; return the new statement. Raises InvalidState if a no is newer."""
    topic = target.ref if target.scope is SuppressionScope.TOPIC else ""
    known = consent_queries.load_statements(tx, [address_id]).get(address_id, ())
    if target.scope is SuppressionScope.TRACK or may_mail(known, (), topic, now).allowed:
        return None
    basis = ConsentBasis.CONSENT.value
    given = ConsentStatement(target.scope, topic, basis, True, "opt-in", stated_at, now, evidence)
    after = may_mail((*known, given), (), topic, now)
    if not after.allowed:
        raise InvalidState(f"This address may not be mailed: {after.reason}. Only a newer opt-in counts.")
    return given if record(tx, [(address_id, given)], now) else None


def _nothing_lifted_message(
    suppressions: Sequence[ActiveSuppression], target: SuppressionTarget, stated_at: datetime
) -> str:
    wanted = (target.scope, normalize_ref(target.ref))
    same_target = [one for one in suppressions if (one.scope, normalize_ref(one.ref)) == wanted]
    if not same_target:
        listed = ", ".join(describe_suppression(one) for one in suppressions)
        return f"An opt-in for {target} lifts no active suppression: {listed}. Choose the scope with --scope."
    newest = max(one.last_stated_at for one in same_target)
    if all(one.source is SuppressionSource.BOUNCE for one in same_target):
        return (
            f"Mail to this address bounced on {newest:%Y-%m-%d %H:%M}. Write in "
            "--mailbox-evidence how you know that it accepts mail again."
        )
    return (
        f"The lead opted out on {newest:%Y-%m-%d %H:%M}, which is not before {stated_at:%Y-%m-%d %H:%M}. "
        "Only a newer opt-in counts."
    )


def restore_opt_ins(
    ctx: AppContext, tx: Transaction, opt_ins: Sequence[tuple[int, SuppressionLogEntry]], now: datetime
) -> int:
    """Log those opt-ins (address id, entry) that a restored database lacks; return how many these were."""
    addresses = {address_id for address_id, _ in opt_ins}
    leads = suppression_queries.lock_leads_by_address(tx, addresses)
    logs = suppression_queries.load_logs(tx, addresses)
    new = [(id_, one) for id_, one in opt_ins if one not in logs.get(id_, ())]
    suppression_queries.append_entries(tx, [to_entry(id_, one, _RESTORED_EVIDENCE) for id_, one in new])
    remaining = {
        leads[address_id]: current_suppressions(
            [*logs.get(address_id, ()), *(one for id_, one in new if id_ == address_id)]
        )
        for address_id in sorted({id_ for id_, _ in new} & leads.keys())
    }
    reclassify(ctx, tx, remaining, now)
    return len(new)


def reclassify(
    ctx: AppContext,
    tx: Transaction,
    remaining: Mapping[int, Sequence[ActiveSuppression]],
    now: datetime,
    reason: str = "opted in again",
) -> None:
    """Return leads that are only in the queue of suppressed leads to intake; make others due.

    *remaining* are the suppressions that each lead still has.
    """
    rows = snapshot.load_rows(tx, list(remaining))
    returned = [
        row
        for row in rows
        if (row.kind, row.ref) == ("queue", Queue.SUPPRESSED) and find_covering(remaining[row.lead_id], "") is None
    ]
    signal_queries.make_due(tx, sorted(remaining.keys() - {row.lead_id for row in returned}), now)
    if not returned:
        return
    transitions = LeadTransitions(ctx.definitions.current(tx), now, "opt_in")
    for lead in snapshot.load_snapshots(ctx, tx, transitions.definitions, returned, now):
        custody_change = transitions.set_custody(lead, Custodian.INTAKE, "return", "classify", now)
        transitions.add_journal_entry(lead, "returned", reason, custody_change, ref="return")
    transitions.changes.write(tx, now)
