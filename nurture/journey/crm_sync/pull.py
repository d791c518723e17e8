"""Pull changes from the CRM: follow-ups, owners, outcomes, leads that sales gives back."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from nurture.crm.base import Crm, CrmUnavailable, RemoteRecord
from nurture.db.transaction import Transaction
from nurture.domain.consent.suppression import SuppressionSource
from nurture.domain.lead import Closing, Custodian
from nurture.domain.policy.crm_status import STAGES, CrmStatusMap, SalesStatus
from nurture.domain.policy.policy import Policy
from nurture.journey.consent import suppression
from nurture.journey.consent.suppression import OptOut
from nurture.journey.crm_sync import queries
from nurture.journey.crm_sync.push import lead_key
from nurture.journey.crm_sync.queries import UNKNOWN_OWNER, CrmLeadState, HandoffState
from nurture.journey.crm_sync.refusals import record_refusals
from nurture.journey.handoff import queries as handoff_queries
from nurture.journey.handoff.follow_up import FollowUp, record_follow_ups
from nurture.journey.handoff.recycle import recycle_leads
from nurture.journey.handoff.work_elsewhere import WorkElsewhere, accept_elsewhere
from nurture.journey.leads import find, snapshot
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads.custody import lock_leads
from nurture.journey.leads.transitions import LeadTransitions
from nurture.journey.outcomes import outcomes
from nurture.journey.outcomes.outcomes import OutcomeReport
from nurture.outbox import circuit_breakers
from nurture.runtime import quarantine
from nurture.runtime.context import AppContext

PAGE_SIZE: Final = 200
MAX_PAGES: Final = 100
"""How many pages one run reads; the next run continues after them."""

_ENDINGS: Final = (SalesStatus.WON, SalesStatus.LOST, SalesStatus.RECYCLED)


@dataclass
class PullResult:
    """The result of one run: *counts* of changes, and *unknown_statuses*, those not mapped.

    *problems* are unusable lines and records with remedies, for a terminal: they may contain personal data.
    *skipped* names the same without personal data, for a log.
    """

    counts: Counter[str] = field(default_factory=Counter)
    unknown_statuses: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def pull(ctx: AppContext, now: datetime) -> PullResult:
    """Read the CRM's changes since the last run, and apply them.

    Reading the same again changes nothing. Does nothing without a CRM, or while its circuit breaker is open.
    """
    result = PullResult()
    crm = ctx.crm
    if crm is None:
        return result
    with ctx.database.read() as tx:
        if ctx.definitions.find_current(tx) is None:  # nothing was ever handed off
            return result
        breaker = quarantine.find_breaker(circuit_breakers.list_active(tx), crm.name)
        cursor = queries.load_cursor(tx, crm.name)
    if breaker is not None and breaker.blocks_calls(now):
        return result
    for _ in range(MAX_PAGES):
        try:
            page = crm.fetch_changes(cursor, PAGE_SIZE, now)
        except CrmUnavailable as error:
            result.problems.append(error.reason)
            result.skipped.append(f"the changes of {crm.name}: it is down")
            return result
        with ctx.database.write() as tx:
            _PageApplier(ctx, crm, tx, now, result).apply(page.records)
            queries.save_cursor(tx, crm.name, page.cursor, now)
        result.problems += page.problems
        if page.problems:
            result.skipped.append(f"{len(page.problems)} lines of {page.cursor}")
        cursor = page.cursor
        if not page.has_more:
            return result
    return result


def is_status_changed(seen: RemoteRecord, previous: CrmLeadState | None) -> bool:
    """Return whether the status was set since the last pull.

    A record seen for the first time may have a status older than the hand-off, so it does not count; a row of a
    file does.
    """
    return previous.crm_status != seen.crm_status if previous is not None else not seen.handoff_key


class _PageApplier:
    """Apply one page of changes in one transaction."""

    def __init__(self, ctx: AppContext, crm: Crm, tx: Transaction, now: datetime, result: PullResult) -> None:
        self.ctx, self.crm, self.tx, self.now, self.result = ctx, crm, tx, now, result
        self.policy: Policy = ctx.definitions.current(tx).policy
        self.status_mapping: CrmStatusMap = ctx.definitions.crm_statuses(tx)
        self.reps = {rep.email.casefold(): rep.id for rep in self.policy.reps}

    def apply(self, seen: Sequence[RemoteRecord]) -> None:
        """Apply *seen*, the newest record of each lead."""
        by_lead = self._match_leads(seen)
        if not by_lead:
            return
        lock_leads(self.tx, list(by_lead))
        previous = queries.load_links(self.tx, self.crm.name, list(by_lead))
        handoffs = queries.load_handoffs(self.tx, list(by_lead))
        links = {lead_id: self._build_link(lead_id, one, previous.get(lead_id)) for lead_id, one in by_lead.items()}
        self._record_changes(by_lead, previous, links, handoffs)
        changed = {
            lead_id: one
            for lead_id, one in by_lead.items()
            if lead_id not in previous or previous[lead_id].crm_status != one.crm_status
        }
        if refused := record_refusals(self.tx, self.crm.name, changed, self.now):
            self.result.counts["opt-outs"] += refused
        self._close_leads(by_lead, links)
        self._recycle_leads(by_lead, previous)
        queries.save_links(self.tx, list(links.values()))

    def _match_leads(self, seen: Sequence[RemoteRecord]) -> dict[int, RemoteRecord]:
        """Return the records by lead; report those of another installation and unknown ones."""
        pattern = re.compile(re.escape(lead_key(self.ctx, 0)[:-1]) + r"(\d{1,18})")
        keys = {one.key: match for one in seen if (match := pattern.fullmatch(one.key))}
        found = find.resolve_leads(self.tx, (one.key for one in seen if one.key not in keys))
        numbers = {key: int(match[1]) for key, match in keys.items()}
        known = leads_queries.filter_existing(self.tx, numbers.values())
        by_lead: dict[int, RemoteRecord] = {}
        for one in sorted(seen, key=lambda one: one.changed_at):
            if one.problem:
                unknown = one.crm_status and self.status_mapping.map_status(one.crm_status) is None
                also = f"; the status {one.crm_status[:80]!r} is not mapped in sales/crm.yaml" if unknown else ""
                self.result.problems.append(one.problem + also)
                self.result.skipped.append(f"a line of {one.crm_id}")
                continue
            ids = (numbers[one.key],) if numbers.get(one.key) in known else found.get(one.key, ())
            if len(ids) == 1:
                by_lead[ids[0]] = one
            else:
                problem = "matches several leads" if ids else "matches no lead"
                record_name = "an address" if "@" in one.key else repr(one.key[:80])
                self.result.skipped.append(f"record {one.crm_id} {problem}")
                self.result.problems.append(f"{record_name} ({one.crm_id}) {problem}; use the id or address of a lead")
        return by_lead

    def _build_link(self, lead_id: int, seen: RemoteRecord, previous: CrmLeadState | None) -> CrmLeadState:
        owner = self.reps.get(seen.owner.casefold(), UNKNOWN_OWNER) if seen.owner else ""
        changed = seen.changed_at
        is_unchanged = previous is not None and (previous.crm_status, previous.owner) == (seen.crm_status, owner)
        return CrmLeadState(
            self.crm.name,
            lead_id,
            seen.crm_id,
            seen.crm_status,
            owner,
            seen.handoff_key or (previous.handoff_key if previous else ""),
            seen.handoff_status or (previous.handoff_status if previous else ""),
            previous.changed_at if is_unchanged and previous is not None else changed,
            self.now,
        )

    def _record_changes(
        self,
        seen: Mapping[int, RemoteRecord],
        previous: Mapping[int, CrmLeadState],
        links: Mapping[int, CrmLeadState],
        handoffs: Mapping[int, HandoffState],
    ) -> None:
        """Record what a person did in the CRM: a new status, another owner; their work on a hand-off counts here."""
        rows = snapshot.load_rows(self.tx, list(seen))
        transitions = LeadTransitions(self.ctx.definitions.current(self.tx), self.now, "crm")
        works: list[WorkElsewhere] = []
        follow_ups: list[FollowUp] = []
        for lead in snapshot.load_snapshots(self.ctx, self.tx, transitions.definitions, rows, self.now):
            lead_id = lead.view.lead.id
            one, link, before = seen[lead_id], links[lead_id], previous.get(lead_id)
            meaning = self.status_mapping.map_status(one.crm_status)
            if one.crm_status and meaning is None and not one.closing:
                self.result.unknown_statuses[one.crm_status] += 1
            if one.crm_status and is_status_changed(one, before):
                meaning_text = meaning.status.value if meaning else "not mapped"
                reason = f"{one.crm_status[:80]}: {meaning_text}"
                transitions.add_journal_entry(lead, "crm_status", reason, None, ref=self.crm.name)
                self.result.counts["status"] += 1
            handoff = handoffs.get(lead_id)
            new_owner = self._new_owner(one, link, before, handoff)
            if handoff is not None and handoff.is_held and new_owner is not None and new_owner != handoff.rep:
                who = {UNKNOWN_OWNER: "another person", "": "nobody"}.get(new_owner, new_owner)
                reason = f"{who} owns it in the CRM now, after {handoff.rep}"
                transitions.add_journal_entry(lead, "owner_changed", reason, None, ref=new_owner)
                self.result.counts["owner"] += 1
            if handoff is not None and handoff.is_held:
                work, contact = self._find_work(one, before, handoff, new_owner)
                works += [work] if work is not None else []
                follow_ups += [contact] if contact is not None else []
        transitions.changes.write(self.tx, self.now)
        accepted = accept_elsewhere(self.ctx, self.tx, works, self.now)
        contacts = [one._replace(at=self.now) if one.lead_id in accepted else one for one in follow_ups]
        new = record_follow_ups(self.ctx, self.tx, contacts, self.now)
        self.result.counts += Counter({"accepted": len(accepted), "followed up": new})

    def _new_owner(
        self, seen: RemoteRecord, link: CrmLeadState, before: CrmLeadState | None, handoff: HandoffState | None
    ) -> str | None:
        """Return the owner whom a person set since the last pull, None if nobody did.

        The owner of a record that is seen for the first time may be older than the hand-off; that of a row of a file,
        which names one, is not.
        """
        if before is None:
            return link.owner if link.owner and not seen.handoff_key else None
        if link.owner == before.owner or (not seen.owner and not seen.handoff_key):
            return None
        is_ours = handoff is not None and handoff.state == "accepted" and link.owner == handoff.rep  # pushed by us
        return None if is_ours else link.owner

    def _find_work(
        self, seen: RemoteRecord, before: CrmLeadState | None, handoff: HandoffState, new_owner: str | None
    ) -> tuple[WorkElsewhere | None, FollowUp | None]:
        """Return what counts as accepting the hand-off, for whom, and what counts as a contact with the lead.

        Whoever did it: another owner known to the policy gets the hand-off, else the rep who was asked.
        """
        meaning = self.status_mapping.map_status(seen.crm_status)
        ends = seen.closing or (meaning is not None and meaning.status in _ENDINGS)
        if ends:
            return None, None  # `_close_leads` and `_recycle_leads` do that
        known_owner = new_owner if new_owner not in (None, "", UNKNOWN_OWNER) else None
        at = self._contacted_at(seen, before, handoff)
        is_contact = at is not None and at >= (handoff.touched_at or handoff.answered_at or handoff.offered_at)
        rep = known_owner or handoff.rep
        work = None
        if (handoff.state == "offered" and (is_contact or known_owner)) or rep != handoff.rep:
            reason = f"{seen.crm_status[:80] or 'a logged activity'}" if is_contact else "owner set"
            work = WorkElsewhere(handoff.offer_id, rep, reason)
        if not is_contact or at is None:
            return work, None
        stage = meaning.status.value if meaning is not None and meaning.status in STAGES else None
        return work, FollowUp(handoff.lead_id, seen.crm_status[:80] or "a logged activity", at, stage=stage)

    def _contacted_at(self, seen: RemoteRecord, before: CrmLeadState | None, handoff: HandoffState) -> datetime | None:
        """Return when a person was in touch: as logged, or when the status changed to one that implies it."""
        meaning = self.status_mapping.map_status(seen.crm_status)
        says = meaning is not None and meaning.status is not SalesStatus.OPEN and is_status_changed(seen, before)
        if says or (seen.converted and handoff.followed_up_at is None):
            return max(filter(None, (seen.touched_at, min(seen.changed_at, self.now))))
        return seen.touched_at

    def _close_leads(self, seen: Mapping[int, RemoteRecord], links: Mapping[int, CrmLeadState]) -> None:
        reports = []
        for lead_id, one in seen.items():
            meaning = self.status_mapping.map_status(one.crm_status)
            says = meaning.status.value if meaning and meaning.status in (SalesStatus.WON, SalesStatus.LOST) else ""
            closing = one.closing or says
            if not closing:
                continue
            at = min(one.closed_at or links[lead_id].changed_at, self.now)
            amount = one.amount if closing == Closing.WON else None
            reason = one.reason or (one.crm_status if closing == Closing.LOST else "")
            key = f"{closing}|{amount}|{one.closed_at.isoformat() if one.closed_at else ''}"
            reports.append(OutcomeReport(lead_id, Closing(closing), at, amount, reason[:300], key))
        if reports:
            source = f"crm:{self.crm.name}"
            verdicts = outcomes.record_outcomes_in(self.ctx, self.tx, reports, source, self.now)
            self.result.counts.update(verdict for verdict in verdicts if verdict not in ("known", "same"))

    def _recycle_leads(self, seen: Mapping[int, RemoteRecord], previous: Mapping[int, CrmLeadState]) -> None:
        """Recycle leads that sales gives back in the CRM, as the policy says for the reason."""
        reason_by_lead: dict[int, str] = {}
        for lead_id, one in seen.items():
            meaning = self.status_mapping.map_status(one.crm_status)
            if meaning and meaning.status is SalesStatus.RECYCLED and is_status_changed(one, previous.get(lead_id)):
                reason_by_lead[lead_id] = meaning.reason
        if not reason_by_lead:
            return
        rows = [
            row
            for row in snapshot.load_rows(self.tx, list(reason_by_lead))
            if row.kind in (Custodian.REP, Custodian.OFFER)
        ]
        transitions = LeadTransitions(self.ctx.definitions.current(self.tx), self.now, "crm")
        claimed = snapshot.load_snapshots(self.ctx, self.tx, transitions.definitions, rows, self.now)
        recycled = [
            (lead, self.policy.reject_reasons[reason_by_lead[lead.view.lead.id]])
            for lead in claimed
            if reason_by_lead[lead.view.lead.id] in self.policy.reject_reasons
        ]
        recycle_leads(self.tx, transitions, recycled, "given back in the CRM")
        won = transitions.changes.write(self.tx, self.now)
        self._reject_offers(sorted(won), reason_by_lead)
        opt_outs = [
            OptOut(lead.address_id, SuppressionSource.ADMIN)
            for lead, meaning in recycled
            if meaning.suppress and lead.address_id is not None and lead.view.lead.id in won
        ]
        suppression.opt_out(self.tx, opt_outs, self.now)
        self.result.counts["given back"] += len(won)

    def _reject_offers(self, lead_ids: Sequence[int], reason_by_lead: Mapping[int, str]) -> None:
        """Store that their reps rejected these leads, and why: a rep who gave a lead back does not get it again."""
        accepted = handoff_queries.load_accepted_offers(self.tx, lead_ids)
        open_offers = handoff_queries.load_open_offers(self.tx, lead_ids)
        rejections = [
            (one.id, "rejected", reason_by_lead[id_]) for id_, one in accepted.items() if id_ not in open_offers
        ]
        handoff_queries.end_accepted_offers(self.tx, rejections, self.now)
        answers = [(one.id, "rejected", reason_by_lead[id_]) for id_, one in open_offers.items()]
        handoff_queries.record_answers(self.tx, answers, self.now)
