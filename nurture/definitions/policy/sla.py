"""`sla:` in templates/sales/policy.yaml: how soon reps answer and follow up, and what happens if not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Any, Final

from pydantic import Field, PlainValidator

from nurture.definitions.folder import Sources
from nurture.definitions.schema_check import Shape, Wrong, read_shape
from nurture.definitions.values import read_positive_span
from nurture.definitions.yaml_reader import Node, Reading
from nurture.domain.policy.business_hours import Agreement, Ladder, Level, Unit, Within
from nurture.domain.policy.team import Team

REMIND: Final = "handoff/remind.md"
ESCALATE: Final = "handoff/escalate.md"
MOST_REROUTES: Final = 20
_BUSINESS: Final = re.compile(r"(\d+(?:\.\d+)?) +business +(hour|day)s?")
_LONGEST_HOURS: Final = 1_000
_LONGEST_DAYS: Final = 100
_LIKE: Final = "Write for example `2 business hours`, `1 business day`, or `6 hours` for hours on the wall."


def read_within(given: Any) -> Within:
    """Read "2 business hours", "1 business day", or a length of time on the wall."""
    text = " ".join(str(given).lower().split())
    found = _BUSINESS.fullmatch(text)
    if found is None:
        if "business" in text:
            raise Wrong(f"`{given}` is not a length of working time", _LIKE)
        return Within.wall(read_positive_span(given))
    amount, days = float(found[1]), found[2] == "day"
    if not 0 < amount <= (_LONGEST_DAYS if days else _LONGEST_HOURS):
        raise Wrong(f"`{given}` is no time at all, or longer than half a year of work", _LIKE)
    return Within(amount, Unit.BUSINESS_DAYS if days else Unit.BUSINESS_HOURS)


_Within = Annotated[Within, PlainValidator(read_within)]


class LadderShape(Shape):
    """What stands under `accept:` and `follow_up:`."""

    remind: _Within | None = Field(None, examples=["2 business hours"])
    escalate: _Within | None = Field(None, examples=["4 business hours"])
    take_back: _Within | None = Field(None, examples=["8 business hours"])


class AcceptShape(LadderShape):
    """What stands under `accept:`."""

    reroute: int = Field(0, ge=0, le=MOST_REROUTES, examples=["2"])


class SlaShape(Shape):
    """What stands under `sla:`."""

    accept: Any = Field(None, examples=["{remind: 2 business hours, take_back: 8 business hours}"])
    follow_up: Any = Field(None, examples=["{remind: 1 business day, take_back: 4 business days}"])


def read_sla(
    node: Node | None, accept_within: timedelta, team: Team, sources: Sources, reading: Reading
) -> Agreement | None:
    """Read `sla:`, None without it; an offer expires after *accept_within* if `take_back` is not written."""
    if node is None or read_shape(SlaShape, node, reading, "`sla`") is None:
        return None
    plain = Agreement.plain(accept_within)
    accepting, following = node.part("accept"), node.part("follow_up")
    accept = None if accepting is None else read_shape(AcceptShape, accepting, reading, "`accept`")
    follow_up = None if following is None else read_shape(LadderShape, following, reading, "`follow_up`")
    read = [(shape, at) for shape, at in ((accept, accepting), (follow_up, following)) if shape and at]
    for shape, at in read:
        _check_order(shape, at, reading)
    _check_told([(shape, at) for shape, at in read if shape.escalate], team, reading)
    _check_texts([(shape, at) for shape, at in read], sources, reading)
    return Agreement(
        plain.accept if accept is None else _ladder(accept, plain.accept.take_back, plain.accept.levels),
        plain.follow_up if follow_up is None else _ladder(follow_up, None, plain.follow_up.levels),
        accept.reroute if accept else 0,
    )


def _ladder(shape: LadderShape, take_back: Within | None, levels: tuple[Level, Level]) -> Ladder:
    return Ladder(shape.take_back or take_back, shape.remind, shape.escalate, levels)


def _check_order(shape: LadderShape, node: Node, reading: Reading) -> None:
    """Note steps that come before those they follow, as far as they are counted alike."""
    steps = [(name, getattr(shape, name)) for name in ("remind", "escalate", "take_back")]
    written = [(name, within) for name, within in steps if within is not None]
    for (earlier, sooner), (later, within) in pairwise(written):
        if sooner.unit is within.unit and sooner.amount >= within.amount:
            what = f"`{later}` after {within} comes no later than `{earlier}` after {sooner}"
            reading.fault(node.parts[later], what, f"Let `{later}` come later.")


def _check_told(escalating: Iterable[tuple[LadderShape, Node]], team: Team, reading: Reading) -> None:
    """Note reps without a manager who could be told."""
    without = [rep.id for rep in team.reps if team.manager_of(rep) is None]
    for _, node in escalating:
        if without:
            what = f"nobody could be told of {', '.join(without)}: they have no manager"
            instead = "Give each rep `manager: lena`, and write `managers:`, or leave out `escalate`."
            reading.fault(node.parts["escalate"], what, instead)


def _check_texts(read: Iterable[tuple[LadderShape, Node]], sources: Sources, reading: Reading) -> None:
    """Note the emails that are to be sent and not written."""
    for shape, node in read:
        for step, path in (("remind", REMIND), ("escalate", ESCALATE)):
            if getattr(shape, step) is not None and path not in sources:
                what = f"`{step}` sends templates/{path}, which is missing"
                reading.fault(
                    node.parts[step], what, "Write it; `nurture admin init` writes one to start from."
                )
