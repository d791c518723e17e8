"""Read the destination of a lead: a track, a queue, or closed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from pydantic import Field

from nurture.definitions.schema_check import Shape, read_shape
from nurture.definitions.values import Line, Name
from nurture.definitions.yaml_reader import Node, ParseContext, TrackReference
from nurture.domain.lead import Closing
from nurture.domain.planning.program import Destination, ToClosed, ToQueue, ToTrack
from nurture.errors import suggest

_CLOSINGS: Final = tuple(closing.value for closing in Closing)
DESTINATION_KEYS: Final = ("track", "queue", "close", "discard")
DESTINATION_HINT: Final = "Write a track's name, `{queue: a-queue}` or `{close: unreachable}`."


class _DestinationShape(Shape):
    track: Name | None = Field(None, examples=["keep-warm"])
    queue: Name | None = Field(None, examples=["needs-a-look"])
    close: str | None = Field(None, examples=["unreachable"])
    reason: Line | None = Field(None, examples=["never answered in two years"])
    discard: Line | None = Field(None, examples=["a competitor"])


def read_destination(
    node: Node, context: ParseContext, default_reason: str, instead: str = DESTINATION_HINT
) -> Destination | None:
    """Read a destination; *default_reason* is the reason of a `close` without one."""
    if isinstance(node.value, str) and node.value:
        return _track(node, node.value, context)
    if not isinstance(node.value, dict):
        shown = "it is empty" if node.value is None else f"`{node.value}` is not a destination"
        context.add_problem(node, f"a destination is expected here: {shown}", instead)
        return None
    shape = read_shape(_DestinationShape, node, context, "a destination")
    if shape is None:
        return None
    given = [key for key in DESTINATION_KEYS if getattr(shape, key) is not None]
    if len(given) != 1:
        both = " and ".join(f"`{key}`" for key in given) or "neither track, queue nor close"
        context.add_problem(node, f"a destination names {both}", "Name exactly one.")
        return None
    if shape.track is not None:
        return _track(node.parts["track"], shape.track, context)
    if shape.queue is not None:
        return ToQueue(shape.queue)
    if shape.discard is not None:
        return ToClosed(Closing.DISCARDED, shape.discard)
    return _closed(node, str(shape.close), shape.reason or default_reason, context)


def _track(at: Node, name: str, context: ParseContext) -> Destination:
    context.track_references.append(TrackReference(at, name))
    return ToTrack(name)


def _closed(node: Node, closing: str, reason: str, context: ParseContext) -> Destination | None:
    if closing not in _CLOSINGS:
        context.add_problem(node.parts["close"], f"a lead cannot be closed as `{closing}`", suggest(closing, _CLOSINGS))
        return None
    return ToClosed(Closing(closing), reason)


def check_track_references(context: ParseContext, tracks: Collection[str]) -> None:
    """Report each referenced track that does not exist."""
    for named in context.track_references:
        if named.track not in tracks:
            instead = suggest(named.track, tracks)
            context.add_problem(named.node, f"there is no track `{named.track}`", instead)
