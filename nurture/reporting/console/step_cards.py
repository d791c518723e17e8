"""Arrange the steps of a track as cards from top to bottom, forks side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from nurture.domain.planning.calendar import Delay
from nurture.domain.planning.dates import DateOffset
from nurture.domain.planning.program import (
    Branch,
    Email,
    End,
    HandOff,
    Jump,
    NextRound,
    Previous,
    Program,
    Repeat,
    SetField,
    Split,
    ToClosed,
    ToQueue,
    ToTrack,
    TrackDestination,
    WaitFor,
)
from nurture.domain.policy.policy_wording import describe_condition, describe_delay, describe_value


class CardKind(StrEnum):
    """What a step does."""

    EMAIL = "email"
    WAIT = "wait"
    BRANCH = "branch"
    SPLIT = "split"
    REPEAT = "repeat"
    HAND_OFF = "hand_off"
    SET = "set"
    END = "end"


@dataclass(frozen=True, slots=True)
class Card:
    """One step in words. *emails* are the templates that it sends in turn; *to* is where an end leads."""

    step: str
    kind: CardKind
    title: str
    detail: str = ""
    emails: tuple[str, ...] = ()
    ways: "tuple[Way, ...]" = ()
    to: TrackDestination | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """One way of a fork, or the body of a repeat, and the cards on it; without any it goes on below the fork."""

    label: str
    cards: tuple[Card, ...]


def arrange_cards(program: Program, subjects: Mapping[str, str]) -> tuple[Card, ...]:
    """Return the cards of *program*; *subjects* are those of its emails."""
    return tuple(_cards(program, subjects, 0, len(program.instructions)))


def describe_destination(to: TrackDestination) -> str:
    """Return where a lead goes, as a phrase."""
    match to:
        case ToTrack(track=track):
            return f"track {track}"
        case Previous():
            return "the track before"
        case ToQueue(queue=queue):
            return f"queue {queue}"
        case ToClosed():
            return describe_value(to)
        case _:
            assert_never(to)


def _cards(program: Program, subjects: Mapping[str, str], at: int, stop: int) -> list[Card]:
    found: list[Card] = []
    instructions = program.instructions
    while at < stop:
        one = instructions[at]
        match one:
            case Jump(target=at):
                continue
            case NextRound():
                break
            case Email():
                found.append(_email_card(one, subjects))
            case WaitFor() | Branch() | Split():
                card, at = _fork_card(program, subjects, one, at)
                found.append(card)
                continue
            case Repeat():
                body = Way("each round", tuple(_cards(program, subjects, one.body, stop)))
                found.append(Card(one.step, CardKind.REPEAT, _describe_repeat(one), ways=(body,)))
                if one.times is None:
                    break  # nothing follows a repeat without end
                at = one.then
                continue
            case HandOff():
                found.append(Card(one.step, CardKind.HAND_OFF, "Hand off to sales", one.reason))
            case SetField():
                found.append(Card(one.step, CardKind.SET, f"Set {one.name} to {describe_value(one.value)}"))
            case End():
                title = f"Go to {describe_destination(one.destination)}"
                found.append(Card(one.step, CardKind.END, title, to=one.destination))
                break
            case _:
                assert_never(one)
        at += 1
    return found


def _email_card(email: Email, subjects: Mapping[str, str]) -> Card:
    after = describe_delay(email.after) if isinstance(email.after, Delay) else str(email.after)
    detail = after if after == "at once" or isinstance(email.after, DateOffset) else f"after {after}"
    title = subjects.get(email.emails[0], email.emails[0])
    more = len(email.emails) - 1
    return Card(email.step, CardKind.EMAIL, title + (f" and {more} more in turn" if more else ""), detail, email.emails)


def _describe_repeat(repeat: Repeat) -> str:
    often = "without end" if repeat.times is None else f"{repeat.times} times"
    longer = f", growing to {repeat.max_pause:g} days" if repeat.growth > 1 else ""
    return f"Repeat {often}, every {repeat.every:g} days{longer}"


def _fork_card(
    program: Program, subjects: Mapping[str, str], fork: WaitFor | Branch | Split, at: int
) -> tuple[Card, int]:
    """Return the card of *fork*, and where the track goes on below it."""
    match fork:
        case WaitFor():
            kind, title = CardKind.WAIT, f"Wait until it {describe_condition(fork.until)}"
            detail = f"at most {describe_delay(fork.up_to)}"
            ways = [("yes", fork.then), ("no", fork.otherwise)]
        case Branch():
            kind, title, detail = CardKind.BRANCH, "Depends on the lead", ""
            ways = [*((describe_condition(when), start) for when, start in fork.cases), ("otherwise", fork.otherwise)]
        case Split():
            kind, title, detail = CardKind.SPLIT, "Split by chance", ""
            total = sum(weight for _, weight, _ in fork.arms)
            ways = [(f"{name}, {weight / total:.0%}", start) for name, weight, start in fork.arms]
        case _:
            assert_never(fork)
    after = _find_join(program, [start for _, start in ways], at)
    arms = tuple(Way(label, tuple(_cards(program, subjects, start, after))) for label, start in ways)
    return Card(fork.step, kind, title, detail, ways=arms), after


def _find_join(program: Program, starts: Sequence[int], at: int) -> int:
    """Return where the ways of a fork meet: each is followed by a jump there, and an empty one begins there."""
    ordered, instructions = sorted(set(starts)), program.instructions
    if len(ordered) > 1:
        jump = instructions[ordered[1] - 1]
        assert isinstance(jump, Jump)
        return jump.target
    return ordered[0] if ordered[0] != at + 1 or not isinstance(instructions[at], Split) else len(instructions)
