"""HubSpot's words: properties, payloads and what its errors mean. Nothing here calls anybody."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from nurture.crm.base import NotWritten, Record, Refused, Seen, Unclear

KEY: Final = "nurture_key"
HANDOFF: Final = "nurture_handoff"
STAGE: Final = "nurture_status"
WHY: Final = "nurture_why"
FIELDS: Final = {
    KEY: "a single-line text that requires unique values",
    HANDOFF: "a single-line text",
    STAGE: "a single-line text",
    WHY: "a multi-line text",
}
"""Our own properties of contacts, and how an administrator makes them."""

READ: Final = (
    KEY,
    HANDOFF,
    STAGE,
    "hs_lead_status",
    "hubspot_owner_id",
    "lifecyclestage",
    "recent_deal_amount",
    "recent_deal_close_date",
    "notes_last_contacted",
    "lastmodifieddate",
)
_CUSTOMER: Final = "customer"
_SECOND: Final = timedelta(seconds=10)
_DAY: Final = timedelta(hours=1)
_MENDED: Final = timedelta(hours=1)
_EXISTING: Final = re.compile(r"Existing ID: (\d+)")
_NO_SUCH: Final = re.compile(r"(?:Property|property)[^a-z]{1,6}([a-z0-9_]+)[^a-z]{1,6}does not exist")


def ours(record: Record, owner_id: str | None) -> dict[str, str]:
    """Return what we write on every contact: our own properties, and the owner once a rep accepted."""
    told = {
        KEY: record.key,
        HANDOFF: record.handoff,
        STAGE: record.stage.value,
        WHY: f"{record.why} (offered to {record.offered_to})" if record.offered_to else record.why,
    }
    return told | ({"hubspot_owner_id": owner_id} if owner_id else {})


def whole(record: Record, owner_id: str | None) -> dict[str, str]:
    """Return a new contact: who it is as well."""
    who = record.person
    named = {
        "email": who.email,
        "firstname": who.first_name,
        "lastname": who.last_name,
        "company": who.company,
        "jobtitle": who.title,
        "phone": who.phone,
        "country": who.country,
    }
    return {name: text for name, text in named.items() if text} | ours(record, owner_id)


def seen_of(contact: Any, owners: Mapping[str, str]) -> Seen:
    """Return a contact as we see it. A customer is one that HubSpot itself calls so."""
    held: Mapping[str, str | None] = contact.properties
    won = held.get("lifecyclestage") == _CUSTOMER
    return Seen(
        key=held.get(KEY) or "",
        crm_id=str(contact.id),
        changed_at=moment_of(held.get("lastmodifieddate")) or contact.updated_at.astimezone(UTC),
        handoff=held.get(HANDOFF) or "",
        stage=held.get(STAGE) or "",
        status=held.get("hs_lead_status") or "",
        owner=owners.get(held.get("hubspot_owner_id") or "", ""),
        touched_at=moment_of(held.get("notes_last_contacted")),
        closing="won" if won else "",
        closed_at=moment_of(held.get("recent_deal_close_date")) if won else None,
        amount=float(held["recent_deal_amount"] or 0) if won and held.get("recent_deal_amount") else None,
    )


def moment_of(text: str | None) -> datetime | None:
    """Return the moment that HubSpot wrote, as ISO text or as milliseconds; None for none."""
    if not text:
        return None
    if text.isdigit():
        return datetime.fromtimestamp(int(text) / 1000, UTC)
    read = datetime.fromisoformat(text)
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def existing_id(body: Any) -> str | None:
    """Return the contact that HubSpot says is there already, None if it names none."""
    found = _EXISTING.search(_message(body))
    return found[1] if found else None


def receipt_of(
    status: int, body: Any, headers: Mapping[str, str], now: datetime
) -> NotWritten | Refused | Unclear:
    """Return what an error means for a contact that was being written. Its text is left alone: it may repeat
    what a lead wrote.
    """
    told = _told(body)
    if status == 429:
        daily = str(told.get("policyName", "")).upper() == "DAILY"
        waits = headers.get("Retry-After", "")
        again = timedelta(seconds=int(waits)) if waits.isdigit() else _DAY if daily else _SECOND
        span = "today" if daily else "at the moment"
        return NotWritten(f"HubSpot takes no more calls {span} (429)", now + again, stops=True)
    if status in (401, 403):
        why = "HubSpot refuses our token" if status == 401 else "our token may not do this"
        remedy = "Check NURTURE_HUBSPOT_TOKEN and the scopes of its private app"
        return NotWritten(f"{why} ({status}). {remedy}.", now + _MENDED, stops=True)
    missing = _NO_SUCH.search(_message(body).replace('\\"', '"'))
    if status == 400 and missing:
        why = (
            f"HubSpot is not set up for us: contacts have no property {missing[1]}. `nurture handoffs crm"
            " check`"
        )
        return NotWritten(f"{why} says what is missing", now + _MENDED, stops=True)
    if status in (409, 423):
        return NotWritten(f"HubSpot was busy with this contact ({status})")
    if status >= 500:
        return Unclear(f"HubSpot answered with status {status}")
    what = str(told.get("category", "")) or f"status {status}"
    return Refused(f"HubSpot refused it ({what[:60]}). Look at the contact there.")


def _message(body: Any) -> str:
    return str(_told(body).get("message", ""))


def _told(body: Any) -> Mapping[str, Any]:
    try:
        told = orjson.loads(body or b"{}")
    except (orjson.JSONDecodeError, TypeError):
        return {}
    return told if isinstance(told, dict) else {}
