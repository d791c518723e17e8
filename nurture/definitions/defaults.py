"""Read templates/defaults.yaml, the defaults of every track."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from pydantic import Field

from nurture.definitions.brand import Brand, read_brand
from nurture.definitions.caps import read_caps
from nurture.definitions.folder import DEFAULTS, Sources
from nurture.definitions.languages import Language
from nurture.definitions.schema_check import Shape, read_shape
from nurture.definitions.senders import check_sender
from nurture.definitions.snippets import find_snippets
from nurture.definitions.utm import read_utm
from nurture.definitions.values import Address, Between, Days, Line, Name, Span, Text, Zone
from nurture.definitions.yaml_reader import Node, ParseContext, read_yaml
from nurture.domain.consent.suppression import normalize_ref
from nurture.domain.planning.calendar import Window
from nurture.domain.planning.frequency_cap import FrequencyCap
from nurture.domain.planning.program import Sender

PLAIN_LAYOUT = "plain"


@dataclass(frozen=True, slots=True)
class SendingDefaults:
    """The send window, fallback zone and grace of a track."""

    window: Window = field(default_factory=Window)
    zone_fallback: str = "UTC"
    grace: timedelta = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Defaults:
    """The defaults of every track."""

    sender: Sender = field(default_factory=lambda: Sender("", "", ""))
    sending: SendingDefaults = field(default_factory=SendingDefaults)
    cap: FrequencyCap = field(default_factory=lambda: FrequencyCap(2, timedelta(days=7)))
    topic_caps: Mapping[str, FrequencyCap] = field(default_factory=dict)
    """By topic, in normal form."""
    layout: str = PLAIN_LAYOUT
    brand: Brand = field(default_factory=Brand)
    utm: Mapping[str, str] = field(default_factory=dict)
    language: str = "en"
    """The language of emails whose file names no other."""

    def caps_for(self, topic: str, own: FrequencyCap | None = None) -> tuple[FrequencyCap, ...]:
        """Return the general cap, that of *topic*, and the *own* one of a track."""
        return tuple(filter(None, (self.cap, self.topic_caps.get(normalize_ref(topic)), own)))


class DefaultsShape(Shape):
    """The keys of defaults.yaml."""

    sender: Any = Field(examples=["{name: Nora, email: nora@example.com, postal_address: ...}"])
    send: Any = Field(None, examples=["{between: 09:00-17:00}"])
    cap: Any = Field(None, examples=["{touches: 2, per: 7 days}"])
    layout: Name = Field(PLAIN_LAYOUT, examples=[PLAIN_LAYOUT])
    brand: Any = Field(None, examples=['{colors: {accent: "#0b5cad"}}'])
    utm: Any = Field(None, examples=["{source: newsletter}"])
    language: Language = Field(default="en", examples=["de"])


class SenderShape(Shape):
    """The keys under `sender:`."""

    name: Line = Field(examples=["Nora from Larkfield"])
    email: Address = Field(examples=["nora@example.com"])
    postal_address: Text = Field(examples=["Larkfield Ltd, 1 Example Street, Exampletown"])
    reply_to: Address = Field("", examples=["hello@example.com"])
    owner: bool = Field(default=False, examples=["yes"])


class SenderOverrideShape(Shape):
    """The keys under a track's `sender:`."""

    name: Line | None = Field(None, examples=["Nora from Larkfield"])
    email: Address | None = Field(None, examples=["nora@example.com"])
    postal_address: Text | None = Field(None, examples=["Larkfield Ltd, 1 Example Street, Exampletown"])
    reply_to: Address | None = Field(None, examples=["hello@example.com"])
    owner: bool | None = Field(None, examples=["yes"])


class SendShape(Shape):
    """The keys under `send:`."""

    days: Days | None = Field(None, examples=["[mon, tue, wed, thu, fri]"])
    between: Between | None = Field(None, examples=["09:00-17:00"])
    zone_fallback: Zone | None = Field(None, examples=["Europe/Berlin"])
    skip_holidays: bool | None = Field(None, examples=["yes"])
    grace: Span | None = Field(None, examples=["3 days"])


def read_defaults(sources: Sources, context: ParseContext) -> Defaults:
    """Read defaults.yaml; invalid values are reported and replaced by the built-in default."""
    text = sources.get(DEFAULTS)
    if text is None:
        context.add_problem(
            Node(DEFAULTS, 1, None), "this file is missing", "Write it: it names the sender and the postal address."
        )
        return Defaults()
    node = read_yaml(DEFAULTS, text, context)
    if node is None:
        return Defaults()
    shape = read_shape(DefaultsShape, node, context, "the defaults")
    cap, topic_caps = read_caps(node, context)
    defaults = Defaults(
        sender=_sender(node.part("sender"), context),
        sending=read_sending(node.part("send"), SendingDefaults(), context),
        layout=shape.layout if shape is not None else PLAIN_LAYOUT,
        brand=read_brand(node.part("brand"), find_snippets(sources), context),
        utm=read_utm(node.part("utm"), {}, context),
        language=shape.language if shape is not None else "en",
    )
    return replace(defaults, cap=cap or defaults.cap, topic_caps=topic_caps)


def _sender(node: Node | None, context: ParseContext) -> Sender:
    shape = read_shape(SenderShape, node, context, "the sender")
    if node is None or shape is None:
        return Sender("", "", "")
    check_sender(node, context)
    return Sender(shape.name, shape.email, shape.postal_address, shape.reply_to, shape.owner)


def override_sender(node: Node | None, sender: Sender, context: ParseContext) -> Sender:
    """Return *sender* with a track's `sender:` applied; `sender: owner` stands for `sender: {owner: yes}`."""
    if node is not None and node.value == "owner":
        return replace(sender, owner=True)
    if node is not None and isinstance(node.value, str):
        remedy = "Write `sender: owner` for the lead's rep, or `name:` and `email:` on indented lines below it."
        context.add_problem(node, f"`sender: {node.value}` is not a sender", remedy)
        return sender
    shape = read_shape(SenderOverrideShape, node, context, "the sender")
    if node is None or shape is None:
        return sender
    check_sender(node, context)
    return replace(sender, **shape.model_dump(exclude_none=True))


def read_sending(node: Node | None, start: SendingDefaults, context: ParseContext) -> SendingDefaults:
    """Return *start* with `send:` applied."""
    shape = read_shape(SendShape, node, context, "`send`")
    if shape is None:
        return start
    opens, closes = shape.between or (start.window.opens, start.window.closes)
    if shape.between and closes < opens and node is not None:
        what = f"the send window lasts over midnight, from {opens:%H:%M} until {closes:%H:%M} of the next day"
        context.warn(node.parts["between"], what, f"Write `between: {closes:%H:%M}-{opens:%H:%M}` for the day.")
    skip = start.window.skip_holidays if shape.skip_holidays is None else shape.skip_holidays
    window = Window(shape.days or start.window.days, opens, closes, skip)
    grace = start.grace if shape.grace is None else shape.grace
    return SendingDefaults(window, shape.zone_fallback or start.zone_fallback, grace)
