"""Describe what a new version of the policy changes, in the words of sales."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

from nurture.domain.planning.calendar import Window
from nurture.domain.planning.conditions import AllOf, Condition
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.policy_wording import describe_value

_IGNORED_FIELDS: Final = frozenset({"version", "approved_on", "key", "description", "sender"})
_LABELS: Final = {
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
    """One change: its location, the old value, and the new value; None if absent."""

    location: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.location}: new: {self.after}"
        if self.after is None:
            return f"{self.location}: removed (was {self.before})"
        return f"{self.location}: {self.before} becomes {self.after}"


def diff_policies(old: Policy, new: Policy) -> list[Difference]:
    """Return every difference between *old* and *new*, in the order of the file."""
    found: list[Difference] = []
    for one in fields(Policy):
        if one.name not in _IGNORED_FIELDS:
            label = _LABELS.get(one.name, one.name.replace("_", " "))
            found += diff_values(label, getattr(old, one.name), getattr(new, one.name))
    return found


def diff_values(location: str, before: Any, after: Any) -> Iterator[Difference]:
    """Yield every difference between two values of a definition; *location* says where they are."""
    if before == after:
        return
    keyed_was, keyed_now = _by_name(before), _by_name(after)
    if keyed_was is not None and keyed_now is not None and (keyed_was or keyed_now):
        yield from _diff_mappings(location, keyed_was, keyed_now)
    elif isinstance(before, AllOf) and isinstance(after, AllOf) and before.parts and after.parts:
        removed, added = ([one for one in a.parts if one not in b.parts] for a, b in ((before, after), (after, before)))
        if removed or added:
            yield Difference(location, *(_parts(parts) for parts in (removed, added)))
    elif _is_compared_by_field(before) and type(before) is type(after):
        for one in fields(before):
            if one.init and one.name not in _IGNORED_FIELDS:
                inner = location if one.name == "when" else f"{location}, {one.name.replace('_', ' ')}"
                yield from diff_values(inner, getattr(before, one.name), getattr(after, one.name))
    else:
        yield Difference(location, describe_value(before), describe_value(after))


def _diff_mappings(location: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for name in [*before, *(name for name in after if name not in before)]:
        label = f"{location} {name}"
        if name not in after:
            yield Difference(label, describe_value(before[name]), None)
        elif name not in before:
            yield Difference(label, None, describe_value(after[name]))
        else:
            yield from diff_values(label, before[name], after[name])
    order = [name for name in before if name in after]
    other = [name for name in after if name in before]
    if order != other:
        yield Difference(f"{location}, order", ", ".join(order), ", ".join(other))


def _parts(parts: list[Condition]) -> str | None:
    return describe_value(AllOf(tuple(parts))) if parts else None


def _is_compared_by_field(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, Condition | Window) and bool(fields(value))


def _by_name(value: Any) -> Mapping[str, Any] | None:
    """Return a collection of named items as a mapping by name, None if it is not one."""
    if isinstance(value, Mapping):
        return {describe_value(key): one for key, one in value.items()}
    if not isinstance(value, tuple) or not all(is_dataclass(one) for one in value):
        return None
    names = [next((getattr(one, key) for key in _KEYS if hasattr(one, key)), None) for one in value]
    return None if None in names else dict(zip(map(str, names), value, strict=True))
