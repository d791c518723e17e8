"""Warn about emails that a cap moves on every way through a track, or the send window at the times as written."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final, assert_never

from nurture.definitions.steps import Step, every_step
from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.domain.planning import calendar
from nurture.domain.planning.dates import DateOffset
from nurture.domain.planning.frequency_cap import CountedEmail, FrequencyCap, format_span, latest_release
from nurture.domain.planning.program import (
    Branch,
    Email,
    End,
    HandOff,
    Jump,
    NextRound,
    Program,
    Repeat,
    SetField,
    Split,
    WaitFor,
    successors,
)

_MONDAY: Final = datetime(2026, 1, 5, 9, tzinfo=UTC)
_MAX_INSTRUCTIONS: Final = 2_000
_MAX_ROUNDS: Final = 8
_PLACE: Final = ("UTC", ())


_Found = dict[tuple[str, int], FrequencyCap | None]
"""The cap that moves an email in a round on every way so far, None if none does on some way."""


@dataclass(frozen=True, slots=True)
class _Lead:
    """A lead that waits as long as it can, at the instruction *at*."""

    at: int = 0
    anchor: datetime = _MONDAY
    reached: datetime = _MONDAY
    sent: tuple[CountedEmail, ...] = ()
    rounds: Mapping[int, int] = field(default_factory=dict)


def check_caps(program: Program, node: Node, context: ParseContext) -> None:
    """Warn about the emails that come too soon for a cap on every way, however long leads wait."""
    found: _Found = {}
    leads = [_Lead()]
    for _ in range(_MAX_INSTRUCTIONS):
        if not leads:
            break
        leads += _run_instruction(program, leads.pop(), found)
    moved = {step: cap for (step, _), cap in found.items() if cap is not None}
    if leads or not moved:  # too many ways to know
        return
    first = next(iter(moved.values()))
    names = ", ".join(f"`{step}`" for step in moved)
    span = f"{first.touches} email{'' if first.touches == 1 else 's'} in {format_span(first.per)}"
    what = f"the cap of {span} moves {names} to a later day: the delays of the track are shorter"
    remedy = "Lengthen `after:`, raise the cap, or write `cap: {exempt: REASON}` on mail that was promised."
    context.warn(node.part("steps") or node, what, remedy)


def check_send_times(steps: Iterable[Step], window: calendar.Window, context: ParseContext) -> None:
    """Warn about each weekday and time of `after:` that is outside *window*."""
    for step in every_step(list(steps)):
        after = getattr(step.shape, "after", None) if step.verb == "email" else None
        delay = after.delay if isinstance(after, DateOffset) else after
        if delay is None or (delay.on is None and delay.at is None) or not window.days:
            continue
        days = min(window.days) if delay.on is None else delay.on
        day = _MONDAY.replace(hour=0) + timedelta(days=days)
        at = day if delay.at is None else datetime.combine(day, delay.at, UTC)
        opens_at = calendar.next_open(window, *_PLACE, at)
        if opens_at == at or (delay.at is None and opens_at.date() == day.date()):
            continue
        written = step.node.parts["after"]
        what = f"`{written.value}` is outside the send window, so the email goes only later: at {opens_at:%H:%M}"
        what += (
            f" on {opens_at:%A}" if delay.on is not None else " on the next day" if at.date() < opens_at.date() else ""
        )
        context.warn(written, what, "Write another time, or `send:` for it.")


def _run_instruction(program: Program, lead: _Lead, found: _Found) -> Iterable[_Lead]:
    """Return where the lead may continue; note in *found* the cap that moves an email."""
    instruction = program.instructions[lead.at]
    match instruction:
        case Email():
            return _send(program, instruction, lead, found)
        case Repeat():
            return _repeat(instruction, lead)
        case NextRound(repeat=repeat):
            return [replace(lead, at=repeat, rounds={**lead.rounds, repeat: lead.rounds[repeat] + 1})]
        case HandOff():  # nobody knows when sales gives a lead back
            return []
        case WaitFor(up_to=up_to):
            lead = replace(lead, reached=calendar.add_delay(up_to, *_PLACE, lead.reached))
        case Branch() | Split() | SetField() | End() | Jump():
            pass
        case _:
            assert_never(instruction)
    return [replace(lead, at=target) for target in sorted(set(successors(program.instructions, lead.at)))]


def _repeat(repeat: Repeat, lead: _Lead) -> list[_Lead]:
    done = lead.rounds.get(lead.at, 0)
    if done >= min(repeat.times or _MAX_ROUNDS, _MAX_ROUNDS):
        rounds = {place: number for place, number in lead.rounds.items() if place != lead.at}
        return [replace(lead, at=repeat.then, rounds=rounds)] if repeat.times is not None else []
    reached = calendar.add_delay(repeat.pause(done), *_PLACE, lead.reached) if done else lead.reached
    return [replace(lead, at=repeat.body, reached=reached, rounds={**lead.rounds, lead.at: done})]


def _send(program: Program, email: Email, lead: _Lead, found: _Found) -> list[_Lead]:
    if not isinstance(email.after, calendar.Delay):  # it hangs on a date of the lead
        return []
    at = max(calendar.add_delay(email.after, *_PLACE, lead.anchor), lead.reached)
    moved_by = None
    while (release := latest_release(program.caps_of(email.step), lead.sent, at)) is not None:
        at, moved_by = release
    key = email.step, sum(lead.rounds.values())
    found[key] = moved_by if found.get(key, moved_by) is not None else None
    sent = (*lead.sent, CountedEmail(at, program.track, program.topic_key))
    return [replace(lead, at=lead.at + 1, anchor=at, reached=at, sent=sent)]
