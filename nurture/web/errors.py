"""Errors of the API as problem details (RFC 9457), each with a remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """The body of an error response. *remedy* says how to fix *detail*."""

    title: str
    status: int
    detail: str
    remedy: str
    type: str = "about:blank"


class ApiError(Exception):
    """An error response of the API. *remedy* says how to fix *detail*."""

    def __init__(
        self, status: int, title: str, detail: str, remedy: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(title, status, detail, remedy)
        self.headers = headers

    def response(self) -> Response:
        """Return the problem details as a response."""
        body = orjson.dumps(self.problem, option=orjson.OPT_APPEND_NEWLINE)
        return Response(body, self.problem.status, self.headers, MEDIA_TYPE)


def too_large(max_bytes: int) -> ApiError:
    """Return the error for a body of more than *max_bytes* bytes."""
    return ApiError(
        413,
        "Too large",
        f"The body has more than {max_bytes:,} bytes.",
        "Send smaller batches.",
        {"Connection": "close"},
    )


def too_slow() -> ApiError:
    """Return the error for a body that does not arrive in time."""
    remedy = "Send it again, in smaller batches if the connection is slow."
    return ApiError(408, "Too slow", "The body did not arrive in time.", remedy)


def too_many(status: int, headers: Mapping[str, str] | None) -> ApiError:
    """Return the error for a request that exceeds a rate or a budget."""
    detail = "Your address or token sent too many requests, or too much data at once."
    remedy = "Retry after the time in Retry-After, and send less at once."
    return ApiError(status, "Too many requests", detail, remedy, headers)


def error_for_status(status: int) -> ApiError:
    """Return the general error for *status*."""
    remedy = "/api/docs lists the endpoints and their formats."
    match status:
        case 404:
            return ApiError(404, "Not found", "There is no endpoint at this path.", remedy)
        case 405:
            return ApiError(405, "Not allowed", "The endpoint does not support this method.", remedy)
        case 503:
            detail, headers = "The database is not available.", {"Retry-After": "60"}
            return ApiError(503, "Unavailable", detail, "Retry in a minute.", headers)
        case 500:
            detail = "An internal error occurred. It was logged."
            return ApiError(500, "Internal error", detail, "Retry: items that were stored count once.")
        case _:
            return ApiError(status, "Bad request", "The request cannot be parsed.", remedy)
