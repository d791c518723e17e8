"""Find the track whose audience takes a lead: one on no track, or from a track of lower priority."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from nurture.domain.delivery.stops import STOP_REVIEW_INTERVAL, StopAction
from nurture.domain.lead import OWNER, FieldValue, FieldValues
from nurture.domain.planning.comparisons import matches
from nurture.domain.planning.condition_result import ConditionResult
from nurture.domain.planning.conditions import (
    AllOf,
    Condition,
    FieldCondition,
    earliest,
    evaluate,
)
from nurture.domain.planning.decision import DecisionContext, EndEnrollment
from nurture.domain.planning.evidence import Evidence, evidence_of, needed_evidence
from nurture.domain.planning.exits import exit_on_entry
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.planning.program import Previous, Program, ToTrack
from nurture.domain.planning.send_time import format_time
from nurture.domain.policy.policy import Policy

_MAX_CACHED_ANSWERS: Final = 10_000
_ANY_TIME: Final = datetime.min.replace(tzinfo=UTC)


class EntryResult(NamedTuple):
    """The track that takes the lead, if any, and why; and when time alone may next change that, None for never."""

    program: Program | None
    reason: str = ""
    change_at: datetime | None = None


class Entries:
    """The audiences of the published tracks, the highest priority first.

    Most audiences of most leads fail by the value of one field, or because evidence is missing. Each field value is
    tested once for all tracks: the answer is a bit mask, one bit per track.
    """

    def __init__(self, programs: Iterable[Program] = ()) -> None:
        self.programs = tuple(sorted(programs, key=lambda one: (-one.priority, one.track)))
        self._field_tests: dict[str, list[tuple[int, FieldCondition]]] = defaultdict(list)
        self._evidence_tests: dict[Evidence, int] = defaultdict(int)
        for bit, program in enumerate(self.programs):
            for part in _required_parts(program.audience):
                if isinstance(part, FieldCondition):
                    self._field_tests[part.name].append((1 << bit, part))
                elif (needed := needed_evidence(part)) is not None:
                    self._evidence_tests[needed] |= 1 << bit
        self._stored_tests = [name for name in self._field_tests if name != OWNER]
        self._customers = sum(1 << bit for bit, one in enumerate(self.programs) if one.for_customers)
        self._others = (1 << len(self.programs)) - 1 - self._customers
        self._answers: dict[tuple[str, type, FieldValue], int] = {}
        self._above: dict[tuple[str, int], int] = {}

    def find(self, track: str) -> Program | None:
        """Return the program of *track*, None if it is not published."""
        return next((one for one in self.programs if one.track == track), None)

    def candidates(self, view: LeadView, above: Program | None = None) -> Iterator[Program]:
        """Yield the tracks whose audience no field and no missing evidence rules out, the highest priority first.

        With *above* only those that take leads over from that track.
        """
        mask = (1 << len(self.programs)) - 1
        if above is not None:
            found = self._above.get((above.track, above.priority))
            mask = self._find_above(above.track, above.priority) if found is None else found
        known = evidence_of(view)
        for needed, needing in self._evidence_tests.items():
            if known.isdisjoint(needed):
                mask &= ~needing
        mask = self._test_fields(view.lead.condition_fields, mask, self._field_tests)
        while mask:
            lowest = mask & -mask
            yield self.programs[lowest.bit_length() - 1]
            mask ^= lowest

    def may_take(self, fields: FieldValues, above: Program | None, *, is_customer: bool) -> bool:
        """Return False if no audience can take a lead with these *fields*, whatever else is known of it."""
        mask = self._customers if is_customer else self._others
        mask &= -1 if above is None else self._find_above(above.track, above.priority)
        return bool(mask and self._test_fields(fields, mask, self._stored_tests))

    def _test_fields(self, fields: FieldValues, mask: int, names: Iterable[str]) -> int:
        """Return *mask* without the tracks whose audience a field of *names* rules out."""
        for name in names:
            value = fields.get(name)
            key = name, value.__class__, value
            allowed = self._answers.get(key)
            mask &= self._test_field(key) if allowed is None else allowed
            if not mask:
                break
        return mask

    def _find_above(self, track: str, priority: int) -> int:
        ranks = ((one.takes_over and one.priority > priority and one.track != track) for one in self.programs)
        self._above[track, priority] = mask = sum(1 << bit for bit, is_above in enumerate(ranks) if is_above)
        return mask

    def _test_field(self, key: tuple[str, type, FieldValue]) -> int:
        name, _, value = key
        allowed = (1 << len(self.programs)) - 1
        for bit, part in self._field_tests[name]:
            if not matches(part.comparison, value, part.value):
                allowed &= ~bit
        if len(self._answers) >= _MAX_CACHED_ANSWERS:
            self._answers.clear()
        self._answers[key] = allowed
        return allowed


def find_takeover(context: DecisionContext) -> EntryResult:
    """Return the track that takes the lead over from its own, which has a lower priority."""
    entries = context.entries
    if entries is None:
        return EntryResult(None)
    program, policy, now = context.program, context.policy, context.now
    return context.ask(lambda view: find_entry(view, entries, policy, now, above=program))


def find_entry(
    view: LeadView, entries: Entries, policy: Policy, now: datetime, *, above: Program | None = None
) -> EntryResult:
    """Return the track with the highest priority whose audience takes the lead of *view*, which is on no track.

    With *above*, the track that it is on, only tracks that take leads over from that one.
    """
    change_at = None
    for program in entries.candidates(view, above):
        stop = view.stops.get(program.track)
        if stop is not None and above is not None:
            taken, reason, changes_at = ConditionResult(False, str(stop), now + STOP_REVIEW_INTERVAL)
        else:
            taken, reason, changes_at = _takes(program, view, policy, now)
        if taken:
            return EntryResult(program, reason, changes_at)
        change_at = earliest((change_at, changes_at))
    return EntryResult(None, change_at=change_at)


def _takes(program: Program, view: LeadView, policy: Policy, now: datetime) -> ConditionResult:
    """Return whether the audience of *program* takes the lead now; the cheapest questions come first."""
    if program.for_customers != view.lead.is_customer:
        return ConditionResult(False, f"the track is for {program.for_whom}")
    stop = view.stops.get(program.track)
    if stop is not None and stop.action is StopAction.RETIRE:
        return ConditionResult(False, str(stop))
    context = policy.evaluation_context(view, since=view.lead.signals_since)
    fits = evaluate(program.audience, context, now) if program.audience is not None else ConditionResult(True, "always")
    if not fits.met:
        return fits
    if program.track in view.excluded_from:
        return ConditionResult(False, "it fitted already when the audience was published", fits.changes_at)
    allowed_at = _re_entry_at(program, view)
    if allowed_at is None or allowed_at > now:
        return ConditionResult(False, "it was on this track before", allowed_at)
    starts_at = program.starts_at(view.lead.zone)
    if starts_at is not None and starts_at > now:
        return ConditionResult(False, f"the track starts on {program.starts_on}", starts_at)
    permission = view.permission(now, program)
    if not permission.allowed:
        return ConditionResult(False, permission.reason)
    leaves = exit_on_entry(program, view, policy, now)
    return ConditionResult(False, leaves.reason, leaves.changes_at) if leaves.met else fits


def may_enter_again(program: Program, view: LeadView, now: datetime) -> bool:
    """Return whether `re_entry` lets the lead enter at *now*; True if it never did."""
    allowed_at = _re_entry_at(program, view)
    return allowed_at is not None and allowed_at <= now


def _re_entry_at(program: Program, view: LeadView) -> datetime | None:
    """Return from when `re_entry` lets the lead enter (the beginning of time if it never did), None for never."""
    last = max((one.left_at for one in view.past_stays if one.enrollment.track == program.track), default=None)
    days = program.re_entry.after_days
    if last is None:
        return _ANY_TIME
    return last + timedelta(days=days) if days is not None else None


def find_readmissions(view: LeadView, entries: Entries, policy: Policy, now: datetime) -> list[str]:
    """Return the tracks that the lead is excluded from, and whose audience it does not fit now."""
    context = policy.evaluation_context(view, since=view.lead.signals_since)
    programs = {one.track: one for one in entries.programs if one.track in view.excluded_from}
    audiences = {track: programs[track].audience if track in programs else None for track in sorted(view.excluded_from)}
    return [track for track, one in audiences.items() if one is None or not evaluate(one, context, now).met]


def respect_re_entry(context: DecisionContext, end: EndEnrollment) -> EndEnrollment:
    """Return *end*; if the lead may not enter its destination again, with the previous track as the destination."""
    to, entries, now = end.destination, context.entries, context.now
    program = entries.find(to.track) if entries is not None and isinstance(to, ToTrack) else None
    if program is None or any(one.track == program.track for one in context.view.suspended):
        return end
    allowed_at = _re_entry_at(program, context.view)
    if allowed_at is not None and allowed_at <= now:
        return end
    when = f" before {format_time(allowed_at, context.zone, now)}" if allowed_at is not None else ""
    return replace(end, destination=Previous(), reason=f"{end.reason}; it may not enter {program.track} again{when}")


def _required_parts(condition: Condition | None) -> Iterator[Condition]:
    """Yield the parts without which *condition* does not hold."""
    if isinstance(condition, AllOf):
        for part in condition.parts:
            yield from _required_parts(part)
    elif condition is not None:
        yield condition
