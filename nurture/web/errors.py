"""Errors of requests: problem details with a remedy for programs (RFC 9457), pages for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final

import orjson
from starlette.responses import Response

from nurture.web.templates import Templates

API: Final = "/api/"
MEDIA_TYPE: Final = "application/problem+json"

_DOCS: Final = "/api/docs lists the endpoints and their formats."
_TEXTS: Final = {
    404: ("Not found", "There is no endpoint at this path.", _DOCS),
    405: ("Not allowed", "The endpoint does not support this method.", _DOCS),
    408: (
        "Too slow",
        "The body did not arrive in time.",
        "Send it again, in smaller batches if the connection is slow.",
    ),
    500: ("Internal error", "An internal error occurred. It was logged.", "Retry: items that were stored count once."),
    503: ("Unavailable", "The database is not available.", "Retry in a minute."),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """The body of an error response. *remedy* says how to fix *detail*."""

    title: str
    status: int
    detail: str
    remedy: str
    type: str = "about:blank"


class WebError(Exception):
    """An error response. *remedy* says how to fix *detail*."""

    def __init__(
        self, status: int, title: str, detail: str, remedy: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(title, status, detail, remedy)
        self.headers = headers

    def response(self, path: str, templates: Templates) -> Response:
        """Return the response to a request of *path*: problem details in the API, a page elsewhere."""
        if not path.startswith(API):
            return templates.error_page(self.problem.status, self.headers)
        body = orjson.dumps(self.problem, option=orjson.OPT_APPEND_NEWLINE)
        return Response(body, self.problem.status, self.headers, MEDIA_TYPE)


def error_for_status(status: int, headers: Mapping[str, str] | None = None) -> WebError:
    """Return the general error for *status*."""
    return WebError(status, *_TEXTS.get(status, ("Bad request", "The request cannot be parsed.", _DOCS)), headers)


def too_large(max_bytes: int) -> WebError:
    """Return the error for a body of more than *max_bytes* bytes."""
    detail = f"The body has more than {max_bytes:,} bytes."
    return WebError(413, "Too large", detail, "Send smaller batches.", {"Connection": "close"})


def too_many(status: int, wait: float) -> WebError:
    """Return the error for a request that exceeds a rate or a budget; it may be sent again in *wait* seconds."""
    detail = "Your address or token sent too many requests, or too much data at once."
    remedy = "Retry after the time in Retry-After, and send less at once."
    return WebError(status, "Too many requests", detail, remedy, {"Retry-After": str(ceil(wait))})
