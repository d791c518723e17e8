"""Describe in words what a new version of a track or broadcast changes: its steps, delays, subjects and texts."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any, Final

from nurture.definitions.read_all import TrackDefinition
from nurture.domain.planning.calendar import Delay
from nurture.domain.planning.program import Branch, Email, Instruction, Jump, NextRound, Program, Split
from nurture.domain.policy.policy_diff import diff_values
from nurture.domain.policy.policy_wording import describe_delay, describe_duration
from nurture.mail.rendering.email_file import EmailSource, ParsedEmail, parse_email

_ELSEWHERE: Final = frozenset({"track", "version", "instructions", "moved_steps", "index"})
_PLACES: Final = frozenset({"step", "then", "otherwise", "body", "cases", "arms"})
"""Fields of steps that are places in the program, or that are compared by themselves."""

_LABELS: Final = {
    "window": "send window",
    "per_hour": "emails per hour",
    "zone_fallback": "time zone without one of the lead",
    "re_entry": "entering again",
    "takes_over": "takes leads from other tracks",
    "exits": "leaving early",
    "caps": "caps",
    "grace": "click grace period",
    "utm": "link parameters",
}


def describe_changes(old: TrackDefinition, new: TrackDefinition) -> tuple[str, ...]:
    """Return one sentence for each change, in the order: steps, emails, settings; none if both mean the same."""
    was, becomes = old.program(0), new.program(0)
    return (
        *_describe_steps(was, becomes, _read_emails(new)),
        *_describe_emails(_read_emails(old), _read_emails(new)),
        *_describe_settings(was, becomes),
    )


def _describe_delay_change(was: Delay, becomes: Delay) -> str:
    """Return how an email moves: "2 days earlier: after 5 days becomes after 3 days"."""
    units = [(one.hours, one.days, one.business_days) for one in (was, becomes)]
    moved = [after - before for before, after in zip(*units, strict=True)]
    if sum(map(bool, moved)) != 1 or (was.on, was.at) != (becomes.on, becomes.at):
        return f"{_after(becomes)}, no longer {_after(was)}"
    hours, days, business_days = map(abs, moved)
    length = describe_delay(Delay(hours=hours, days=int(days), business_days=int(business_days)))
    way = "later" if sum(moved) > 0 else "earlier"
    return f"{length} {way}: {_after(was)} becomes {_after(becomes)}"


def _after(delay: Delay) -> str:
    text = describe_delay(delay)
    return text if text == "at once" else f"after {text}"


def _steps(program: Program) -> dict[str, Instruction]:
    return {one.step: one for one in program.instructions if not isinstance(one, Jump | NextRound)}


def _describe_steps(was: Program, becomes: Program, emails: Mapping[str, ParsedEmail]) -> Iterator[str]:
    before, after = _steps(was), _steps(becomes)
    for step, one in after.items():
        old = before.get(step)
        if old is None:
            yield _describe_new(one, emails)
        elif type(old) is not type(one):
            yield f"Step {step} does something else."
        else:
            yield from _compare_steps(old, one)
    for step, one in before.items():
        if step not in after:
            to = becomes.moved_steps.get(step)
            what = f"Email {step}" if isinstance(one, Email) else f"Step {step}"
            yield f"{what} is removed" + (f"; leads on it continue at {to}." if to else ".")
    kept = ([step for step in one if step in other] for one, other in ((before, after), (after, before)))
    if next(kept) != (order := next(kept)):
        yield f"The order of the steps is now: {', '.join(order)}."


def _describe_new(one: Instruction, emails: Mapping[str, ParsedEmail]) -> str:
    if not isinstance(one, Email):
        return f"New step: {one.step if not isinstance(one, Jump | NextRound) else ''}."
    named = emails.get(one.emails[0])
    subject = f" “{named.subject.text}”" if named is not None else ""
    when = _after(one.after) if isinstance(one.after, Delay) else str(one.after)
    return f"New email {one.step}{subject}, {when}."


def _compare_steps(old: Instruction, new: Instruction) -> Iterator[str]:
    if isinstance(old, Jump | NextRound) or isinstance(new, Jump | NextRound):
        return
    what = f"Email {new.step}" if isinstance(new, Email) else f"Step {new.step}"
    pairs: list[tuple[str, Any, Any]]
    if isinstance(old, Branch) and isinstance(new, Branch):
        pairs = [("cases", tuple(one[0] for one in old.cases), tuple(one[0] for one in new.cases))]
    elif isinstance(old, Split) and isinstance(new, Split):
        pairs = [("shares", {one[0]: one[1] for one in old.arms}, {one[0]: one[1] for one in new.arms})]
    else:
        names = [one.name for one in fields(old) if one.name not in _PLACES]
        pairs = [(name, getattr(old, name), getattr(new, name)) for name in names]
    for name, before, after in pairs:
        yield from _describe_value(what, name, before, after)


def _describe_value(what: str, name: str, before: Any, after: Any) -> Iterator[str]:
    if before == after:
        return
    label = _LABELS.get(name, name.replace("_", " "))
    if name == "after" and isinstance(before, Delay) and isinstance(after, Delay):
        yield f"{what} goes {_describe_delay_change(before, after)}."
    elif name == "after":
        texts = [_after(one) if isinstance(one, Delay) else str(one) for one in (before, after)]
        yield f"{what} goes {texts[1]}, no longer {texts[0]}."
    elif isinstance(before, Delay) and isinstance(after, Delay):
        yield f"{what}, {label}: {describe_delay(before)} becomes {describe_delay(after)}."
    elif isinstance(before, timedelta) and isinstance(after, timedelta):
        yield f"{what}, {label}: {describe_duration(before)} becomes {describe_duration(after)}."
    else:
        yield from (f"{one}." for one in diff_values(f"{what}, {label}", before, after))


def _read_emails(track: TrackDefinition) -> dict[str, ParsedEmail]:
    return {name: parse_email(EmailSource(name, text))[0] for name, text in track.emails.items()}


def _describe_emails(old: Mapping[str, ParsedEmail], new: Mapping[str, ParsedEmail]) -> Iterator[str]:
    for name in sorted(old.keys() & new.keys()):
        before, after = old[name], new[name]
        for label, was, becomes in (
            ("subject", before.subject.text, after.subject.text),
            ("preview text", before.preheader.text, after.preheader.text),
            ("layout", before.layout, after.layout),
            ("image", before.image.text, after.image.text),
        ):
            if was != becomes:
                yield f"The {label} of {name}: “{was or 'none'}” becomes “{becomes or 'none'}”"
        if before.body.text.strip() != after.body.text.strip():
            yield f"The text of {name} changes."


def _describe_settings(was: Program, becomes: Program) -> Iterator[str]:
    for one in fields(Program):
        if one.name not in _ELSEWHERE and one.compare:
            before, after = getattr(was, one.name), getattr(becomes, one.name)
            label = _LABELS.get(one.name, one.name.replace("_", " "))
            for change in diff_values(label, before, after):
                yield f"{str(change)[0].upper()}{str(change)[1:]}."
