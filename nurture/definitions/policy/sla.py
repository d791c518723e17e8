"""Read `sla:` of templates/sales/policy.yaml: how soon reps answer and follow up, and what happens if not."""

import re
from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Any, Final

from pydantic import Field, PlainValidator

from nurture.definitions.folder import Sources
from nurture.definitions.schema_check import InvalidValue, Shape, read_part, read_shape
from nurture.definitions.values import read_positive_span
from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.domain.policy.business_hours import DurationUnit, EscalationLevel, EscalationPolicy, SlaDuration, SlaPolicy
from nurture.domain.policy.team import Team

REMIND: Final = "handoff/remind.md"
ESCALATE: Final = "handoff/escalate.md"
MAX_REROUTES: Final = 20
_BUSINESS: Final = re.compile(r"(\d+(?:\.\d+)?) +business +(minute|hour|day)s?")
_MAX_BUSINESS_HOURS: Final = 1_000
_MAX_BUSINESS_DAYS: Final = 100
_DURATION_HINT: Final = (
    "Write for example `15 business minutes`, `2 business hours`, `1 business day`, or `6 hours` for clock hours."
)
_UNITS: Final = {
    "minute": DurationUnit.BUSINESS_MINUTES,
    "hour": DurationUnit.BUSINESS_HOURS,
    "day": DurationUnit.BUSINESS_DAYS,
}


def read_sla_duration(given: Any) -> SlaDuration:
    """Read "15 business minutes", "2 business hours", "1 business day", or a duration of clock time."""
    text = " ".join(str(given).lower().split())
    found = _BUSINESS.fullmatch(text)
    if found is None:
        if "business" in text or "work" in text:
            raise InvalidValue(f"`{given}` is not a duration of working time", _DURATION_HINT)
        return SlaDuration.from_clock_time(read_positive_span(given))
    amount, unit = float(found[1]), _UNITS[found[2]]
    if not 0 < amount <= (_MAX_BUSINESS_DAYS if unit is DurationUnit.BUSINESS_DAYS else _MAX_BUSINESS_HOURS):
        raise InvalidValue(
            f"`{given}` is zero, or over {_MAX_BUSINESS_HOURS} business hours or {_MAX_BUSINESS_DAYS} business days",
            _DURATION_HINT,
        )
    return SlaDuration(amount, unit)


BusinessDuration = Annotated[SlaDuration, PlainValidator(read_sla_duration)]


class EscalationShape(Shape):
    """The keys under `accept:` and `follow_up:`."""

    remind: BusinessDuration | None = Field(None, examples=["2 business hours"])
    escalate: BusinessDuration | None = Field(None, examples=["4 business hours"])
    take_back: BusinessDuration | None = Field(None, examples=["8 business hours"])


class AcceptShape(EscalationShape):
    """The keys under `accept:`."""

    reroute: int = Field(0, ge=0, le=MAX_REROUTES, examples=["2"])


class SlaShape(Shape):
    """The keys under `sla:`."""

    accept: Any = Field(None, examples=["{remind: 2 business hours, take_back: 8 business hours}"])
    follow_up: Any = Field(None, examples=["{remind: 1 business day, take_back: 4 business days}"])


def read_sla(
    node: Node | None, accept_within: timedelta, team: Team, sources: Sources, context: ParseContext
) -> SlaPolicy | None:
    """Read `sla:`, None without it; an offer expires after *accept_within* without `take_back`."""
    if node is None or read_shape(SlaShape, node, context, "`sla`") is None:
        return None
    return read_ladders(node, SlaPolicy.without_sla(accept_within), team, sources, context)


def read_ladders(node: Node, default: SlaPolicy, team: Team, sources: Sources, context: ParseContext) -> SlaPolicy:
    """Read `accept:` and `follow_up:` of *node*; what is missing there is as in *default*."""
    accept = read_part(AcceptShape, node, "accept", context)
    follow_up = read_part(EscalationShape, node, "follow_up", context)
    read = [(shape, node.parts[key]) for key, shape in (("accept", accept), ("follow_up", follow_up)) if shape]
    for shape, at in read:
        _check_order(shape, at, context)
    _check_managers([(shape, at) for shape, at in read if shape.escalate], team, context)
    _check_texts(read, sources, context)
    return SlaPolicy(
        default.accept
        if accept is None
        else _escalation_policy(accept, default.accept.take_back, default.accept.levels),
        default.follow_up if follow_up is None else _escalation_policy(follow_up, None, default.follow_up.levels),
        accept.reroute if accept else default.max_reroutes,
    )


def _escalation_policy(
    shape: EscalationShape, take_back: SlaDuration | None, levels: tuple[EscalationLevel, EscalationLevel]
) -> EscalationPolicy:
    return EscalationPolicy(shape.take_back or take_back, shape.remind, shape.escalate, levels)


def _check_order(shape: EscalationShape, node: Node, context: ParseContext) -> None:
    """Report steps that come before those they follow, if both use the same unit."""
    steps = [(name, getattr(shape, name)) for name in ("remind", "escalate", "take_back")]
    written = [(name, later_duration) for name, later_duration in steps if later_duration is not None]
    for (earlier, earlier_duration), (later, within) in pairwise(written):
        if earlier_duration.hours is not None and within.hours is not None:
            is_wrong = earlier_duration.hours >= within.hours
        else:
            is_wrong = earlier_duration.unit is within.unit and earlier_duration.amount >= within.amount
        if is_wrong:
            what = f"`{later}` after {within} does not come after `{earlier}` after {earlier_duration}"
            context.add_problem(node.parts[later], what, f"Make `{later}` longer.")


def _check_managers(escalating: Iterable[tuple[EscalationShape, Node]], team: Team, context: ParseContext) -> None:
    """Report reps without a manager to notify."""
    without = [rep.id for rep in team.reps if team.manager_of(rep) is None]
    for _, node in escalating:
        if without:
            what = f"nobody to escalate to: no manager for {', '.join(without)}"
            instead = "Give each rep `manager: lena`, and write `managers:`, or leave out `escalate`."
            context.add_problem(node.parts["escalate"], what, instead)


def _check_texts(read: Iterable[tuple[EscalationShape, Node]], sources: Sources, context: ParseContext) -> None:
    """Report emails that the SLA sends but that do not exist."""
    for shape, node in read:
        for step, path in (("remind", REMIND), ("escalate", ESCALATE)):
            if getattr(shape, step) is not None and path not in sources:
                what = f"`{step}` sends templates/{path}, which is missing"
                context.add_problem(node.parts[step], what, "Write it, or run `nurture init` to get a template.")
