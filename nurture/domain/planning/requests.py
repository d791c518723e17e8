"""Separate requests, by which a lead asks to talk to a person, from interest, which it only shows.

A lead that asked for a demo, replied, or stated a date that is near wants to hear from sales even while our
mail to it is silenced. So the planner evaluates requests that are newer than an opt-out or a pause before
either.
"""

from collections.abc import Collection, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Final

from nurture.domain.consent.suppression import SuppressionSource
from nurture.domain.lead import PausedBy
from nurture.domain.planning.conditions import (
    ONE_MICROSECOND,
    AllOf,
    AnyOf,
    Condition,
    DecidesWithin,
    NewerThan,
    SignalCondition,
    leaves,
)
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.signals import SignalKind

REQUEST_KINDS: Final = frozenset({SignalKind.REQUESTED_DEMO, SignalKind.REPLIED})
"""Signals that are requests by themselves; a policy may name others with `kind: request`."""

_OPT_OUT_KINDS: Final = frozenset({SignalKind.UNSUBSCRIBED, SignalKind.COMPLAINED})


class CriterionKind(StrEnum):
    """Whether a hand-off criterion depends on a request of the lead, or on its interest."""

    REQUEST = "request"
    INTEREST = "interest"


def request_part(when: Condition, kind: CriterionKind | None = None) -> Condition | None:
    """Return the condition under which *when* holds because of a newer request, None if it contains no request.

    Without *kind*, a demo, a reply and a stated date are requests; REQUEST adds every other signal that *when*
    names. Alternatives of an AnyOf that can hold without a request are left out.
    """
    if kind is CriterionKind.INTEREST:
        return None
    named_kinds = frozenset(_signal_kinds_in(when)) if kind is CriterionKind.REQUEST else frozenset()
    return _newer_part(when, REQUEST_KINDS | named_kinds)


def _newer_part(when: Condition, kinds: Collection[SignalKind]) -> Condition | None:
    match when:
        case SignalCondition(kind=kind) if kind in kinds:
            return NewerThan(when)
        case DecidesWithin():
            return NewerThan(when)
        case AnyOf(parts=parts):
            return _one_of([_newer_part(part, kinds) for part in parts])
        case AllOf(parts=parts):  # any of its requests must be newer
            found = [(index, _newer_part(part, kinds)) for index, part in enumerate(parts)]
            return _one_of(
                [
                    None if newer is None else AllOf((*parts[:index], newer, *parts[index + 1 :]))
                    for index, newer in found
                ]
            )
        case _:
            return None


def _one_of(parts: list[Condition | None]) -> Condition | None:
    found = tuple(part for part in parts if part is not None)
    return found[0] if len(found) == 1 else AnyOf(found) if found else None


def _signal_kinds_in(when: Condition) -> Iterator[SignalKind]:
    return (one.kind for one in leaves(when, negated=False) if isinstance(one, SignalCondition))


def request_kinds(part: Condition) -> Iterator[SignalKind]:
    """Yield the signals that are requests in a condition returned by `request_part`."""
    newer = (one.part for one in leaves(part, negated=False) if isinstance(one, NewerThan))
    return (one.kind for one in newer if isinstance(one, SignalCondition))


def silenced_since(view: LeadView, now: datetime) -> datetime | None:
    """Return from when on a request counts although our mail is silenced at *now*; None: from any time.

    An opt-out wins over a request at the same time, a pause does not. A bouncing mailbox, an out-of-office
    reply, a missing address and a missing consent basis are not the lead's wish, so they silence no request.
    """
    lead = view.lead
    times = [
        one.last_stated_at + ONE_MICROSECOND for one in view.refusals if one.source is not SuppressionSource.BOUNCE
    ]
    times += [
        one.occurred_at + ONE_MICROSECOND
        for one in view.signals
        if one.kind in _OPT_OUT_KINDS and one.occurred_at <= now
    ]
    paused = lead.paused_until is not None and lead.paused_until > now
    if paused and lead.paused_at is not None and lead.paused_by != PausedBy.OUT_OF_OFFICE:
        times.append(lead.paused_at)
    return max(times, default=None)
