"""Find why a lead leaves its track before the last step: its goal, an exit, or the last day of the track."""

from datetime import datetime
from typing import Final, NamedTuple

from nurture.domain.planning.condition_result import ConditionResult
from nurture.domain.planning.conditions import (
    AllOf,
    AnyOf,
    Condition,
    SignalCondition,
    earliest,
    evaluate,
)
from nurture.domain.planning.decision import DecisionContext, EndEnrollment
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.planning.program import ExitKind, Previous, Program
from nurture.domain.policy.policy import Policy


class ExitResult(NamedTuple):
    """The end of the enrollment, None without one, and when time alone may next change that, None for never."""

    end: EndEnrollment | None
    change_at: datetime | None = None


_NO_EXIT: Final = ExitResult(None)
_LABELS: Final = {ExitKind.GOAL: "reached the goal", ExitKind.EXIT: "leaves"}


def find_exit(context: DecisionContext) -> ExitResult:
    """Return the first exit of the lead's track that holds; signals count from the enrollment."""
    program, enrollment = context.program, context.view.enrollment
    if program.has_no_end and program.for_customers == context.view.lead.is_customer:
        return _NO_EXIT
    since = enrollment.entered_at if enrollment is not None else None
    return context.ask(lambda view: _find_exit(program, view, context.policy, context.now, since))


def exit_on_entry(program: Program, view: LeadView, policy: Policy, now: datetime) -> ConditionResult:
    """Return whether the lead would leave the track as soon as it enters it, why, and when that may change."""
    end, change_at = _find_exit(program, view, policy, now, now)
    return ConditionResult(end is not None, end.reason if end is not None else "", change_at)


def _find_exit(program: Program, view: LeadView, policy: Policy, now: datetime, since: datetime | None) -> ExitResult:
    if program.for_customers != view.lead.is_customer:
        return ExitResult(EndEnrollment(Previous(), f"{program.track} is for {program.for_whom}"))
    change_at = None
    for one in program.exits:
        met, detail, changes_at = evaluate(one.condition, policy.evaluation_context(view, since=since), now)
        if met:
            reason = f"{_LABELS[one.kind]} of {program.track}: {detail}"
            return ExitResult(EndEnrollment(one.destination, reason, one.kind), changes_at)
        change_at = earliest((change_at, changes_at))
    ends_at = program.ends_at(view.lead.zone)
    if ends_at is not None and ends_at <= now:
        return ExitResult(EndEnrollment(program.destination, f"{program.track} ended on {program.ends_on}"))
    return ExitResult(None, earliest((change_at, ends_at)))


def needs_new_signal(condition: Condition) -> bool:
    """Return whether *condition* can hold only after a signal in the enrollment, so never at its start."""
    match condition:
        case SignalCondition():
            return True
        case AllOf(parts=parts):
            return any(map(needs_new_signal, parts))
        case AnyOf(parts=parts):
            return all(map(needs_new_signal, parts))
        case _:
            return False
