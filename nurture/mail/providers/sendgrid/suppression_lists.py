"""Read SendGrid's own lists of whom it will not mail: a restored database may have forgotten some."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson

from nurture.errors import Misconfigured
from nurture.mail.providers.base import NotSent, OptedOut
from nurture.mail.providers.sendgrid.http_client import Line

Source = Literal["bounce", "complaint", "page"]

PAGE: Final = 500
LARGEST: Final = 4 * 1024 * 1024
"""How many bytes of a page are read: 500 entries with SendGrid's longest reasons are half of it."""

LISTS: Final[Mapping[str, Source]] = {
    "/v3/suppression/unsubscribes": "page",
    "/v3/suppression/bounces": "bounce",
    "/v3/suppression/spam_reports": "complaint",
    "/v3/suppression/invalid_emails": "bounce",
}
"""Blocks are not among them: SendGrid tries those addresses again."""


async def opted_out(line: Line, group: int | None) -> list[OptedOut]:
    """Return everybody on SendGrid's lists, and in the unsubscribe *group*, if one is used.

    Raises Misconfigured where a list cannot be read.
    """
    found: list[OptedOut] = []
    for path, source in LISTS.items():
        page: list[Any] = [None] * PAGE
        offset = 0
        while len(page) >= PAGE:
            page = await _read(line, f"{path}?limit={PAGE}&offset={offset}")
            found += [one for row in page if (one := _entry(row, source)) is not None]
            offset += PAGE
    if group is not None:
        emails = await _read(line, f"/v3/asm/groups/{group}/suppressions")
        found += [OptedOut(email, "page", None) for email in emails if isinstance(email, str)]
    return found


async def _read(line: Line, path: str) -> list[Any]:
    answer = await line.get(path, LARGEST)
    name = f"SendGrid's list {path.partition('?')[0]} cannot be read"
    if isinstance(answer, NotSent):
        raise Misconfigured(f"{name}: {answer.why}.")
    if answer.status in (401, 403):
        raise Misconfigured(
            f"{name} ({answer.status}): the key in NURTURE_SENDGRID_KEY needs the permission Suppressions, "
            "Read Access, besides Mail Send."
        )
    try:
        page = orjson.loads(answer.body) if answer.status == 200 else None
    except orjson.JSONDecodeError:
        page = None
    if not isinstance(page, list):
        raise Misconfigured(f"{name}: it answers with status {answer.status}, and no list.")
    return page


def _entry(row: object, source: Source) -> OptedOut | None:
    match row:
        case {"email": str(email), "created": int(created)} if 0 <= created < 1 << 33:
            return OptedOut(email, source, datetime.fromtimestamp(created, UTC))
        case {"email": str(email)}:
            return OptedOut(email, source, None)
        case _:
            return None
