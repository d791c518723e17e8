"""Opt-ins: the only way to lift an opt-out is a newer opt-in by the lead, with evidence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from nurture.db.transaction import Transaction
from nurture.domain.consent.suppression import (
    ActiveSuppression,
    LogAction,
    SuppressionLogEntry,
    SuppressionSource,
    current_suppressions,
    describe_suppression,
    find_covering,
    normalize_ref,
)
from nurture.domain.lead import Custodian, Queue
from nurture.errors import InvalidState
from nurture.journey.consent.suppression import SuppressionTarget, parse_address, resolve_target, to_entry
from nurture.journey.leads import signal_queries, snapshot, suppression_queries
from nurture.journey.leads.transitions import LeadTransitions
from nurture.runtime.context import AppContext

MAX_EVIDENCE_LENGTH: Final = 500
_MIN_WORDS: Final = 3
_MIN_CHARACTERS: Final = 6  # in scripts without spaces between words
_RESTORED_EVIDENCE: Final = "restored from the suppression journal"
_ADDRESS_WITHIN: Final = re.compile(r"\S@\S")


@dataclass(frozen=True, slots=True)
class OptInResult:
    """The suppressions that an opt-in lifted, and those that remain."""

    lifted: tuple[ActiveSuppression, ...]
    remaining: tuple[ActiveSuppression, ...]


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
        if found is None or not suppressions:
            return OptInResult((), ())
        entries = [
            SuppressionLogEntry(LogAction.OPT_IN, *target, source, stated_at),
            *(
                [SuppressionLogEntry(LogAction.OPT_IN, *target, SuppressionSource.BOUNCE, now)]
                if mailbox_evidence is not None
                else []
            ),
        ]
        remaining = current_suppressions([*log, *entries])
        lifted = tuple(one for one in suppressions if one not in remaining)
        if not lifted:
            raise InvalidState(_nothing_lifted_message(suppressions, target, stated_at))
        evidence_by_source = {source: evidence, SuppressionSource.BOUNCE: mailbox_evidence}
        suppression_queries.append_entries(
            tx, [to_entry(found[0], one, evidence_by_source[one.source]) for one in entries]
        )
        if found[1] is not None:
            _reclassify(ctx, tx, found[1], remaining, now)
    return OptInResult(lifted, remaining)


def _nothing_lifted_message(
    suppressions: Sequence[ActiveSuppression], target: SuppressionTarget, stated_at: datetime
) -> str:
    same_target = [
        one for one in suppressions if (one.scope, normalize_ref(one.ref)) == (target.scope, normalize_ref(target.ref))
    ]
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
    for address_id in sorted({id_ for id_, _ in new}):
        remaining = current_suppressions([*logs.get(address_id, ()), *(one for id_, one in new if id_ == address_id)])
        if address_id in leads:
            _reclassify(ctx, tx, leads[address_id], remaining, now)
    return len(new)


def _reclassify(
    ctx: AppContext, tx: Transaction, lead_id: int, remaining: Sequence[ActiveSuppression], now: datetime
) -> None:
    """Return a lead that is only in the queue of suppressed leads to intake; make others due."""
    rows = snapshot.load_rows(tx, [lead_id])
    if find_covering(remaining, "") is not None or [(row.kind, row.ref) for row in rows] != [
        ("queue", Queue.SUPPRESSED)
    ]:
        signal_queries.make_due(tx, [lead_id], now)
        return
    transitions = LeadTransitions(ctx.definitions.current(tx), now, "opt_in")
    for lead in snapshot.load_snapshots(tx, rows, now, ctx.holidays):
        custody_change = transitions.set_custody(lead, Custodian.INTAKE, "return", "classify", now)
        transitions.add_journal_entry(lead, "returned", "opted in again", custody_change, ref="return")
    transitions.changes.write(tx, now)


def validate_evidence(text: str) -> str:
    """Return evidence as it is stored. Raises InvalidState if it is too short or contains an email address."""
    plain = " ".join(text.split())
    if _ADDRESS_WITHIN.search(plain):
        raise InvalidState("The evidence contains an email address. Write without it how and when the lead opted in.")
    if len(plain) > MAX_EVIDENCE_LENGTH:
        raise InvalidState(f"The evidence is longer than {MAX_EVIDENCE_LENGTH} characters. Shorten it.")
    words = {word.casefold() for word in re.findall(r"[^\W\d_]{2,}", plain)}
    characters = sum("\u2e80" <= character <= "\ud7ff" for character in plain)
    if len(words) < _MIN_WORDS and characters < _MIN_CHARACTERS:
        raise InvalidState(
            f"{plain!r} is not enough evidence. Write how and when the lead opted in, as in "
            "'asked for it on the phone on March 3'."
        )
    return plain
