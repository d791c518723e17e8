"""Map records and errors to and from HubSpot, without I/O."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from nurture.crm.base import HandoffRecord, RemoteRecord
from nurture.crm.mapping import CustomFields, contact_fields, parse_timestamp
from nurture.domain.delivery.receipts import NotSent, Rejected, Unknown

FIELDS: Final = CustomFields("nurture_key", "nurture_handoff", "nurture_handoff_status", "nurture_handoff_reason")
CUSTOM_PROPERTIES: Final = {
    FIELDS.key: "a single-line text that requires unique values",
    FIELDS.handoff: "a single-line text",
    FIELDS.status: "a single-line text",
    FIELDS.reason: "a multi-line text",
}
"""Custom properties of contacts, and how an administrator creates them."""

READ_PROPERTIES: Final = (
    *FIELDS[:3],
    "hs_lead_status",
    "hubspot_owner_id",
    "lifecyclestage",
    "recent_deal_amount",
    "recent_deal_close_date",
    "notes_last_contacted",
    "lastmodifieddate",
)
_CONTACT_PROPERTIES: Final = {
    "email": "email",
    "firstname": "first_name",
    "lastname": "last_name",
    "company": "company",
    "jobtitle": "title",
    "phone": "phone",
    "country": "country",
}
_CUSTOMER: Final = "customer"
_BURST_LIMIT_WAIT: Final = timedelta(seconds=10)
_DAILY_LIMIT_WAIT: Final = timedelta(hours=1)
_SETUP_RETRY_AFTER: Final = timedelta(hours=1)
_EXISTING_ID: Final = re.compile(r"Existing ID: (\d+)")
_MISSING_PROPERTY: Final = re.compile(r"(?:Property|property)[^a-z]{1,6}([a-z0-9_]+)[^a-z]{1,6}does not exist")


def custom_fields(record: HandoffRecord, owner_id: str | None) -> dict[str, str]:
    """Return the properties of every write: the custom properties, and the owner once a rep accepted."""
    return FIELDS.values(record) | ({"hubspot_owner_id": owner_id} if owner_id else {})


def full_record(record: HandoffRecord, owner_id: str | None) -> dict[str, str]:
    """Return the properties of a new contact: contact data and custom properties."""
    return contact_fields(record.person, _CONTACT_PROPERTIES) | custom_fields(record, owner_id)


def parse_record(contact: Any, owners: Mapping[str, str]) -> RemoteRecord:
    """Return a contact as a record. It is won if its lifecycle stage in HubSpot is customer."""
    properties: Mapping[str, str | None] = contact.properties
    won = properties.get("lifecyclestage") == _CUSTOMER
    return RemoteRecord(
        crm_id=str(contact.id),
        changed_at=parse_timestamp(properties.get("lastmodifieddate")) or contact.updated_at.astimezone(UTC),
        crm_status=properties.get("hs_lead_status") or "",
        owner=owners.get(properties.get("hubspot_owner_id") or "", ""),
        touched_at=parse_timestamp(properties.get("notes_last_contacted")),
        closing="won" if won else "",
        closed_at=parse_timestamp(properties.get("recent_deal_close_date")) if won else None,
        amount=float(properties["recent_deal_amount"] or 0) if won and properties.get("recent_deal_amount") else None,
        **FIELDS.parse(properties),
    )


def parse_existing_id(body: Any) -> str | None:
    """Return the id of the existing contact that a conflict names, or None."""
    match = _EXISTING_ID.search(_error_message(body))
    return match[1] if match else None


def receipt_for_error(
    status: int, body: Any, headers: Mapping[str, str], now: datetime
) -> NotSent | Rejected | Unknown:
    """Return the receipt for an error of a write, without its text, which may contain lead data."""
    error = _parse_body(body)
    if status == 429:
        daily = str(error.get("policyName", "")).upper() == "DAILY"
        retry_after = headers.get("Retry-After", "")
        delay = (
            timedelta(seconds=int(retry_after))
            if retry_after.isdigit()
            else _DAILY_LIMIT_WAIT
            if daily
            else _BURST_LIMIT_WAIT
        )
        limit = "daily limit" if daily else "rate limit"
        return NotSent(f"HubSpot's {limit} is reached (429)", now + delay, blocks_all=True)
    if status in (401, 403):
        reason = "HubSpot refuses the token" if status == 401 else "the token lacks a permission"
        remedy = "Check NURTURE_HUBSPOT_TOKEN and the scopes of its private app"
        return NotSent(f"{reason} ({status}). {remedy}.", now + _SETUP_RETRY_AFTER, blocks_all=True)
    missing = _MISSING_PROPERTY.search(_error_message(body).replace('\\"', '"'))
    if status == 400 and missing:
        reason = (
            f"HubSpot is not set up for nurture: contacts have no property {missing[1]}. `nurture handoffs crm check`"
        )
        return NotSent(f"{reason} says what is missing", now + _SETUP_RETRY_AFTER, blocks_all=True)
    if status in (409, 423):
        return NotSent(f"HubSpot was busy with this contact ({status})")
    if status >= 500:
        return Unknown(f"HubSpot responded with status {status}")
    category = str(error.get("category", "")) or f"status {status}"
    return Rejected(f"HubSpot refused it ({category[:60]}). Check the contact in HubSpot.")


def _error_message(body: Any) -> str:
    return str(_parse_body(body).get("message", ""))


def _parse_body(body: Any) -> Mapping[str, Any]:
    try:
        parsed = orjson.loads(body or b"{}")
    except (orjson.JSONDecodeError, TypeError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
