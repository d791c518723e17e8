"""Read the destination of a lead: a track, a queue, or closed."""

from collections.abc import Collection
from datetime import timedelta
from typing import Final

from pydantic import Field

from nurture.definitions.schema_check import Shape, read_shape
from nurture.definitions.values import Line, Name, PositiveSpan
from nurture.definitions.yaml_reader import Node, ParseContext, TrackReference
from nurture.domain.lead import MAX_REST, Closing
from nurture.domain.planning.program import Destination, Previous, ToClosed, ToQueue, ToTrack, TrackDestination
from nurture.errors import suggest

_CLOSINGS: Final = tuple(closing.value for closing in Closing)
DESTINATION_KEYS: Final = ("track", "queue", "close", "discard")
TRACK_HINT: Final = "Write a track's name, `previous`, `{queue: a-queue}` or `{close: unreachable}`."


class _DestinationShape(Shape):
    track: Name | None = Field(None, examples=["keep-warm"])
    queue: Name | None = Field(None, examples=["needs-a-look"])
    close: str | None = Field(None, examples=["unreachable"])
    reason: Line | None = Field(None, examples=["never answered in two years"])
    discard: Line | None = Field(None, examples=["a competitor"])
    again_after: PositiveSpan | None = Field(None, examples=["180 days"])


PREVIOUS: Final = "previous"
"""The destination from a track that is the track before it."""


def read_track_destination(
    node: Node, context: ParseContext, default_reason: str, instead: str = TRACK_HINT
) -> TrackDestination | None:
    """Read where a lead goes from a track: a destination, or `previous`."""
    return Previous() if node.value == PREVIOUS else read_destination(node, context, default_reason, instead)


def read_destination(node: Node, context: ParseContext, default_reason: str, instead: str) -> Destination | None:
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
    ends = shape.discard is not None or shape.close not in (None, Closing.WON)
    if shape.again_after is not None and not (ends and shape.again_after <= MAX_REST):
        what = "`again_after` is for a lead that is discarded, or closed but not won, and at most 365 days"
        context.add_problem(
            node.parts["again_after"], what, "Write for example `{close: lost, again_after: 180 days}`."
        )
        return None
    if shape.track is not None:
        return _track(node.parts["track"], shape.track, context)
    if shape.queue is not None:
        context.queue_references.append((node.parts["queue"], shape.queue))
        return ToQueue(shape.queue)
    if shape.discard is not None:
        return ToClosed(Closing.DISCARDED, shape.discard, shape.again_after)
    return _closed(node, str(shape.close), shape.reason or default_reason, shape.again_after, context)


def _track(at: Node, name: str, context: ParseContext) -> Destination:
    context.track_references.append(TrackReference(at, name))
    return ToTrack(name)


def _closed(
    node: Node, closing: str, reason: str, again_after: timedelta | None, context: ParseContext
) -> Destination | None:
    if closing not in _CLOSINGS:
        context.add_problem(node.parts["close"], f"a lead cannot be closed as `{closing}`", suggest(closing, _CLOSINGS))
        return None
    return ToClosed(Closing(closing), reason, again_after)


def check_track_references(context: ParseContext, tracks: Collection[str], for_customers: Collection[str] = ()) -> None:
    """Report each referenced track that does not exist, or that is for customers where leads come from, or the reverse.

    Only tracks *for_customers* have customers; leads come from the other tracks and from the policy.
    """
    for named in context.track_references:
        if named.track not in tracks:
            instead = suggest(named.track, tracks)
            context.add_problem(named.node, f"there is no track `{named.track}`", instead)
            continue
        comes_from, _, _ = named.node.file.removeprefix("tracks/").partition("/")
        if named.enters and (comes_from in for_customers) != (named.track in for_customers):
            whom = "customers" if named.track in for_customers else "leads"
            message = f"the track `{named.track}` is for {whom}, so nobody from here can enter it"
            context.add_problem(named.node, message, f"Name a track that does not say `for: {whom}`.")
