"""What users do about one lead: pause, move, stop, hand over, consent, and decisions about leads in queues."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from nurture.console.access.users import Role
from nurture.console.actions import Action, Call, Field, FieldKind, ObjectKind, Refused
from nurture.db.locks import Lock, acquire
from nurture.domain.lead import Custodian, PausedBy
from nurture.domain.planning import calendar
from nurture.errors import InvalidState
from nurture.formats.status_mapping import ConsentBasis
from nurture.journey.consent import statements
from nurture.journey.handoff.waiting.decisions import Decision, DecisionKind, decide_waiting
from nurture.journey.leads import snapshot
from nurture.journey.tracks import manual

MARKETING: Final = frozenset({Role.ADMIN, Role.MARKETER})
SALES: Final = frozenset({Role.ADMIN, Role.SALES_MANAGER})

STOPPED_BY_HAND: Final = "by-hand"
"""The queue of leads that a person took off their track, as `nurture leads leave` does."""

_REP: Final = Field("rep", "Rep", FieldKind.CHOICE)
_REASON: Final = Field("reason", "Reason", FieldKind.LONG_TEXT)


def read_pause_end(call: Call) -> datetime:
    """Return the end of a pause (UTC) as the user chose it. Raises InvalidState."""
    try:
        day = date.fromisoformat(call.values["until"])
    except ValueError:
        raise InvalidState(f"{call.values['until'][:20]!r} is not a date. Write it as 2027-03-31.") from None
    until = calendar.start_of_day(day, "")
    if not call.now < until < call.now + timedelta(days=10 * 366):
        raise InvalidState(f"{day} is not in the next ten years. Choose a future day.")
    return until


def _pause(call: Call) -> str:
    until = read_pause_end(call)
    end = manual.pause(call.ctx, call.lead_id, until, call.now, by=f"by {call.by}", paused_by=_paused_by(call))
    return f"Mail to this lead is paused until {end:%Y-%m-%d}."


def _resume(call: Call) -> str:
    manual.pause(call.ctx, call.lead_id, None, call.now, by=f"by {call.by}", paused_by=_paused_by(call))
    return "The pause is over."


def _paused_by(call: Call) -> PausedBy:
    """Return as whom the user pauses: a rep neither ends nor shortens a pause that others asked for."""
    return PausedBy.REP if call.user.role == Role.REP else PausedBy.OPERATOR


def _move(call: Call) -> str:
    manual.enroll(call.ctx, call.lead_id, call.values["track"], call.now, by=f"by {call.by}")
    return f"The lead is on {call.values['track']}."


def _stop(call: Call) -> str:
    manual.remove_from_track(call.ctx, call.lead_id, STOPPED_BY_HAND, call.now, by=f"by {call.by}")
    return f"The lead is off its track, in the queue {STOPPED_BY_HAND}."


def _hand_over(call: Call) -> str:
    """Offer the lead to a rep now, from its track or its queue."""
    with call.ctx.database.write() as tx:
        acquire(tx, Lock.OFFERS)  # before the lead
        rows = snapshot.load_rows(tx, [call.lead_id])
    if rows and rows[0].kind == Custodian.TRACK:
        manual.remove_from_track(call.ctx, call.lead_id, STOPPED_BY_HAND, call.now, by=f"by {call.by}")
    return _Decide(DecisionKind.ASSIGN)(call)


def _grant_consent(call: Call) -> str:
    evidence = f"{call.values['evidence']} (entered by {call.user.login})"
    new = statements.grant_consent(call.ctx, call.lead_id, call.values["basis"], evidence, call.now)
    return "The consent is recorded." if new else "The same was recorded before. Nothing was changed."


@dataclass(frozen=True, slots=True)
class _Decide:
    """Decide about a lead in a queue: as the person of the policy that the user is, otherwise as an operator."""

    kind: DecisionKind

    def __call__(self, call: Call) -> str:
        by, as_operator = call.user.rep or call.by, not call.user.rep
        rep, reason = call.values.get("rep", ""), call.values.get("reason", "")
        if rep and call.user.reps is not None and rep not in call.user.reps:
            raise Refused
        decision = Decision(self.kind, by, rep, reason, as_operator)
        queue = decide_waiting(call.ctx, call.lead_id, decision, call.now)
        done = {
            DecisionKind.ASSIGN: f"is offered to {rep}",
            DecisionKind.NURTURE: "goes back to its track",
            DecisionKind.DISCARD: "is disqualified",
        }
        return f"The lead waited in {queue}, and {done[self.kind]} now."


_ANYBODY: Final = MARKETING | SALES | {Role.REP}
_UNTIL: Final = Field("until", "No mail until", FieldKind.DATE)
_TRACK: Final = Field("track", "Track", FieldKind.CHOICE)
_CONSENT: Final = (
    Field("basis", "Basis", FieldKind.CHOICE, tuple(ConsentBasis)),
    Field("evidence", "Evidence: what was said, when and where", FieldKind.LONG_TEXT),
)
_LEAD: Final = ObjectKind.LEAD

LEAD_ACTIONS: Final = (
    Action("pause_lead", "Pause", _ANYBODY, _LEAD, _pause, (_UNTIL,)),
    Action("resume_lead", "End the pause", _ANYBODY, _LEAD, _resume),
    Action("move_lead", "Move to a track", MARKETING, _LEAD, _move, (_TRACK,)),
    Action("stop_lead", "Take off its track", MARKETING, _LEAD, _stop, is_grave=True),
    Action("hand_over_lead", "Hand over now", SALES | MARKETING, _LEAD, _hand_over, (_REP,)),
    Action("grant_consent", "Add consent", MARKETING, _LEAD, _grant_consent, _CONSENT),
    Action("assign_waiting", "Give to a rep", SALES, _LEAD, _Decide(DecisionKind.ASSIGN), (_REP,)),
    Action("nurture_waiting", "Back to nurture", SALES, _LEAD, _Decide(DecisionKind.NURTURE), (_REASON,)),
    Action("discard_waiting", "Disqualify", SALES, _LEAD, _Decide(DecisionKind.DISCARD), (_REASON,), is_grave=True),
)
