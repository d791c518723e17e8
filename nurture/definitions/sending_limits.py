"""templates/sending.yaml: how fast each sender's domain may send, and what becomes of a doubtful message."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import Field, PlainValidator

from nurture.definitions.folder import SENDING, Sources
from nurture.definitions.schema_check import Shape, Wrong, read_shape
from nurture.definitions.values import Day, PositiveSpan
from nurture.definitions.yaml_reader import Node, Reading, nearest, read_yaml
from nurture.domain.delivery.sending_limits import Limits, SendingRules, WarmUp, normalise_domain
from nurture.domain.planning.lead_view import DOUBT_COUNTS_AS_SENT_AFTER
from nurture.errors import RulesFaulty

HOLD: Final = "hold"
NO_LIMIT: Final = "unlimited"
_DOUBT: Final = "Write `hold`, or `{resend_after: 24 hours}`, which may deliver an email twice."
_PERCENT: Final = re.compile(r"(\d+(?:\.\d+)?) *%")
_DOMAIN: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")


def read_percent(given: Any) -> float:
    """Read "2 %" as 0.02."""
    found = _PERCENT.fullmatch(str(given).strip())
    if not found:
        raise Wrong(f"`{given}` is not a percentage", "Write for example `2 %`.")
    share = float(Decimal(found[1]) / 100)
    if not 0 < share <= 1:
        raise Wrong(f"`{given}` is not a part of the emails", "Write more than 0 % and at most 100 %.")
    return share


def read_most(given: Any) -> int | str:
    """Read a cap: a whole number, or "unlimited"."""
    if given == NO_LIMIT:
        return NO_LIMIT
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise Wrong(
            f"`{given}` is not a number of emails", f"Write a whole number from 1 on, or `{NO_LIMIT}`."
        )
    return given


Percent = Annotated[float, PlainValidator(read_percent)]
Most = Annotated[int | str, PlainValidator(read_most)]


class SendingShape(Shape):
    """The keys of sending.yaml."""

    on_doubt: Any = Field(HOLD, examples=[HOLD])
    default: Any = Field(None, examples=["{per_hour: 500, per_day: 4000}"])
    domains: Any = Field(None, examples=["{example.com: {per_hour: 500}}"])


class DoubtShape(Shape):
    """What stands under `on_doubt:` if it is not `hold`."""

    resend_after: PositiveSpan = Field(examples=["24 hours"])


class LimitsShape(Shape):
    """What a domain may send."""

    per_hour: Most | None = Field(None, examples=["500"])
    per_day: Most | None = Field(None, examples=["4000"])
    warm_up: Any = Field(None, examples=["{from: 2026-12-01, first_day: 50, growth: 1.6}"])
    pause_over: Any = Field(None, examples=["{hard_bounces: 2 %, complaints: 0.1 %, of_last: 1000}"])


class WarmUpShape(Shape):
    """What stands under `warm_up:`."""

    from_: Day = Field(alias="from", examples=["2026-12-01"])
    first_day: int = Field(ge=1, examples=["50"])
    growth: float = Field(ge=1.05, le=10, allow_inf_nan=False, examples=["1.6"])


class PauseShape(Shape):
    """What stands under `pause_over:`."""

    hard_bounces: Percent | None = Field(None, examples=["2 %"])
    complaints: Percent | None = Field(None, examples=["0.1 %"])
    of_last: int | None = Field(None, ge=100, le=100_000, examples=["1000"])


def load_sending(sources: Sources) -> SendingRules:
    """Return the rules for sending in *sources*, the built-in ones if it has none; raises RulesFaulty."""
    reading = Reading()
    rules = read_sending_rules(sources, reading)
    if reading.faults:
        raise RulesFaulty(sorted(set(reading.faults)))
    return rules


def read_sending_rules(
    sources: Sources, reading: Reading, senders: Collection[str] | None = None
) -> SendingRules:
    """Read sending.yaml; what is faulty is noted, and stands in with the built-in rule.

    *senders* are the addresses that mail comes from, None where they are not known.
    """
    text = sources.get(SENDING)
    node = read_yaml(SENDING, text, reading) if text is not None else None
    if node is None:
        return SendingRules()
    read_shape(SendingShape, node, reading, "the rules for sending")
    default = _limits(node.part("default"), Limits(), "`default`", reading)
    return SendingRules(
        default=default,
        domains=_domains(node.part("domains"), default, senders, reading),
        resend_after=_resend_after(node.part("on_doubt"), reading),
    )


def _resend_after(node: Node | None, reading: Reading) -> timedelta | None:
    if node is None or node.value in (HOLD, None):
        return None
    if not isinstance(node.value, dict):
        reading.fault(node, f"`on_doubt: {node.value}` is no answer", _DOUBT)
        return None
    shape = read_shape(DoubtShape, node, reading, "`on_doubt`")
    if shape is None:
        return None
    if not timedelta(hours=1) <= shape.resend_after <= DOUBT_COUNTS_AS_SENT_AFTER:
        most = DOUBT_COUNTS_AS_SENT_AFTER // timedelta(hours=1)
        what = f"`resend_after: {node.value['resend_after']}` is not between 1 and {most} hours"
        instead = "Write for example `24 hours`: until then most providers have said what became of it."
        reading.fault(node.parts["resend_after"], what, instead)
    return shape.resend_after


def _domains(
    node: Node | None, default: Limits, senders: Collection[str] | None, reading: Reading
) -> dict[str, Limits]:
    if node is None or node.value is None:
        return {}
    if not isinstance(node.value, dict):
        instead = "Write a domain on a line of its own, and its limits indented under it."
        reading.fault(node, "`domains` is not a list of `domain: limits` lines", instead)
        return {}
    found: dict[str, Limits] = {}
    for written, part in node.parts.items():
        domain = normalise_domain(str(written))
        if not _DOMAIN.fullmatch(domain):
            instead = "Write what stands behind the @ of the sender's address, for example `example.com`."
            reading.fault(part, f"`{written}` is not a domain", instead)
            continue
        if domain in found:
            reading.fault(part, f"the domain `{domain}` is named twice", "Keep one of the two.")
        elif senders is not None:
            _check_used(domain, part, senders, reading)
        found[domain] = _limits(part, default, f"`{written}`", reading)
    return found


def _check_used(domain: str, at: Node, senders: Collection[str], reading: Reading) -> None:
    """Note a domain from which no mail comes: its limits would hold nothing back."""
    used = {normalise_domain(address.rpartition("@")[2]) for address in senders if "@" in address}
    if used and not any(f".{name}".endswith(f".{domain}") for name in used):
        instead = nearest(domain, used, f"Mail comes from: {', '.join(sorted(used))}.")
        reading.fault(at, f"no sender has an address at `{domain}`", instead)


def _limits(node: Node | None, start: Limits, called: str, reading: Reading) -> Limits:
    """Return *start* with what stands under *node*."""
    if node is None:
        return start
    shape = read_shape(LimitsShape, node, reading, called)
    warm_up = _warm_up(node.part("warm_up"), reading)
    limits = _paused(node.part("pause_over"), start, reading)
    if shape is not None:
        limits = replace(
            limits,
            per_hour=_most(shape.per_hour, start.per_hour),
            per_day=_most(shape.per_day, start.per_day),
        )
    limits = limits if warm_up is None else replace(limits, warm_up=warm_up)
    if shape is not None and warm_up is not None:
        _check_ramp(node.parts["warm_up"], warm_up, limits.per_day, reading)
    return limits


def _most(written: int | str | None, inherited: int | None) -> int | None:
    if written is None:
        return inherited
    return written if isinstance(written, int) else None


def _warm_up(node: Node | None, reading: Reading) -> WarmUp | None:
    shape = (
        None if node is None or node.value is None else read_shape(WarmUpShape, node, reading, "`warm_up`")
    )
    return None if shape is None else WarmUp(shape.from_, shape.first_day, shape.growth)


def _check_ramp(at: Node, ramp: WarmUp, per_day: int | None, reading: Reading) -> None:
    if per_day is None:
        what = "the warm-up has no end: no `per_day` says how many emails a day it leads to"
        reading.fault(at, what, "Write for example `per_day: 4000` beside it.")
    elif ramp.first_day >= per_day:
        what = f"the warm-up begins with {ramp.first_day} emails, which is all that `per_day` allows"
        reading.fault(at, what, "Write a smaller `first_day`, or take the warm-up out.")


def _paused(node: Node | None, start: Limits, reading: Reading) -> Limits:
    shape = None
    if node is not None and node.value is not None:
        shape = read_shape(PauseShape, node, reading, "`pause_over`")
    if shape is None:
        return start
    return replace(
        start,
        bounces=start.bounces if shape.hard_bounces is None else shape.hard_bounces,
        complaints=start.complaints if shape.complaints is None else shape.complaints,
        of_last=start.of_last if shape.of_last is None else shape.of_last,
    )
