"""Carry out what the policy says about a class of replies: pause, queue, end the track."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from nurture.db.transaction import Transaction
from nurture.domain.address import normalize_address
from nurture.domain.lead import Closing, Custodian, PausedBy, Queue, is_parked
from nurture.domain.planning import calendar
from nurture.domain.planning.program import ToClosed, ToQueue
from nurture.domain.replies import DEFAULT_PAUSE, MACHINE_CLASSES, ReplyAction, ReplyClass, queue_name
from nurture.journey.leads import reply_queries, signal_queries, snapshot
from nurture.journey.leads.reply_queries import RepliedMessage
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import LeadTransitions
from nurture.mail.inbound.classify import ClassifiedMail
from nurture.runtime.context import AppContext
from nurture.runtime.published import Definitions

_MAX_PAUSE: Final = timedelta(days=400)
_MOVES: Final = (ReplyAction.QUEUE, ReplyAction.END_TRACK)
"""Actions that move the lead; of several replies the strongest counts."""

_PAUSE_REASONS: Final = {
    PausedBy.OUT_OF_OFFICE: "out of office, by automatic reply",
    PausedBy.NOT_NOW: "the lead replied that it is too early",
}


class MatchedReply(NamedTuple):
    """A reply, the message that it answers, and when it was written."""

    key: str
    reply: ClassifiedMail
    message: RepliedMessage
    at: datetime

    @property
    def is_from_other_sender(self) -> bool:
        """Return whether somebody else wrote: a colleague, or the lead from another address."""
        return bool(self.reply.sender) and normalize_address(self.reply.sender) != self.message.address

    @property
    def summary(self) -> str:
        """Return the class and its evidence, without personal data."""
        evidence = f" ({', '.join(self.reply.evidence)})" if self.reply.evidence else ""
        return f"{self.reply.kind.label}{evidence}"


class _Pause(NamedTuple):
    lead_id: int
    until: datetime
    at: datetime
    by: PausedBy


def apply_actions(
    ctx: AppContext, tx: Transaction, definitions: Definitions, new: Sequence[MatchedReply], now: datetime
) -> None:
    """Pause, resume, queue and close leads, as the policy says about their *new* replies. Each lead changes once."""
    actions = definitions.policy.replies
    in_order = sorted(new, key=lambda one: one.at)
    pauses, returned = _find_pauses(in_order, actions, now)
    moves: dict[int, MatchedReply] = {}
    for one in in_order:
        action, lead_id = actions[one.reply.kind], one.message.lead_id
        if action in _MOVES and (
            lead_id not in moves or _MOVES.index(action) >= _MOVES.index(actions[moves[lead_id].reply.kind])
        ):
            moves[lead_id] = one
    if not pauses and not returned and not moves:
        return
    rows = snapshot.load_rows(tx, {*pauses, *returned, *moves})
    paused = reply_queries.begin_pauses(tx, sorted(pauses.values()), now)
    resumed = reply_queries.end_pauses(tx, sorted(returned.items()), now)
    if not paused and not resumed and not moves:
        return
    signal_queries.make_due(tx, sorted(paused | resumed), now)
    transitions = LeadTransitions(definitions, now, "signals")
    for lead in snapshot.load_snapshots(ctx, tx, definitions, rows, now):
        lead_id = lead.view.lead.id
        if lead_id in paused:
            pause = pauses[lead_id]
            transitions.add_pause(lead, pause.until, f": {_PAUSE_REASONS[pause.by]}")
        elif lead_id in resumed:
            transitions.add_journal_entry(lead, "resumed", "no longer paused: the lead replied", None)
        if lead_id in moves:
            _move(transitions, lead, moves[lead_id], actions[moves[lead_id].reply.kind])
    transitions.changes.write(tx, now)


def _move(transitions: LeadTransitions, lead: LeadSnapshot, one: MatchedReply, action: ReplyAction) -> None:
    """Move a lead that is with nobody in sales; a rep who has it gets the reply by mail."""
    custodian, reason = lead.view.custodian, f"by its reply: {one.summary}"
    on_the_way = custodian in (Custodian.INTAKE, Custodian.TRACK)
    queue = queue_name(one.reply.kind)
    if action is ReplyAction.QUEUE and on_the_way:
        transitions.move_to(lead, ToQueue(queue), reason)
    elif action is ReplyAction.END_TRACK and (
        on_the_way
        or custodian is Custodian.RESTING
        or (custodian is Custodian.QUEUE and (is_parked(lead.ref) or lead.ref == Queue.HAND_OFF))
    ):
        transitions.move_to(lead, ToClosed(Closing.DISCARDED, one.reply.kind.label), reason)


def _find_pauses(
    in_order: Sequence[MatchedReply], actions: Mapping[ReplyClass, ReplyAction], now: datetime
) -> tuple[dict[int, _Pause], dict[int, datetime]]:
    """Return the pauses by lead, and when leads wrote in person after that; a lead is in one of them."""
    pauses: dict[int, _Pause] = {}
    returned: dict[int, datetime] = {}
    for one in in_order:
        lead_id, kind = one.message.lead_id, one.reply.kind
        until = _pause_end(one, now) if actions[kind] is ReplyAction.PAUSE else None
        if until is not None and now < until <= now + _MAX_PAUSE:
            by = PausedBy.OUT_OF_OFFICE if kind is ReplyClass.ABSENCE else PausedBy.NOT_NOW
            known = pauses.get(lead_id)
            pauses[lead_id] = _Pause(lead_id, until if known is None else max(until, known.until), one.at, by)
            returned.pop(lead_id, None)
        elif kind not in MACHINE_CLASSES and not one.is_from_other_sender:
            returned[lead_id] = one.at
            pauses.pop(lead_id, None)
    return pauses, returned


def _pause_end(one: MatchedReply, now: datetime) -> datetime | None:
    """Return when the named day begins in the lead's time zone; an absence of somebody else is none of the lead."""
    if one.reply.kind is ReplyClass.ABSENCE and one.is_from_other_sender:
        return None
    day = one.reply.returns_on
    if day is None:
        return now + DEFAULT_PAUSE if one.reply.kind is ReplyClass.NOT_NOW else None
    try:
        return calendar.start_of_day(day, one.message.zone or "UTC").astimezone(UTC)
    except calendar.UnknownZone:
        return calendar.start_of_day(day, "UTC")
