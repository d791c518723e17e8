"""What one version of the policy changes, in the words of sales."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from typing import Any, Final

from nurture.domain.lead import Custodian, Lead
from nurture.domain.planning.calendar import Window
from nurture.domain.planning.conditions import Condition, Every, evaluate
from nurture.domain.planning.lead_view import View
from nurture.domain.planning.missing_fields import hinges_on
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.policy_wording import is_condition, worded
from nurture.domain.routing.routing import ToPool, ToRep, is_known

_UNTOLD: Final = frozenset({"version", "approved_on", "key", "deed"})
_CALLED: Final = {
    "criteria": "hand off when",
    "approved_by": "approver",
    "routing": "routing",
    "sla": "SLA",
    "reps": "rep",
    "managers": "manager",
    "pools": "pool",
    "reject_reasons": "reject reason",
}
_KEYS: Final = ("id", "code", "letter", "name")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is otherwise: where it stands, what it was, and what it is to be; None for not there."""

    where: str
    was: str | None
    now: str | None

    def __str__(self) -> str:
        if self.was is None:
            return f"{self.where}: new: {self.now}"
        if self.now is None:
            return f"{self.where}: taken out (was {self.was})"
        return f"{self.where}: {self.was} becomes {self.now}"


def differences(old: Policy, new: Policy) -> list[Difference]:
    """Return everything that *new* says otherwise, in the order of the file."""
    found: list[Difference] = []
    for one in fields(Policy):
        if one.name not in _UNTOLD:
            called = _CALLED.get(one.name, one.name.replace("_", " "))
            found += _compared(called, getattr(old, one.name), getattr(new, one.name))
    return found


def _compared(where: str, was: Any, now: Any) -> Iterator[Difference]:
    if was == now:
        return
    keyed_was, keyed_now = _keyed(was), _keyed(now)
    if keyed_was is not None and keyed_now is not None and (keyed_was or keyed_now):
        yield from _each(where, keyed_was, keyed_now)
    elif isinstance(was, Every) and isinstance(now, Every) and was.parts and now.parts:
        gone, come = ([one for one in a.parts if one not in b.parts] for a, b in ((was, now), (now, was)))
        if gone or come:
            yield Difference(where, *(_parts(parts) for parts in (gone, come)))
    elif _is_opened(was) and type(was) is type(now):
        for one in fields(was):
            if one.name not in _UNTOLD:
                inner = where if one.name == "when" else f"{where}, {one.name.replace('_', ' ')}"
                yield from _compared(inner, getattr(was, one.name), getattr(now, one.name))
    else:
        yield Difference(where, worded(was), worded(now))


def _each(where: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    for name in [*was, *(name for name in now if name not in was)]:
        called = f"{where} {name}"
        if name not in now:
            yield Difference(called, worded(was[name]), None)
        elif name not in was:
            yield Difference(called, None, worded(now[name]))
        else:
            yield from _compared(called, was[name], now[name])
    order = [name for name in was if name in now]
    other = [name for name in now if name in was]
    if order != other:
        yield Difference(f"{where}, order", ", ".join(order), ", ".join(other))


def _parts(parts: list[Condition]) -> str | None:
    return worded(Every(tuple(parts))) if parts else None


def _is_opened(value: Any) -> bool:
    return (
        is_dataclass(value)
        and not is_condition(value)
        and not isinstance(value, Window)
        and bool(fields(value))
    )


def _keyed(value: Any) -> Mapping[str, Any] | None:
    """Return what is named one by one, by its names."""
    if isinstance(value, Mapping):
        return {worded(key): one for key, one in value.items()}
    if not isinstance(value, tuple) or not all(is_dataclass(one) for one in value):
        return None
    names = [next((getattr(one, key) for key in _KEYS if hasattr(one, key)), None) for one in value]
    return None if None in names else dict(zip(map(str, names), value, strict=True))


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a policy says of a lead: as a new one, on its track, its fit, and which routing rule takes it."""

    readiness: str
    hand_off: str
    fit: str
    routing: str


def verdicts(policy: Policy, view: View, country: str, now: datetime) -> Verdicts:
    """Return what *policy* says of a lead at *now*; owners of accounts are not asked."""
    about = policy.question(view)
    ready = next((rule for rule in policy.readiness if evaluate(rule.when, about, now).yes), None)
    offered = None
    if view.custodian is Custodian.TRACK:
        spent = policy.question(view, answered_at=view.lead.evidence_since)
        offered = next((one for one in policy.criteria if evaluate(one.when, spent, now).yes), None)
    facts = {**view.lead.facts, "country": country or view.lead.facts.get("country")}
    return Verdicts(
        "" if ready is None else f"{ready.name}: {worded(ready.then)}",
        "stays on its track" if offered is None else f"handed off: {offered.name}",
        policy.grade(view.lead.facts)[0],
        _routed(policy, View(Lead(view.lead.id, facts), Custodian.QUEUE, None), now),
    )


def _routed(policy: Policy, view: View, now: datetime) -> str:
    about = policy.question(view)
    for rule in policy.routing:
        if not isinstance(rule.to, ToRep | ToPool):
            continue
        lacks = [name for name in rule.needs if not is_known(view.lead.facts.get(name))]
        if lacks and hinges_on(rule.when, lacks, about):
            return f"waits for {lacks[0]}"
        if evaluate(rule.when, about, now).yes:
            return worded(rule.to)
    return "nobody"
