"""Where a lead goes: a track, a queue, or closed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from pydantic import Field

from nurture.definitions.schema_check import Shape, read_shape
from nurture.definitions.values import Line, Name
from nurture.definitions.yaml_reader import Named, Node, Reading, nearest
from nurture.domain.lead import Closing
from nurture.domain.planning.program import Destination, ToClosed, ToQueue, ToTrack

_CLOSINGS: Final = tuple(closing.value for closing in Closing)
KEYS: Final = ("track", "queue", "close", "discard")
INSTEAD: Final = "Write a track's name, `{queue: a-queue}` or `{close: unreachable}`."


class _PlaceShape(Shape):
    track: Name | None = Field(None, examples=["keep-warm"])
    queue: Name | None = Field(None, examples=["needs-a-look"])
    close: str | None = Field(None, examples=["unreachable"])
    because: Line | None = Field(None, examples=["never answered in two years"])
    discard: Line | None = Field(None, examples=["a competitor"])


def read_place(node: Node, reading: Reading, because: str, instead: str = INSTEAD) -> Destination | None:
    """Read a destination; *because* is the reason of a `close` that gives none."""
    if isinstance(node.value, str) and node.value:
        return _track(node, node.value, reading)
    if not isinstance(node.value, dict):
        shown = "it says nothing" if node.value is None else f"`{node.value}` is not a place"
        reading.fault(node, f"this does not say where the lead goes: {shown}", instead)
        return None
    shape = read_shape(_PlaceShape, node, reading, "a destination")
    if shape is None:
        return None
    given = [key for key in KEYS if getattr(shape, key) is not None]
    if len(given) != 1:
        both = " and ".join(f"`{key}`" for key in given) or "neither track, queue nor close"
        reading.fault(node, f"a destination names {both}", "Name exactly one.")
        return None
    if shape.track is not None:
        return _track(node.parts["track"], shape.track, reading)
    if shape.queue is not None:
        return ToQueue(shape.queue)
    if shape.discard is not None:
        return ToClosed(Closing.DISCARDED, shape.discard)
    return _closed(node, str(shape.close), shape.because or because, reading)


def _track(at: Node, name: str, reading: Reading) -> Destination:
    reading.named.append(Named(at, name))
    return ToTrack(name)


def _closed(node: Node, closing: str, because: str, reading: Reading) -> Destination | None:
    if closing not in _CLOSINGS:
        reading.fault(
            node.parts["close"], f"a lead cannot be closed as `{closing}`", nearest(closing, _CLOSINGS)
        )
        return None
    return ToClosed(Closing(closing), because)


def check_named(reading: Reading, tracks: Collection[str]) -> None:
    """Note a fault for each named track that does not exist."""
    for named in reading.named:
        if named.track not in tracks:
            instead = nearest(named.track, tracks)
            reading.fault(named.at, f"there is no track `{named.track}`", instead)
