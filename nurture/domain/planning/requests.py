"""Requests: what a lead asks of a person, unlike interest, which it merely shows.

Who asked for a demo, answered, or named a date that is near wants to hear from sales, whatever silences our
mail. So requests that are newer than an opt-out or a pause are asked before these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Final

from nurture.domain.consent.suppression import SuppressionSource
from nurture.domain.lead import PAUSED_BY_OUT_OF_OFFICE
from nurture.domain.planning.conditions import (
    ONE_MICROSECOND,
    AllOf,
    AnyOf,
    Condition,
    DecidesWithin,
    NewerThan,
    SignalCondition,
)
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.signals import SignalKind

REQUEST_KINDS: Final = frozenset({SignalKind.REQUESTED_DEMO, SignalKind.REPLIED})
"""Signals that ask for a person by themselves; a policy may name others with `kind: request`."""

_OPT_OUT_KINDS: Final = frozenset({SignalKind.UNSUBSCRIBED, SignalKind.COMPLAINED})


class CriterionKind(StrEnum):
    """Whether a hand-off criterion rests on what a lead asked for, or on the interest that it shows."""

    REQUEST = "request"
    INTEREST = "interest"


def request_part(when: Condition, kind: CriterionKind | None = None) -> Condition | None:
    """Return the condition under which *when* holds by a newer request, None if no request is in it.

    Without *kind* a demo, a reply and a stated date are requests; REQUEST adds every other signal that *when*
    asks for. Of parts of which one is enough, those that can hold without a request are left out.
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
        case AllOf(parts=parts):  # one of the requests in it must be newer, whichever
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
    match when:
        case SignalCondition(kind=kind):
            yield kind
        case AllOf(parts=parts) | AnyOf(parts=parts):
            for part in parts:
                yield from _signal_kinds_in(part)
        case _:
            return


def request_signals(part: Condition) -> Iterator[SignalKind]:
    """Yield the signals that are requests in a condition that `request_part` returned."""
    match part:
        case NewerThan(part=SignalCondition(kind=kind)):
            yield kind
        case AllOf(parts=parts) | AnyOf(parts=parts):
            for one in parts:
                yield from request_signals(one)
        case _:
            return


def silenced_since(view: LeadView, now: datetime) -> datetime | None:
    """Return from when on a request counts although our mail is silenced at *now*; None: from any time.

    An opt-out wins over a request of the same moment, a pause does not. A mailbox that bounces, an absence, a
    missing address and a missing basis are nobody's wish: they silence no request.
    """
    lead = view.lead
    times = [
        one.last_stated_at + ONE_MICROSECOND for one in view.suppressions if one.source is not SuppressionSource.BOUNCE
    ]
    times += [
        one.occurred_at + ONE_MICROSECOND
        for one in view.signals
        if one.kind in _OPT_OUT_KINDS and one.occurred_at <= now
    ]
    paused = lead.paused_until is not None and lead.paused_until > now
    if paused and lead.paused_at is not None and lead.paused_by != PAUSED_BY_OUT_OF_OFFICE:
        times.append(lead.paused_at)
    return max(times, default=None)
