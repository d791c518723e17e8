"""The page of one lead: where it is, what comes next and why, its score as a curve, and one timeline."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from nurture.journey.leads import history_queries, reply_queries
from nurture.journey.leads.history_queries import HistoryEvent
from nurture.journey.ownership import queries as ownership_queries
from nurture.journey.scoring.breakdown import ScoreBreakdown, score_breakdown, score_curve
from nurture.journey.tracks.emails_to_self import TO_SELF
from nurture.reporting.explain import LeadExplanation, describe_hold, explain
from nurture.runtime.context import AppContext

CURVE_DAYS: Final = 90
_POINTS: Final = 46
MAX_REPLIES: Final = 100
_TO_LEAD: Final = frozenset({"touch", "broadcast", "question", "confirmation"})
"""The kinds of messages that leads get; the others go to sales."""

_MARKETING: Final = frozenset({"touch", "broadcast"})
_LEFT: Final = frozenset({"sent", "delivered", "bounced", "complained", "dropped"})
"""What became of messages that left."""

_WEEK: Final = timedelta(days=7)
_MAX_REASONS: Final = 3
_QUIET: Final = frozenset({"touch"})
"""Events of the journal that another line of the timeline says better: the email itself."""


@dataclass(frozen=True, slots=True)
class TimelineItem:
    """One line of the timeline, the newest first.

    *kind* is email, click, signal, reply, move, decision, hand_off, outcome or consent. *message_id* opens an email of
    a track as it was sent; *text* is what a person wrote. *is_planned*: it has not happened yet.
    """

    at: datetime
    kind: str
    title: str
    detail: str
    message_id: int | None = None
    text: str = ""
    is_planned: bool = False


@dataclass(frozen=True, slots=True)
class ScorePoint:
    """The score at one time."""

    at: datetime
    score: float


@dataclass(frozen=True, slots=True)
class LastWeek:
    """How many emails the lead got in the last seven days, when the last one, and why it did not get others.

    *reasons* are the decisions that were in force, the newest first, each with the time from which it was.
    """

    emails: int
    last_email_at: datetime | None
    reasons: tuple[tuple[datetime, str], ...]


@dataclass(frozen=True, slots=True)
class LeadDetails:
    """Everything on the page. *why* says in one sentence what the lead waits for; *account* is its company, if any."""

    explanation: LeadExplanation
    email: str
    fields: dict[str, object]
    why: str
    last_week: LastWeek
    account: tuple[int, str] | None
    score: ScoreBreakdown
    curve: Sequence[ScorePoint]
    timeline: Sequence[TimelineItem]


def load_lead(ctx: AppContext, lead_id: int, now: datetime) -> LeadDetails:
    """Return the page of a lead at *now* (UTC), in a constant number of statements. Raises NotFound."""
    explanation = explain(ctx, lead_id, now)
    score = score_breakdown(ctx, lead_id, now)
    with ctx.database.read() as tx:
        record = history_queries.find_lead_record(tx, lead_id)
        replies = reply_queries.list_replies(tx, lead_id, MAX_REPLIES)
        linked = ownership_queries.load_linked_leads(tx, [lead_id]).get(lead_id)
        account = linked.account_row if linked is not None else None
        points = ctx.definitions.current(tx).policy.points
    assert record is not None
    times = [now - timedelta(days=CURVE_DAYS) * (1 - place / (_POINTS - 1)) for place in range(_POINTS)]
    curve = zip(times, score_curve(score, points, times), strict=True)
    shown = (one for one in explanation.history if one.stage != TO_SELF.name)
    items = [_item(one, now) for one in shown if one.event not in _QUIET or one.kind != "journal"]
    items += [
        TimelineItem(one.received_at, "reply", f"Reply: {one.kind.replace('_', ' ')}", one.evidence, text=one.text)
        for one in replies
    ]
    return LeadDetails(
        explanation,
        record.email or "",
        dict(record.fields),
        describe_hold(explanation.hold),
        _describe_last_week(explanation.history, now),
        (account.id, account.name) if account is not None else None,
        score,
        [ScorePoint(at, value) for at, value in curve],
        sorted(items, key=lambda one: one.at, reverse=True),
    )


def _describe_last_week(history: Iterable[HistoryEvent], now: datetime) -> LastWeek:
    week_ago = now - _WEEK
    past = sorted((one for one in history if one.at <= now), key=lambda one: one.at)
    emails = [one.at for one in past if one.kind == "message" and one.stage in _MARKETING and one.event in _LEFT]
    decided = [one for one in past if one.kind == "journal" and one.reason and one.event not in _QUIET]
    before = [one for one in decided if one.at < week_ago][-1:]
    found = {one.reason: one.at for one in (*before, *(one for one in decided if one.at >= week_ago))}
    reasons = tuple((at, reason) for reason, at in reversed(found.items()))[:_MAX_REASONS]
    return LastWeek(sum(at >= week_ago for at in emails), emails[-1] if emails else None, reasons)


def _item(event: HistoryEvent, now: datetime) -> TimelineItem:
    title = event.event.replace("_", " ").capitalize()
    match event.kind:
        case "message":
            kind = "email" if event.stage in _TO_LEAD else "hand_off"
            is_planned = event.event == "planned" and event.at >= now
            message_id = event.record_id if event.stage == "touch" else None
            return TimelineItem(event.at, kind, title, event.reason, message_id, is_planned=is_planned)
        case "signal":
            kind = "click" if event.event == "clicked" else "signal"
            where = f" ({event.ref})" if event.ref else ""
            return TimelineItem(event.at, kind, title, event.reason.removeprefix(event.event).lstrip(": ,") + where)
        case "outcome" | "suppression" | "consent":
            kind = "outcome" if event.kind == "outcome" else "consent"
            return TimelineItem(event.at, kind, title, event.reason)
        case _:
            kind = "hand_off" if event.stage == "handoff" or event.event == "hand_off" else "decision"
            kind = "move" if event.is_move and kind == "decision" else kind
            where = f" ({event.ref})" if event.ref else ""
            return TimelineItem(event.at, kind, title, event.reason + where)
