"""What goes wrong, told to programs: RFC 9457, with the next move."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class ApiError(Exception):
    """Ends a request of a program. *remedy* says what to do about *detail*."""

    def __init__(
        self, status: int, title: str, detail: str, remedy: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail, self.remedy = status, title, detail, remedy
        self.headers = headers

    def response(self) -> Response:
        """Return what the program reads."""
        payload = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "remedy": self.remedy,
        }
        body = orjson.dumps(payload, option=orjson.OPT_APPEND_NEWLINE)
        return Response(body, self.status, self.headers, MEDIA_TYPE)


def too_large(max_bytes: int) -> ApiError:
    """Return the answer to a body of more than *max_bytes* bytes."""
    return ApiError(
        413,
        "Too large",
        f"The body has more than {max_bytes:,} bytes.",
        "Send it in smaller batches.",
        {"Connection": "close"},
    )


def too_slow() -> ApiError:
    """Return the answer to a body that does not come in."""
    remedy = "Send it again, in smaller batches if the line is slow."
    return ApiError(408, "Too slow", "The body did not come in within the time.", remedy)


def too_many(status: int, headers: Mapping[str, str] | None) -> ApiError:
    """Return the answer to a request that comes beside too many others."""
    detail = "Too many requests come from your address or with your token, or too much at one time."
    remedy = "Send the same again after the time in Retry-After, and fewer at one time."
    return ApiError(status, "Too many requests", detail, remedy, headers)


def error_for_status(status: int) -> ApiError:
    """Return the answer where there is nothing more to say than the *status*."""
    remedy = "/api/docs shows what there is, and how to ask for it."
    match status:
        case 404:
            return ApiError(404, "Not found", "There is nothing at this address.", remedy)
        case 405:
            return ApiError(405, "Not allowed", "This address does not know the method.", remedy)
        case 503:
            detail, headers = "The database cannot be used at the moment.", {"Retry-After": "60"}
            return ApiError(503, "Closed", detail, "Send the same again in a minute.", headers)
        case 500:
            detail = "Something went wrong here, and it is written down in our log."
            return ApiError(500, "Broken", detail, "Send the same again: what is in already counts once.")
        case _:
            return ApiError(status, "Refused", "The request cannot be read.", remedy)
