"""Record outcomes from any source: each report counts once, and contradicting ones are kept for review."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, Literal, NamedTuple, get_args

from nurture.db.transaction import Transaction
from nurture.domain.lead import Closing, Custodian, Resting
from nurture.domain.plain_text import index_key
from nurture.errors import InvalidState, NotFound
from nurture.journey.handoff import queries as handoff_queries
from nurture.journey.handoff.follow_up import CLOSED
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import snapshot
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import LeadTransitions
from nurture.journey.outcomes import queries
from nurture.journey.outcomes.queries import Contradiction, CurrentOutcome, OutcomeDetails, OutcomeReportRow
from nurture.runtime.context import AppContext
from nurture.runtime.published import PublishedDefinitions

FINAL_CLOSINGS: Final = (Closing.WON.value, Closing.LOST.value)
_AMOUNT_TOLERANCE: Final = 0.005  # amounts are money

Verdict = Literal["closed", "completed", "same", "conflict", "known"]
NO_REASON: Final = "no reason given"
"""The reason of a lost deal for which the source has none."""

VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)


class OutcomeReport(NamedTuple):
    """An outcome as reported by a source. *happened_at* (UTC) None is the time of recording.

    *key* identifies the report among others of the same source and lead; "" derives it from the content.
    *again_at* (UTC): a lead that is not won rests until then.
    """

    lead_id: int
    closing: Closing
    happened_at: datetime | None = None
    amount: float | None = None
    reason: str = ""
    key: str = ""
    again_at: datetime | None = None


def record_outcomes(ctx: AppContext, reports: Sequence[OutcomeReport], source: str, now: datetime) -> list[Verdict]:
    """Record the reports of *source*, one verdict each, in order, in a constant number of statements.

    A lead that is not closed is closed, whoever has it; a won one rests as a customer. A known outcome changes
    nothing, an amount completes an outcome without one, and a contradiction is kept for a person to resolve. Raises
    NotFound for an unknown lead.
    """
    if not reports:
        return []
    with ctx.database.write() as tx:
        return record_outcomes_in(ctx, tx, reports, source, now)


def record_outcomes_in(
    ctx: AppContext, tx: Transaction, reports: Sequence[OutcomeReport], source: str, now: datetime
) -> list[Verdict]:
    """Do the same as `record_outcomes`, in the caller's transaction."""
    ids = sorted({one.lead_id for one in reports})
    rows = snapshot.load_rows(tx, ids)
    missing = sorted(set(ids) - {row.lead_id for row in rows})
    if missing:
        raise NotFound(f"There is no lead {missing[0]}. `nurture leads list` lists them.")
    leads = {lead.view.lead.id: lead for lead in snapshot.load_snapshots(ctx, tx, None, rows, now)}
    keys = [_natural_key(one, source) for one in reports]
    merger = _OutcomeMerger(leads, queries.load_current_outcomes(tx, ids), queries.load_known_keys(tx, keys))
    verdicts = [merger.merge(one, key) for one, key in zip(reports, keys, strict=True)]
    _close_leads(ctx.definitions, tx, merger, source, now)
    queries.set_missing_amounts(tx, merger.amounts)
    zipped = zip(reports, keys, verdicts, strict=True)
    queries.insert_reports(
        tx, [_to_report_row(one, key, source, verdict, now) for one, key, verdict in zipped if verdict != "known"]
    )
    return verdicts


class _OutcomeMerger:
    """The current outcomes while reports are merged one after the other."""

    def __init__(
        self, leads: Mapping[int, LeadSnapshot], current: Mapping[int, CurrentOutcome], known: set[str]
    ) -> None:
        self.leads, self._known = leads, known
        self._current: dict[int, tuple[str, float | None, int | None]] = {}
        for lead_id, lead in leads.items():
            row = current.get(lead_id)
            closing = _settled_as(lead, row)
            if closing:
                same = row is not None and row.closing == closing
                self._current[lead_id] = (closing, row.amount, row.id) if same and row else (closing, None, None)
        self.to_close: dict[int, OutcomeReport] = {}
        self.amounts: list[tuple[int, float]] = []

    def merge(self, report: OutcomeReport, key: str) -> Verdict:
        """Return the verdict on a report, and make it current if the lead had no outcome."""
        if key in self._known:
            return "known"
        self._known.add(key)
        current = self._current.get(report.lead_id)
        lead = self.leads[report.lead_id]
        if current is None:
            if lead.view.custodian is Custodian.CLOSED and lead.ref == report.closing.value:
                return "same"
            self._current[report.lead_id] = (report.closing.value, report.amount, None)
            self.to_close[report.lead_id] = report
            return "closed"
        closing, amount, outcome_id = current
        if closing != report.closing.value:
            return "conflict"
        was_not_won_here = outcome_id is None and report.lead_id not in self.to_close  # a customer on arrival
        is_same = amount is not None and report.amount is not None and abs(amount - report.amount) < _AMOUNT_TOLERANCE
        if report.amount is None or was_not_won_here or is_same:
            return "same"
        if amount is not None:
            return "conflict"
        self._current[report.lead_id] = (closing, report.amount, outcome_id)
        if outcome_id is not None:
            self.amounts.append((outcome_id, report.amount))
        elif report.lead_id in self.to_close:
            self.to_close[report.lead_id] = self.to_close[report.lead_id]._replace(amount=report.amount)
        return "completed"


def _settled_as(lead: LeadSnapshot, current: CurrentOutcome | None) -> str:
    """Return the final outcome of a lead, "" if it has none; sales may be selling to a customer again."""
    if lead.view.lead.is_customer and lead.view.custodian not in (Custodian.OFFER, Custodian.REP):
        return Closing.WON
    is_later = (lead.view.custodian, lead.ref) == (Custodian.RESTING, Resting.LATER)
    closing = current.closing if is_later and current is not None else lead.ref
    is_settled = is_later or lead.view.custodian is Custodian.CLOSED
    return closing if is_settled and closing in FINAL_CLOSINGS else ""


def _close_leads(
    definitions: PublishedDefinitions, tx: Transaction, merger: _OutcomeMerger, source: str, now: datetime
) -> None:
    if not merger.to_close:
        return
    transitions = LeadTransitions(definitions.current(tx), now, "outcome")
    handoff_queries.withdraw_offers(tx, list(merger.to_close), "closed", now)
    for lead_id, one in merger.to_close.items():
        reason = f"{'won' if one.closing is Closing.WON else f'closed as {one.closing}'}, reported by {source}"
        transitions.close(
            merger.leads[lead_id],
            one.closing,
            reason,
            outcome_reason=one.reason,
            happened_at=one.happened_at,
            amount=one.amount,
            source=source,
            again_at=one.again_at,
        )
    written = transitions.changes.write(tx, now)
    handoff_queries.record_follow_ups(tx, [(id_, CLOSED) for id_ in sorted(written)], now)
    handoff_queries.end_closed_offers(tx, written, now)
    ended = [id_ for id_ in sorted(written) if merger.to_close[id_].closing is not Closing.WON]
    if ended:
        leads_queries.reset_engagement(tx, ended, now)  # what led to this sale counts no more


def _natural_key(report: OutcomeReport, source: str) -> str:
    if report.key:
        return f"{index_key(source)}|{report.lead_id}|{sha256(report.key.encode()).hexdigest()[:32]}"
    when = report.happened_at.astimezone(UTC).isoformat() if report.happened_at else ""
    content = f"{report.closing.value}|{when}|{report.amount}|{report.reason}"
    return f"{index_key(source)}|{report.lead_id}|{sha256(content.encode(errors='replace')).hexdigest()[:32]}"


def _to_report_row(report: OutcomeReport, key: str, source: str, verdict: Verdict, now: datetime) -> OutcomeReportRow:
    at = report.happened_at or now
    closing = report.closing.value
    return OutcomeReportRow(key, report.lead_id, closing, at, report.amount, report.reason, source, now, verdict)


def count_verdicts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Return the number of reports by verdict, zeros included."""
    found = Counter(verdicts)
    return {name: found[name] for name in VERDICTS}


def list_contradictions(ctx: AppContext) -> list[Contradiction]:
    """Return the unresolved contradictions."""
    with ctx.database.read() as tx:
        return queries.load_contradictions(tx)


def list_outcomes(ctx: AppContext, closing: Closing | None, limit: int) -> list[OutcomeDetails]:
    """Return outcomes, the newest first, with hand-off, policy, track and touch."""
    with ctx.database.read() as tx:
        return queries.load_outcome_details(tx, closing.value if closing else None, limit)


def resolve_contradiction(ctx: AppContext, report_id: int, *, accept: bool, by: str, now: datetime) -> Contradiction:
    """Resolve a contradiction: *accept* the later report, or keep the current outcome; *by* is recorded.

    Raises NotFound if there is no unresolved contradiction of this id.
    """
    with ctx.database.write() as tx:
        found = queries.load_contradictions(tx, report_id)
        rows = snapshot.load_rows(tx, [one.lead_id for one in found])
        if not found or not queries.mark_resolved(tx, report_id, "accepted" if accept else "dismissed", now):
            raise NotFound(
                f"There is no unresolved contradiction {report_id}. `nurture handoffs outcomes list` lists them."
            )
        one = found[0]
        transitions = LeadTransitions(ctx.definitions.current(tx), now, "outcome")
        lead = snapshot.load_snapshots(ctx, tx, transitions.definitions, rows, now)[0]
        if accept:
            _accept_report(tx, lead, one, transitions, by)
        else:
            reason = f"stays {one.current_closing}, although {one.source} reported {one.closing} ({by})"
            transitions.add_journal_entry(lead, "outcome_kept", reason, None, ref=one.closing)
        transitions.changes.write(tx, now)
    return one


def _accept_report(
    tx: Transaction, lead: LeadSnapshot, contradiction: Contradiction, transitions: LeadTransitions, by: str
) -> None:
    reason = (
        f"closed as {contradiction.closing} instead of {contradiction.current_closing}, "
        f"reported by {contradiction.source} ({by})"
    )
    closing, lead_id = Closing(contradiction.closing), contradiction.lead_id
    handoff_queries.withdraw_offers(tx, [lead_id], "closed", transitions.now)
    if closing is not Closing.WON:
        leads_queries.unmark_customer(tx, lead_id)
    current = queries.load_current_outcomes(tx, [lead_id]).get(lead_id)
    if not _settled_as(lead, current) or current is None:
        transitions.close(
            lead,
            closing,
            reason,
            outcome_reason=contradiction.reason,
            happened_at=contradiction.happened_at,
            amount=contradiction.amount,
            source=contradiction.source,
            for_good=True,
        )
        return
    queries.replace_outcome(tx, current.id, contradiction)
    moved = transitions.end_sale(lead, closing, for_good=True)
    transitions.add_journal_entry(lead, "outcome_changed", reason, moved, ref=contradiction.closing)


def close_lead(ctx: AppContext, report: OutcomeReport, source: str, now: datetime) -> Verdict:
    """Record the outcome that a person states now; "known" and "same" change nothing.

    Raises InvalidState if it contradicts the current outcome, or if a loss or a discard has no reason.
    """
    if report.closing in (Closing.LOST, Closing.DISCARDED) and not report.reason:
        raise InvalidState(f"Closing a lead as {report.closing.value} needs a reason. Add --reason.")
    stated = f"{report.closing.value}|{report.amount}|{report.reason}"
    key = report.key or ("" if report.happened_at else f"at {now.isoformat()}|{stated}")
    (verdict,) = record_outcomes(ctx, [report._replace(key=key)], source, now)
    refuse_contradiction(verdict, report.lead_id)
    return verdict


def refuse_contradiction(verdict: Verdict, lead_id: int) -> None:
    """Raise InvalidState if a person's report contradicts the current outcome."""
    if verdict == "conflict":
        raise InvalidState(
            f"Lead {lead_id} has another outcome already. Your report is "
            "kept: `nurture handoffs outcomes list` shows both; choose one with `nurture handoffs outcomes resolve`."
        )
