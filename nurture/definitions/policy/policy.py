"""templates/sales/policy.yaml: what sales approved."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta
from typing import Any, Final, Literal

from pydantic import Field

from nurture.definitions.conditions import ALWAYS, Scope, read_condition
from nurture.definitions.destinations import read_place
from nurture.definitions.folder import POLICY, Sources
from nurture.definitions.policy.priority import read_pace
from nurture.definitions.policy.routing import read_routing
from nurture.definitions.policy.scoring import asks_fit, read_evidence, read_fit, read_points, rests_on_low
from nurture.definitions.policy.sla import read_sla
from nurture.definitions.policy.team import check_names, listed, read_team
from nurture.definitions.schema_check import Shape, Wrong, read_shape
from nurture.definitions.values import Day, Line, Name, PositiveSpan, Span, read_name
from nurture.definitions.yaml_reader import Node, Reading, read_yaml
from nurture.domain.lead import Closing
from nurture.domain.planning.conditions import Condition, Every
from nurture.domain.planning.program import Destination, ToClosed
from nurture.domain.planning.requests import CriterionKind, request_part
from nurture.domain.policy.policy import Criterion, Enrol, Policy, ReadinessRule, Ready, RejectReason, Resume
from nurture.domain.scoring.scoring import Points

_NOBODY: Final = RejectReason("expired", "Not answered in time", Resume())
_THEN: Final = "Write `hand_off`, `enrol`, `{track: a-track}`, `{discard: the reason}` or `{queue: a-queue}`."
_AFTER_NO: Final = (
    "Write `resume`, `{track: a-track}`, `{close: lost}`, `{close: discarded}` or `{queue: a-queue}`."
)


class PolicyShape(Shape):
    """The keys of policy.yaml."""

    approved: Any = Field(examples=["{by: Mara Lindqvist, on: 2026-01-15}"])
    points: Any = Field(examples=["{clicked: 10, replied: 40, half_life: 30 days}"])
    fit: Any = Field(None, examples=["{A: {field: employees, at_least: 200}}"])
    evidence: Any = Field(None, examples=["{settle: 90 seconds}"])
    readiness: list[Any] = Field(min_length=1, examples=["[{name: the-rest, when: always, then: enrol}]"])
    hand_off_when: list[Any] = Field(min_length=1, examples=["[{name: replied, when: {did: replied}}]"])
    reps: list[Any] = Field(
        examples=["[{id: mara, name: Mara Lindqvist, email: mara@example.com, capacity: 5}]"]
    )
    managers: Any = Field(None, examples=["[{id: lena, name: Lena Voss, email: lena@example.com}]"])
    desk: Any = Field(None, examples=["{zone: Europe/Berlin, hours: 'monday to friday 09:00-17:00'}"])
    pools: Any = Field(None, examples=["{everyone: {reps: [mara, tomas], by: round robin}}"])
    routing: Any = Field(None, examples=["[{name: rest, when: always, to: {pool: everyone}}]"])
    missing: Any = Field(None, examples=["{wait: 3 days, then: {pool: everyone}}"])
    sla: Any = Field(None, examples=["{accept: {remind: 2 business hours, take_back: 8 business hours}}"])
    pace: Any = Field(None, examples=["{hot: [replied], age: 1 day}"])
    accept_within: PositiveSpan = Field(examples=["1 day"])
    follow_up_within: PositiveSpan = Field(examples=["2 days"])
    max_silence: PositiveSpan = Field(examples=["60 days"])
    reject_reasons: Any = Field(examples=["{not-now: {label: Not now, then: resume, cool_off: 60 days}}"])
    on_expiry: Any = Field(examples=["{then: resume, cool_off: 7 days}"])


class ApprovedShape(Shape):
    """What stands under `approved:`."""

    by: Line = Field(examples=["Mara Lindqvist, head of sales"])
    on: Day = Field(examples=["2026-01-15"])


class ReadinessShape(Shape):
    """One rule for new leads."""

    name: Name = Field(examples=["ready"])
    when: Any = Field(examples=["{field: demo_requested, is: yes}"])
    then: Any = Field(examples=["hand_off"])


class CriterionShape(Shape):
    """One reason to offer a lead to sales."""

    name: Name = Field(examples=["replied"])
    when: Any = Field(examples=["{did: replied}"])
    kind: Literal["request", "interest"] | None = Field(None, examples=["request"])


class ReasonShape(Shape):
    """One reason to give a lead back."""

    label: Line = Field(examples=["Interested, but not now"])
    then: Any = Field(examples=["resume"])
    cool_off: Span = Field(timedelta(), examples=["90 days"])
    not_same_rep: bool = Field(True, examples=["yes"])
    suppress: bool = Field(False, examples=["yes"])
    ask_date: bool = Field(False, examples=["yes"])


class ExpiryShape(Shape):
    """What stands under `on_expiry:`."""

    label: Line = Field(_NOBODY.label, examples=[_NOBODY.label])
    then: Any = Field(examples=["resume"])
    cool_off: Span = Field(timedelta(), examples=["7 days"])


def read_policy(sources: Sources, steps: Collection[str] | None, reading: Reading) -> Policy | None:
    """Read the policy; *steps* are the email steps that criteria may name, None where they are not known."""
    node = read_yaml(POLICY, sources[POLICY], reading)
    if node is None:
        return None
    shape = read_shape(PolicyShape, node, reading, "the policy")
    approved = _part(ApprovedShape, node, "approved", reading)
    scope = Scope(None if steps is None else {step: step for step in steps})
    readiness = _readiness(node.part("readiness"), reading)
    criteria = _criteria(node.part("hand_off_when"), scope, reading)
    reasons = _reasons(node.part("reject_reasons"), reading)
    fit = read_fit(node.part("fit"), reading)
    if not fit:
        _check_no_fit_asked(node, readiness, criteria, reading)
    points = read_points(node.part("points"), reading)
    _check_intent(node.part("hand_off_when"), criteria, points, reading)
    day = timedelta(days=1)
    team = read_team(node, reading)
    routing = read_routing(node, team, reading)
    if routing.asks_fit and not fit:
        what = "`routing` asks for fit, and no rule gives a letter: everybody is D"
        reading.fault(node.parts["routing"], what, "Write `fit:` with rules for A, B and C.")
    accept_within = shape.accept_within if shape else day
    handing = [rule.name for rule in readiness if rule.then == Ready()] + [one.name for one in criteria]
    return Policy(
        version=0,
        approved_by=approved.by if approved else "",
        approved_on=approved.on if approved else date.min,
        points=points,
        readiness=readiness,
        criteria=criteria,
        reps=team.reps,
        accept_within=accept_within,
        follow_up_within=shape.follow_up_within if shape else day,
        max_silence=shape.max_silence if shape else day,
        on_expiry=_expiry(node.part("on_expiry"), reading),
        reject_reasons={reason.code: reason for reason in reasons},
        fit=fit,
        evidence=read_evidence(node.part("evidence"), reading),
        desk=team.desk,
        managers=team.managers,
        pools=team.pools,
        routing=routing.rules,
        missing=routing.missing,
        sla=read_sla(node.part("sla"), accept_within, team, sources, reading),
        pace=read_pace(node.part("pace"), handing, {rule.letter for rule in fit}, reading),
    )


def _check_no_fit_asked(
    node: Node,
    readiness: tuple[ReadinessRule, ...],
    criteria: tuple[Criterion, ...],
    reading: Reading,
) -> None:
    asked = [rule.when for rule in readiness] + [criterion.when for criterion in criteria]
    if any(asks_fit(when) for when in asked):
        what = "fit is asked for, and no rule gives a letter: everybody is D"
        reading.fault(node, what, "Write `fit:` with rules for A, B and C.")


def _check_intent(
    node: Node | None, criteria: tuple[Criterion, ...], points: Points, reading: Reading
) -> None:
    """Note criteria that hand a lead off for a gift, a prize or a download alone."""
    named = {
        item.value["name"]: item
        for item in listed(node)
        if isinstance(item.value, dict) and "name" in item.value
    }
    for criterion in criteria:
        if rests_on_low(criterion.when, points.low):
            reading.fault(
                named[criterion.name],
                f"`{criterion.name}` hands off for deeds of low intent alone",
                "Ask for something else too, or take `intent: low` out of `points`.",
            )


def _part(model: type[ApprovedShape], node: Node, key: str, reading: Reading) -> ApprovedShape | None:
    inner = node.part(key)
    return None if inner is None else read_shape(model, inner, reading, f"`{key}`")


def _readiness(node: Node | None, reading: Reading) -> tuple[ReadinessRule, ...]:
    rules: list[ReadinessRule] = []
    scope = Scope(None, no_emails_because="readiness is asked before any email has gone")
    items = listed(node)
    for item in items:
        shape = read_shape(ReadinessShape, item, reading, "a readiness rule")
        when, then = _when(item, scope, reading), item.part("then")
        to = None if then is None else _then(then, shape.name if shape else "", reading)
        if shape is not None and when is not None and to is not None:
            rules.append(ReadinessRule(shape.name, when, to))
    check_names(items, reading)
    everybody = [
        place
        for place, item in enumerate(items, 1)
        if isinstance(item.value, dict) and item.value.get("when") in ALWAYS
    ]
    if node is not None and items and not everybody:
        what = "a lead for which no readiness rule holds has nowhere to go"
        reading.fault(items[-1], what, "End the list with `- {name: the-rest, when: always, then: enrol}`.")
    elif everybody and everybody[0] < len(items):
        reading.fault(
            items[everybody[0]],
            "the rules behind the one for everybody are never asked",
            "Move that one to the end.",
        )
    return tuple(rules)


def _when(item: Node, scope: Scope, reading: Reading) -> Condition | None:
    when = item.part("when")
    return None if when is None else read_condition(when, scope, reading)


def _then(node: Node, rule: str, reading: Reading) -> Ready | Enrol | Destination | None:
    if node.value == "hand_off":
        return Ready()
    if node.value == "enrol":
        return Enrol()
    if isinstance(node.value, str):
        reading.fault(node, f"`then: {node.value}` leads nowhere", _THEN)
        return None
    return read_place(node, reading, f"readiness rule {rule}", _THEN)


def _criteria(node: Node | None, scope: Scope, reading: Reading) -> tuple[Criterion, ...]:
    found: list[Criterion] = []
    items = listed(node)
    for item in items:
        shape = read_shape(CriterionShape, item, reading, "a hand-off criterion")
        when = _when(item, scope, reading)
        if when == Every(()):
            reading.fault(
                item,
                "this criterion hands off every lead at once",
                "Ask for something that a lead did or said.",
            )
        if shape is not None and when is not None:
            kind = CriterionKind(shape.kind) if shape.kind is not None else None
            if kind is CriterionKind.REQUEST and request_part(when, kind) is None:
                reading.fault(
                    item,
                    f"`{shape.name}` is no request: nothing in it is said or done at a time",
                    "Ask for it with `did` or `timeline`, or write `kind: interest`.",
                )
            found.append(Criterion(shape.name, when, kind))
    check_names(items, reading)
    return tuple(found)


def _reasons(node: Node | None, reading: Reading) -> list[RejectReason]:
    if node is None:
        return []
    if not isinstance(node.value, dict) or not node.value:
        reading.fault(
            node,
            "`reject_reasons` has no reasons",
            "Write for example `not-now: {label: Not now, then: resume}`.",
        )
        return []
    found: list[RejectReason] = []
    for code, inner in node.parts.items():
        shape = read_shape(ReasonShape, inner, reading, f"the reason `{code}`")
        to = _after_no(inner, reading)
        try:
            read_name(code)
        except Wrong as wrong:
            reading.fault(inner, wrong.what, wrong.instead)
        if shape is not None and to is not None:
            more = (shape.not_same_rep, shape.suppress, shape.ask_date)
            found.append(RejectReason(str(code), shape.label, to, shape.cool_off, *more))
    return found


def _after_no(inner: Node, reading: Reading) -> Resume | Destination | None:
    then = inner.part("then")
    if then is None:
        return None
    if then.value == "resume":
        return Resume()
    if isinstance(then.value, str):
        reading.fault(then, f"`then: {then.value}` leads nowhere", _AFTER_NO)
        return None
    to = read_place(then, reading, str(inner.value.get("label", "rejected by sales")), _AFTER_NO)
    if isinstance(to, ToClosed) and to.closing not in (Closing.LOST, Closing.DISCARDED):
        reading.fault(then, f"a rejected lead cannot be closed as `{to.closing.value}`", _AFTER_NO)
    return to


def _expiry(node: Node | None, reading: Reading) -> RejectReason:
    if node is None:
        return _NOBODY
    shape = read_shape(ExpiryShape, node, reading, "`on_expiry`")
    to = _after_no(node, reading) if isinstance(node.value, dict) else None
    if shape is None or to is None:
        return _NOBODY
    return RejectReason(_NOBODY.code, shape.label, to, shape.cool_off)
