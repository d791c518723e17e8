"""Read templates/sales/policy.yaml, the policy that sales approved."""

from collections.abc import Collection
from datetime import date, timedelta
from typing import Any, Final, Literal

from pydantic import Field

from nurture.definitions.conditions import ALWAYS, KnownEmails, read_condition
from nurture.definitions.destinations import read_destination
from nurture.definitions.folder import POLICY, Sources
from nurture.definitions.policy.agreement import read_agreement
from nurture.definitions.policy.priority import read_priority
from nurture.definitions.policy.queues import read_queues
from nurture.definitions.policy.replies import read_replies
from nurture.definitions.policy.routing import read_routing
from nurture.definitions.policy.scoring import depends_on_low_intent, read_click_filtering, read_fit, read_points
from nurture.definitions.policy.sla import read_sla
from nurture.definitions.policy.team import check_repeated_conditions, check_unique_names, list_items, read_team
from nurture.definitions.policy.tiers import read_tiers
from nurture.definitions.schema_check import Reporting, Shape, read_part, read_shape
from nurture.definitions.values import Day, Line, Name, PositiveSpan, Span, read_name, read_positive_span
from nurture.definitions.yaml_reader import Node, ParseContext, read_yaml
from nurture.domain.lead import Closing
from nurture.domain.planning.conditions import AllOf, Condition
from nurture.domain.planning.missing_fields import uses_fit
from nurture.domain.planning.program import Destination, ToClosed
from nurture.domain.planning.requests import CriterionKind, request_part
from nurture.domain.policy.business_hours import SlaPolicy
from nurture.domain.policy.crm_status import STAGES
from nurture.domain.policy.policy import Criterion, Enroll, Policy, ReadinessRule, RejectReason, Resume, ToSales
from nurture.domain.scoring.scoring import Points
from nurture.errors import suggest

_DEFAULT_EXPIRY: Final = RejectReason("expired", "Not answered in time", Resume())
_THEN_HINT: Final = "Write `hand_off`, `enroll`, `{track: a-track}`, `{discard: the reason}` or `{queue: a-queue}`."
_REJECT_HINT: Final = "Write `resume`, `{track: a-track}`, `{close: lost}`, `{close: discarded}` or `{queue: a-queue}`."


class PolicyShape(Shape):
    """The keys of policy.yaml."""

    approved: Any = Field(examples=["{by: Mara Lindqvist, on: 2026-01-15}"])
    points: Any = Field(examples=["{clicked: 10, replied: 40, half_life: 30 days}"])
    fit: Any = Field(None, examples=["{A: {field: employees, at_least: 200}}"])
    click_filtering: Any = Field(None, examples=["{grace_period: 90 seconds}"])
    readiness: list[Any] = Field(min_length=1, examples=["[{name: the-rest, when: always, then: enroll}]"])
    hand_off_when: list[Any] = Field(min_length=1, examples=["[{name: replied, when: {did: replied}}]"])
    reps: list[Any] = Field(examples=["[{id: mara, name: Mara Lindqvist, email: mara@example.com, capacity: 5}]"])
    managers: Any = Field(None, examples=["[{id: lena, name: Lena Voss, email: lena@example.com}]"])
    business_hours: Any = Field(None, examples=["{zone: Europe/Berlin, hours: 'monday to friday 09:00-17:00'}"])
    pools: Any = Field(None, examples=["{everyone: {reps: [mara, tomas], rotation: round robin}}"])
    routing: Any = Field(None, examples=["[{name: rest, when: always, to: {pool: everyone}}]"])
    one_rep_per_company: Any = Field(None, examples=["30 days"])
    overlaps: Literal["allowed"] | None = Field(None, examples=["allowed"])
    missing_fields: Any = Field(None, examples=["{wait: 3 days, then: {pool: everyone}}"])
    sla: Any = Field(None, examples=["{accept: {remind: 2 business hours, take_back: 8 business hours}}"])
    tiers: Any = Field(None, examples=["[{name: demo, rules: [asked-for-demo], wait: 30 minutes}]"])
    queues: Any = Field(None, examples=["{others: {owner: lena, within: 2 business days}}"])
    priority: Any = Field(None, examples=["{hot: [replied], aging_interval: 1 day}"])
    replies: Any = Field(None, examples=["{not_interested: end_track, unclear_short: queue}"])
    accept_within: PositiveSpan = Field(examples=["1 day"])
    follow_up_within: PositiveSpan = Field(examples=["2 days"])
    max_silence: PositiveSpan = Field(examples=["60 days"])
    next_touch_within: Any = Field(None, examples=["{followed up: 21 days, in talks: 45 days}"])
    agreement: Any = Field(None, examples=["{review_on: 2026-07-15, sales: {R18: at least 90 %}}"])
    reject_reasons: Any = Field(examples=["{not-now: {label: Not now, then: resume, cool_off: 60 days}}"])
    on_expiry: Any = Field(examples=["{then: resume, cool_off: 7 days}"])


class ApprovedShape(Shape):
    """The keys under `approved:`."""

    by: Line = Field(examples=["Mara Lindqvist, head of sales"])
    on: Day = Field(examples=["2026-01-15"])


class ReadinessShape(Shape):
    """One rule for new leads."""

    name: Name = Field(examples=["ready"])
    label: Line | None = Field(None, examples=["asked for a demo"])
    when: Any = Field(examples=["{field: demo_requested, is: yes}"])
    then: Any = Field(examples=["hand_off"])


class CriterionShape(Shape):
    """One hand-off criterion."""

    name: Name = Field(examples=["replied"])
    label: Line | None = Field(None, examples=["replied to our email"])
    when: Any = Field(examples=["{did: replied}"])
    kind: Literal["request", "interest"] | None = Field(None, examples=["request"])


class ReasonShape(Shape):
    """One reject reason."""

    label: Line = Field(examples=["Interested, but not now"])
    then: Any = Field(examples=["resume"])
    cool_off: Span = Field(timedelta(), examples=["90 days"])
    not_same_rep: bool = Field(True, examples=["yes"])
    suppress: bool = Field(False, examples=["yes"])
    ask_date: bool = Field(False, examples=["yes"])
    ask: Line = Field("", examples=["When does their contract end?"])
    return_before: Span = Field(timedelta(), examples=["90 days"])


class ExpiryShape(Shape):
    """The keys under `on_expiry:`."""

    label: Line = Field(_DEFAULT_EXPIRY.label, examples=[_DEFAULT_EXPIRY.label])
    then: Any = Field(examples=["resume"])
    cool_off: Span = Field(timedelta(), examples=["7 days"])


def read_policy(sources: Sources, steps: Collection[str] | None, context: ParseContext) -> Policy | None:
    """Read the policy; *steps* are the email steps that criteria may name, None if they are not known."""
    node = read_yaml(POLICY, sources[POLICY], context)
    if node is None:
        return None
    shape = read_shape(PolicyShape, node, context, "the policy")
    approved = read_part(ApprovedShape, node, "approved", context)
    known_emails = KnownEmails(None if steps is None else {step: step for step in steps})
    readiness = _readiness(node.part("readiness"), context)
    criteria = _criteria(node.part("hand_off_when"), known_emails, context)
    reasons = _reasons(node.part("reject_reasons"), context)
    fit = read_fit(node.part("fit"), context)
    if not fit:
        _check_fit_not_used(node, readiness, criteria, context)
    points = read_points(node.part("points"), context)
    _check_intent(node.part("hand_off_when"), criteria, points, context)
    day = timedelta(days=1)
    team = read_team(node, context)
    routing = read_routing(node, team, context)
    if routing.needs_fit and not fit:
        what = "`routing` uses fit, but no rule gives a letter: every lead is D"
        context.add_problem(node.parts["routing"], what, "Write `fit:` with rules for A, B and C.")
    accept_within = shape.accept_within if shape else day
    hand_off_rules = [rule.name for rule in readiness if rule.then == ToSales()] + [one.name for one in criteria]
    letters = {rule.letter for rule in fit}
    sla = read_sla(node.part("sla"), accept_within, team, sources, context)
    default = sla or SlaPolicy.without_sla(accept_within)
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
        next_touch_within=_next_touch_within(node.part("next_touch_within"), context),
        on_expiry=_expiry(node.part("on_expiry"), context),
        reject_reasons={reason.code: reason for reason in reasons},
        fit=fit,
        click_filtering=read_click_filtering(node.part("click_filtering"), context),
        business_hours=team.business_hours,
        managers=team.managers,
        pools=team.pools,
        routing=routing.rules,
        one_rep_per_company=routing.one_rep_per_company,
        keeps_company_rep=routing.keeps_company_rep,
        overlaps_allowed=routing.overlaps_allowed,
        missing_fields=routing.missing_fields,
        sla=sla,
        tiers=read_tiers(node, default, (hand_off_rules, letters), team, sources, context),
        queues=read_queues(node, team, sources, context),
        replies=read_replies(node.part("replies"), context),
        priority=read_priority(node.part("priority"), hand_off_rules, letters, context),
        agreement=read_agreement(node.part("agreement"), context),
    )


def _next_touch_within(node: Node | None, context: ParseContext) -> dict[str, timedelta]:
    """Read how long a lead may be without contact at each stage."""
    if node is None:
        return {}
    if not isinstance(node.value, dict):
        context.add_problem(node, "`next_touch_within` has no stages", "Write for example `{in talks: 45 days}`.")
        return {}
    found: dict[str, timedelta] = {}
    for stage, part in node.parts.items():
        if stage not in STAGES:
            context.add_problem(part, f"`{stage}` is not a stage", suggest(str(stage), [one.value for one in STAGES]))
            continue
        with Reporting(part, context):
            found[str(stage)] = read_positive_span(part.value)
    return found


def _check_fit_not_used(
    node: Node, readiness: tuple[ReadinessRule, ...], criteria: tuple[Criterion, ...], context: ParseContext
) -> None:
    conditions = [rule.when for rule in readiness] + [criterion.when for criterion in criteria]
    if any(uses_fit(when) for when in conditions):
        what = "a condition uses fit, but no rule gives a letter: every lead is D"
        context.add_problem(node, what, "Write `fit:` with rules for A, B and C.")


def _check_intent(node: Node | None, criteria: tuple[Criterion, ...], points: Points, context: ParseContext) -> None:
    """Report criteria that hand off for low-intent signals alone, such as a prize draw or a download."""
    named = {
        item.value["name"]: item for item in list_items(node) if isinstance(item.value, dict) and "name" in item.value
    }
    for criterion in criteria:
        if depends_on_low_intent(criterion.when, points.low_intent):
            context.add_problem(
                named[criterion.name],
                f"`{criterion.name}` hands off for signals of low intent alone",
                "Add another condition, or remove `intent: low` from `points`.",
            )


def _readiness(node: Node | None, context: ParseContext) -> tuple[ReadinessRule, ...]:
    rules: list[ReadinessRule] = []
    known_emails = KnownEmails(None, unavailable_reason="readiness is evaluated before any email is sent")
    items = list_items(node)
    for item in items:
        shape = read_shape(ReadinessShape, item, context, "a readiness rule")
        when, then = _when(item, known_emails, context), item.part("then")
        to = None if then is None else _then(then, shape.name if shape else "", context)
        if shape is not None and when is not None and to is not None:
            rules.append(ReadinessRule(shape.name, when, to, shape.label))
    check_unique_names(items, context)
    everybody = [
        position
        for position, item in enumerate(items, 1)
        if isinstance(item.value, dict) and item.value.get("when") in ALWAYS
    ]
    if node is not None and items and not everybody:
        what = "a lead that matches no readiness rule has no destination"
        context.add_problem(items[-1], what, "End the list with `- {name: the-rest, when: always, then: enroll}`.")
    elif everybody and everybody[0] < len(items):
        context.add_problem(
            items[everybody[0]],
            "the rules after this one, which matches every lead, never apply",
            "Move it to the end.",
        )
    if len(rules) == len(items):
        check_repeated_conditions(items, [rule.when for rule in rules], context)
    return tuple(rules)


def _when(item: Node, known_emails: KnownEmails, context: ParseContext) -> Condition | None:
    when = item.part("when")
    return None if when is None else read_condition(when, known_emails, context)


def _then(node: Node, rule: str, context: ParseContext) -> ToSales | Enroll | Destination | None:
    if node.value == "hand_off":
        return ToSales()
    if node.value == "enroll":
        return Enroll()
    if isinstance(node.value, str):
        context.add_problem(node, f"`then: {node.value}` is not a destination", _THEN_HINT)
        return None
    return read_destination(node, context, f"readiness rule {rule}", _THEN_HINT)


def _criteria(node: Node | None, known_emails: KnownEmails, context: ParseContext) -> tuple[Criterion, ...]:
    found: list[Criterion] = []
    items = list_items(node)
    for item in items:
        shape = read_shape(CriterionShape, item, context, "a hand-off criterion")
        when = _when(item, known_emails, context)
        if when == AllOf(()):
            context.add_problem(
                item, "this criterion hands off every lead at once", "Add a condition on what a lead did or stated."
            )
        if shape is not None and when is not None:
            kind = CriterionKind(shape.kind) if shape.kind is not None else None
            if kind is CriterionKind.REQUEST and request_part(when, kind) is None:
                context.add_problem(
                    item,
                    f"`{shape.name}` is not a request: it contains no signal and no stated date",
                    "Use `did` or `timeline`, or write `kind: interest`.",
                )
            found.append(Criterion(shape.name, when, kind, shape.label))
    check_unique_names(items, context)
    return tuple(found)


def _reasons(node: Node | None, context: ParseContext) -> list[RejectReason]:
    if node is None:
        return []
    if not isinstance(node.value, dict) or not node.value:
        context.add_problem(
            node, "`reject_reasons` has no reasons", "Write for example `not-now: {label: Not now, then: resume}`."
        )
        return []
    found: list[RejectReason] = []
    for code, inner in node.parts.items():
        shape = read_shape(ReasonShape, inner, context, f"the reason `{code}`")
        to = _rejection_target(inner, context)
        with Reporting(inner, context):
            read_name(code)
        if shape is not None and to is not None:
            more = (shape.not_same_rep, shape.suppress, shape.ask_date, shape.ask, shape.return_before)
            found.append(RejectReason(str(code), shape.label, to, shape.cool_off, *more))
    return found


def _rejection_target(inner: Node, context: ParseContext) -> Resume | Destination | None:
    then = inner.part("then")
    if then is None:
        return None
    if then.value == "resume":
        return Resume()
    if isinstance(then.value, str):
        context.add_problem(then, f"`then: {then.value}` is not a destination", _REJECT_HINT)
        return None
    to = read_destination(then, context, str(inner.value.get("label", "rejected by sales")), _REJECT_HINT)
    if isinstance(to, ToClosed) and to.closing not in (Closing.LOST, Closing.DISCARDED):
        context.add_problem(then, f"a rejected lead cannot be closed as `{to.closing.value}`", _REJECT_HINT)
    return to


def _expiry(node: Node | None, context: ParseContext) -> RejectReason:
    if node is None:
        return _DEFAULT_EXPIRY
    shape = read_shape(ExpiryShape, node, context, "`on_expiry`")
    to = _rejection_target(node, context) if isinstance(node.value, dict) else None
    if shape is None or to is None:
        return _DEFAULT_EXPIRY
    return RejectReason(_DEFAULT_EXPIRY.code, shape.label, to, shape.cool_off)
