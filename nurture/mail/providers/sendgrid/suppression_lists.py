"""Read SendGrid's suppression lists: a restored database may lack recent entries."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson

from nurture.domain.delivery.receipts import NotSent
from nurture.errors import Misconfigured
from nurture.mail.providers.base import SuppressedAddress
from nurture.mail.providers.http_client import HttpClient

SuppressionSource = Literal["bounce", "complaint", "page"]

PAGE_SIZE: Final = 500
MAX_PAGE_BYTES: Final = 4 * 1024 * 1024
"""The largest page: 500 entries with SendGrid's longest reasons are half of it."""

SUPPRESSION_PATHS: Final[Mapping[str, SuppressionSource]] = {
    "/v3/suppression/unsubscribes": "page",
    "/v3/suppression/bounces": "bounce",
    "/v3/suppression/spam_reports": "complaint",
    "/v3/suppression/invalid_emails": "bounce",
}
"""Without blocks: SendGrid retries those addresses."""


async def fetch_suppressions(client: HttpClient, group_id: int | None) -> list[SuppressedAddress]:
    """Return all addresses on SendGrid's lists, and in the unsubscribe group *group_id*, if one is used.

    Raises Misconfigured if a list cannot be read.
    """
    suppressed: list[SuppressedAddress] = []
    for path, source in SUPPRESSION_PATHS.items():
        page: list[Any] = [None] * PAGE_SIZE
        offset = 0
        while len(page) >= PAGE_SIZE:
            page = await _read_page(client, f"{path}?limit={PAGE_SIZE}&offset={offset}")
            suppressed += [entry for row in page if (entry := _parse_entry(row, source)) is not None]
            offset += PAGE_SIZE
    if group_id is not None:
        emails = await _read_page(client, f"/v3/asm/groups/{group_id}/suppressions")
        suppressed += [SuppressedAddress(email, "page", None) for email in emails if isinstance(email, str)]
    return suppressed


async def _read_page(client: HttpClient, path: str) -> list[Any]:
    response = await client.get(path, MAX_PAGE_BYTES)
    name = f"SendGrid's list {path.partition('?')[0]} cannot be read"
    if isinstance(response, NotSent):
        raise Misconfigured(f"{name}: {response.reason}.")
    if response.status in (401, 403):
        raise Misconfigured(
            f"{name} ({response.status}): the key in NURTURE_SENDGRID_KEY needs the permission Suppressions, "
            "Read Access, besides Mail Send."
        )
    try:
        page = orjson.loads(response.body) if response.status == 200 else None
    except orjson.JSONDecodeError:
        page = None
    if not isinstance(page, list):
        raise Misconfigured(f"{name}: the response has status {response.status} and is not a list.")
    return page


def _parse_entry(row: object, source: SuppressionSource) -> SuppressedAddress | None:
    match row:
        case {"email": str(email), "created": int(created)} if 0 <= created < 1 << 33:
            return SuppressedAddress(email, source, datetime.fromtimestamp(created, UTC))
        case {"email": str(email)}:
            return SuppressedAddress(email, source, None)
        case _:
            return None
