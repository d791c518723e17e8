"""Requests: what a lead asks of a person, unlike interest, which it merely shows.

Who asked for a demo, answered, or named a date that is near wants to hear from sales, whatever silences our
mail. So requests that are newer than an opt-out or a pause are asked before these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Final

from nurture.domain.consent.suppression import Source
from nurture.domain.lead import ABSENCE
from nurture.domain.planning.conditions import MOMENT, Any, Condition, DecidesWithin, Did, Every, Newer
from nurture.domain.planning.lead_view import View
from nurture.domain.signals import SignalKind

REQUESTS: Final = frozenset({SignalKind.REQUESTED_DEMO, SignalKind.REPLIED})
"""Signals that ask for a person by themselves; a policy may name others with `kind: request`."""

_REFUSALS: Final = frozenset({SignalKind.UNSUBSCRIBED, SignalKind.COMPLAINED})


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
    asked = frozenset(_signals_in(when)) if kind is CriterionKind.REQUEST else frozenset()
    return _part(when, REQUESTS | asked)


def _part(when: Condition, kinds: Collection[SignalKind]) -> Condition | None:
    match when:
        case Did(kind=kind) if kind in kinds:
            return Newer(when)
        case DecidesWithin():
            return Newer(when)
        case Any(parts=parts):
            return _one_of([_part(part, kinds) for part in parts])
        case Every(parts=parts):  # one of the requests in it must be newer, whichever
            found = [(place, _part(part, kinds)) for place, part in enumerate(parts)]
            return _one_of(
                [
                    None if newer is None else Every((*parts[:place], newer, *parts[place + 1 :]))
                    for place, newer in found
                ]
            )
        case _:
            return None


def _one_of(parts: list[Condition | None]) -> Condition | None:
    found = tuple(part for part in parts if part is not None)
    return found[0] if len(found) == 1 else Any(found) if found else None


def _signals_in(when: Condition) -> Iterator[SignalKind]:
    match when:
        case Did(kind=kind):
            yield kind
        case Every(parts=parts) | Any(parts=parts):
            for part in parts:
                yield from _signals_in(part)
        case _:
            return


def request_signals(part: Condition) -> Iterator[SignalKind]:
    """Yield the signals that are requests in a condition that `request_part` returned."""
    match part:
        case Newer(part=Did(kind=kind)):
            yield kind
        case Every(parts=parts) | Any(parts=parts):
            for one in parts:
                yield from request_signals(one)
        case _:
            return


def silent_since(view: View, now: datetime) -> datetime | None:
    """Return from when on a request counts although our mail is silenced at *now*; None: from any time.

    An opt-out wins over a request of the same moment, a pause does not. A mailbox that bounces, an absence, a
    missing address and a missing basis are nobody's wish: they silence no request.
    """
    lead = view.lead
    times = [one.newest + MOMENT for one in view.standing if one.source is not Source.BOUNCE]
    times += [
        one.occurred_at + MOMENT for one in view.signals if one.kind in _REFUSALS and one.occurred_at <= now
    ]
    paused = lead.paused_until is not None and lead.paused_until > now
    if paused and lead.paused_at is not None and lead.paused_by != ABSENCE:
        times.append(lead.paused_at)
    return max(times, default=None)
