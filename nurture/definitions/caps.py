"""Read `cap:`: the frequency caps of defaults.yaml and of a track, and what is exempt from them."""

from collections.abc import Iterable
from typing import Any, Final

from pydantic import Field

from nurture.definitions.schema_check import Shape, read_shape
from nurture.definitions.values import Line, PositiveSpan
from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.domain.consent.suppression import normalize_ref
from nurture.domain.planning.frequency_cap import FrequencyCap
from nurture.domain.planning.program import Program
from nurture.errors import suggest

_EXEMPT: Final = "{exempt: they asked for the recording}"


class CapShape(Shape):
    """The keys of a cap."""

    touches: int = Field(ge=1, examples=["2"])
    per: PositiveSpan = Field(examples=["7 days"])


class DefaultCapShape(CapShape):
    """The keys under `cap:` in defaults.yaml."""

    topics: dict[str, Any] = Field(default_factory=dict, examples=["{Webinars: {touches: 1, per: 7 days}}"])


class ExemptShape(Shape):
    """The key under `cap:` of what no cap holds."""

    exempt: Line = Field(examples=["they asked for the recording"])


class TrackCapShape(CapShape):
    """The keys under `cap:` in track.yaml."""

    exempt: Line | None = Field(None, examples=["they asked for the recording"])


def read_caps(node: Node, context: ParseContext) -> tuple[FrequencyCap | None, dict[str, FrequencyCap]]:
    """Return the general cap of defaults.yaml, None if it has none or an invalid one, and those of topics."""
    inner = node.part("cap")
    shape = read_shape(DefaultCapShape, inner, context, "`cap`")
    if inner is None or shape is None:
        return None, {}
    found = {}
    for topic in shape.topics:
        each = read_shape(CapShape, inner.parts["topics"].part(topic), context, f"the cap of `{topic}`")
        if each is not None:
            name = normalize_ref(topic)
            found[name] = FrequencyCap(each.touches, each.per, topic=name)
            context.capped_topics[name] = inner.parts["topics"].parts[topic]
    return FrequencyCap(shape.touches, shape.per), found


def read_track_cap(track: str, node: Node | None, context: ParseContext) -> tuple[FrequencyCap | None, str]:
    """Return the cap of *track* itself, None if it has none, and why it is exempt from the others, "" if it is not."""
    given = node.value if node is not None else None
    if not isinstance(given, dict) or given.keys() == {"exempt"}:
        return None, read_exemption(node, context, "{touches: 2, per: 7 days}" if str(given)[:1].isdigit() else _EXEMPT)
    shape = read_shape(TrackCapShape, node, context, "`cap`")
    if shape is None:
        return None, ""
    return FrequencyCap(shape.touches, shape.per, track=track), shape.exempt or ""


def read_exemption(node: Node | None, context: ParseContext, example: str = _EXEMPT) -> str:
    """Return why no cap holds an email, "" if caps do."""
    if node is None:
        return ""
    if isinstance(node.value, dict):
        shape = read_shape(ExemptShape, node, context, "`cap`")
        return shape.exempt if shape is not None else ""
    what, remedy = "`cap: exempt` gives no reason", f"Write for example `cap: {_EXEMPT}`, on mail that was promised."
    if node.value != "exempt":
        what, remedy = f"`cap: {node.value}` is not a cap", f"Write for example `cap: {example}`."
    context.add_problem(node, what, remedy)
    return ""


def check_capped_topics(programs: Iterable[Program], context: ParseContext) -> None:
    """Report caps of topics that no track has."""
    topics = {program.topic_key: program.topic for program in programs if program.topic}
    for topic, node in context.capped_topics.items():
        if topic not in topics:
            remedy = suggest(topic, topics.values(), "Write the `topic` of a track, or remove the line.")
            context.add_problem(node, f"no track has the topic `{topic}`", remedy)
