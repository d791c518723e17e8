"""Read templates/sending.yaml: sending limits by domain, messages of unknown delivery, consent to confirm."""

import re
from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import Field, PlainValidator

from nurture.definitions.folder import CONFIRM, SENDING, Sources
from nurture.definitions.schema_check import InvalidValue, Shape, read_shape
from nurture.definitions.values import Day, PositiveSpan
from nurture.definitions.yaml_reader import Node, ParseContext, read_yaml
from nurture.domain.consent.suppression import normalize_ref
from nurture.domain.delivery.sending_limits import SendingLimits, SendingRules, WarmUp, normalize_domain
from nurture.domain.planning.lead_view import UNKNOWN_COUNTS_AS_SENT_AFTER
from nurture.errors import InvalidDefinitions, suggest

HOLD: Final = "hold"
NO_LIMIT: Final = "unlimited"
_ON_UNKNOWN_HINT: Final = "Write `hold`, or `{resend_after: 24 hours}`, which may deliver an email twice."
_PERCENT: Final = re.compile(r"(\d+(?:\.\d+)?) *%")
_DOMAIN: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")


def read_percent(given: Any) -> float:
    """Read "2 %" as 0.02."""
    found = _PERCENT.fullmatch(str(given).strip())
    if not found:
        raise InvalidValue(f"`{given}` is not a percentage", "Write for example `2 %`.")
    share = float(Decimal(found[1]) / 100)
    if not 0 < share <= 1:
        raise InvalidValue(f"`{given}` is out of range", "Write more than 0 % and at most 100 %.")
    return share


def read_limit(given: Any) -> int | str:
    """Read a cap: a whole number, or "unlimited"."""
    if given == NO_LIMIT:
        return NO_LIMIT
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise InvalidValue(f"`{given}` is not a number of emails", f"Write a whole number from 1 on, or `{NO_LIMIT}`.")
    return given


Percent = Annotated[float, PlainValidator(read_percent)]
LimitValue = Annotated[int | str, PlainValidator(read_limit)]


class SendingShape(Shape):
    """The keys of sending.yaml."""

    on_unknown: Any = Field(HOLD, examples=[HOLD])
    default: Any = Field(None, examples=["{per_hour: 500, per_day: 4000}"])
    domains: Any = Field(None, examples=["{example.com: {per_hour: 500}}"])
    sources: Any = Field(None, examples=["{website: {confirm: yes}}"])


class SourceShape(Shape):
    """The keys of a source of leads."""

    confirm: bool = Field(examples=["yes"])


class OnUnknownShape(Shape):
    """The keys under `on_unknown:` unless it is `hold`."""

    resend_after: PositiveSpan = Field(examples=["24 hours"])


class LimitsShape(Shape):
    """The limits of a domain."""

    per_hour: LimitValue | None = Field(None, examples=["500"])
    per_day: LimitValue | None = Field(None, examples=["4000"])
    warm_up: Any = Field(None, examples=["{from: 2026-12-01, first_day: 50, growth: 1.6}"])
    pause_over: Any = Field(None, examples=["{hard_bounces: 2 %, complaints: 0.1 %, sample_size: 1000}"])


class WarmUpShape(Shape):
    """The keys under `warm_up:`."""

    from_: Day = Field(alias="from", examples=["2026-12-01"])
    first_day: int = Field(ge=1, examples=["50"])
    growth: float = Field(ge=1.05, le=10, allow_inf_nan=False, examples=["1.6"])


class PauseShape(Shape):
    """The keys under `pause_over:`."""

    hard_bounces: Percent | None = Field(None, examples=["2 %"])
    complaints: Percent | None = Field(None, examples=["0.1 %"])
    sample_size: int | None = Field(None, ge=100, le=100_000, examples=["1000"])


def load_sending(sources: Sources) -> SendingRules:
    """Return the published sending rules in *sources*, the built-in ones without sending.yaml.

    Raises InvalidDefinitions.
    """
    context = ParseContext(complete=False)
    rules = read_sending_rules(sources, context)
    if context.problems:
        raise InvalidDefinitions(sorted(set(context.problems)))
    return rules


def read_sending_rules(sources: Sources, context: ParseContext, senders: Collection[str] | None = None) -> SendingRules:
    """Read sending.yaml; invalid values are reported and replaced by the built-in ones.

    *senders* are the From addresses, None if they are not known.
    """
    text = sources.get(SENDING)
    node = read_yaml(SENDING, text, context) if text is not None else None
    if node is None:
        return SendingRules()
    read_shape(SendingShape, node, context, "the sending rules")
    default = _limits(node.part("default"), SendingLimits(), "`default`", context)
    return SendingRules(
        default=default,
        domains=_domains(node.part("domains"), default, senders, context),
        resend_after=_resend_after(node.part("on_unknown"), context),
        confirm=_sources_to_confirm(node.part("sources"), sources, context),
    )


def _sources_to_confirm(node: Node | None, files: Sources, context: ParseContext) -> frozenset[str]:
    """Return the normal form of the sources with `confirm: yes`; their leads need the email that asks them."""
    if node is None or not isinstance(node.value, dict):
        if node is not None and node.value is not None:
            instead = "Write each source on its own line, for example `website: {confirm: yes}`."
            context.add_problem(node, "`sources` is not a list of sources", instead)
        return frozenset()
    shapes = {name: read_shape(SourceShape, part, context, f"`{name}`") for name, part in node.parts.items()}
    found = frozenset(normalize_ref(str(name)) for name, shape in shapes.items() if shape is not None and shape.confirm)
    if found and context.complete and CONFIRM not in files:
        instead = f"Copy templates/{CONFIRM} from the shipped definitions, and write it in your words."
        context.add_problem(node, f"`confirm: yes` needs the email that asks for it, {CONFIRM}", instead)
    return found


def _resend_after(node: Node | None, context: ParseContext) -> timedelta | None:
    if node is None or node.value in (HOLD, None):
        return None
    if not isinstance(node.value, dict):
        context.add_problem(node, f"`on_unknown: {node.value}` is not valid", _ON_UNKNOWN_HINT)
        return None
    shape = read_shape(OnUnknownShape, node, context, "`on_unknown`")
    if shape is None:
        return None
    if not timedelta(hours=1) <= shape.resend_after <= UNKNOWN_COUNTS_AS_SENT_AFTER:
        most = UNKNOWN_COUNTS_AS_SENT_AFTER // timedelta(hours=1)
        what = f"`resend_after: {node.value['resend_after']}` is not between 1 and {most} hours"
        instead = "Write for example `24 hours`: by then most providers have reported the delivery status."
        context.add_problem(node.parts["resend_after"], what, instead)
    return shape.resend_after


def _domains(
    node: Node | None, default: SendingLimits, senders: Collection[str] | None, context: ParseContext
) -> dict[str, SendingLimits]:
    if node is None or node.value is None:
        return {}
    if not isinstance(node.value, dict):
        instead = "Write each domain on its own line, with its limits indented below it."
        context.add_problem(node, "`domains` is not a list of `domain: limits` lines", instead)
        return {}
    found: dict[str, SendingLimits] = {}
    for written, part in node.parts.items():
        domain = normalize_domain(str(written))
        if not _DOMAIN.fullmatch(domain):
            instead = "Write the part after the @ of the sender's address, for example `example.com`."
            context.add_problem(part, f"`{written}` is not a domain", instead)
            continue
        if domain in found:
            context.add_problem(part, f"the domain `{domain}` is listed twice", "Keep one of the two.")
        elif senders is not None:
            _check_used(domain, part, senders, context)
        found[domain] = _limits(part, default, f"`{written}`", context)
    return found


def _check_used(domain: str, at: Node, senders: Collection[str], context: ParseContext) -> None:
    """Report a domain from which no mail is sent: its limits would have no effect."""
    used = {normalize_domain(address.rpartition("@")[2]) for address in senders if "@" in address}
    if used and not any(f".{name}".endswith(f".{domain}") for name in used):
        instead = suggest(domain, used, f"Mail comes from: {', '.join(sorted(used))}.")
        context.add_problem(at, f"no sender has an address at `{domain}`", instead)


def _limits(node: Node | None, start: SendingLimits, called: str, context: ParseContext) -> SendingLimits:
    """Return *start* with the limits in *node* applied."""
    if node is None:
        return start
    shape = read_shape(LimitsShape, node, context, called)
    warm_up = _warm_up(node.part("warm_up"), context)
    limits = _with_pause(node.part("pause_over"), start, context)
    if shape is not None:
        limits = replace(
            limits,
            per_hour=_limit_or_inherited(shape.per_hour, start.per_hour),
            per_day=_limit_or_inherited(shape.per_day, start.per_day),
        )
    limits = limits if warm_up is None else replace(limits, warm_up=warm_up)
    if shape is not None and warm_up is not None:
        _check_warm_up(node.parts["warm_up"], warm_up, limits.per_day, context)
    return limits


def _limit_or_inherited(written: int | str | None, inherited: int | None) -> int | None:
    if written is None:
        return inherited
    return written if isinstance(written, int) else None


def _warm_up(node: Node | None, context: ParseContext) -> WarmUp | None:
    shape = None if node is None or node.value is None else read_shape(WarmUpShape, node, context, "`warm_up`")
    return None if shape is None else WarmUp(shape.from_, shape.first_day, shape.growth)


def _check_warm_up(at: Node, warm_up: WarmUp, per_day: int | None, context: ParseContext) -> None:
    if per_day is None:
        what = "the warm-up has no end: `per_day` is missing"
        context.add_problem(at, what, "Write for example `per_day: 4000` next to it.")
    elif warm_up.first_day >= per_day:
        what = f"the warm-up begins with {warm_up.first_day} emails, which is all that `per_day` allows"
        context.add_problem(at, what, "Write a smaller `first_day`, or remove the warm-up.")


def _with_pause(node: Node | None, start: SendingLimits, context: ParseContext) -> SendingLimits:
    shape = None
    if node is not None and node.value is not None:
        shape = read_shape(PauseShape, node, context, "`pause_over`")
    if shape is None:
        return start
    return replace(
        start,
        max_bounce_rate=start.max_bounce_rate if shape.hard_bounces is None else shape.hard_bounces,
        max_complaint_rate=start.max_complaint_rate if shape.complaints is None else shape.complaints,
        sample_size=start.sample_size if shape.sample_size is None else shape.sample_size,
    )
