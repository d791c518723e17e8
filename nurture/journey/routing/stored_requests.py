"""Convert a routing request to and from stored JSON, so that a routing can be replayed."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from nurture.domain.routing.round_robin import RotationCounts
from nurture.domain.routing.routing import RoutingRequest


@cache
def _requests() -> TypeAdapter[RoutingRequest]:
    return TypeAdapter(RoutingRequest)


def to_dict(
    request: RoutingRequest, availability: Mapping[str, list[Any]], rotation_counts: RotationCounts
) -> dict[str, Any]:
    """Return *request* as JSON values; defaults are left out.

    *availability* and *rotation_counts* are its own, converted by the caller: most of them do not change from
    lead to lead.
    """
    stored = _requests().dump_python(
        request, mode="json", exclude_defaults=True, exclude={"availability", "rotation_counts"}
    )
    counts = {key: dict(one) for key, one in rotation_counts.items()}
    return {**stored, "availability": dict(availability), "rotation_counts": counts}


def from_dict(stored: Mapping[str, Any]) -> RoutingRequest:
    """Return the request that `to_dict` stored."""
    return _requests().validate_python(stored)
