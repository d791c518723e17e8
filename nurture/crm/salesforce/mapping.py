"""Map records and errors to and from Salesforce, without I/O."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from nurture.crm.base import HandoffRecord, RemoteRecord
from nurture.crm.mapping import CustomFields, contact_fields, parse_timestamp
from nurture.domain.delivery.receipts import NotSent, Rejected, Unknown

FIELDS: Final = CustomFields(
    "Nurture_Key__c", "Nurture_Handoff__c", "Nurture_Handoff_Status__c", "Nurture_Handoff_Reason__c"
)
CUSTOM_FIELDS: Final = {
    FIELDS.key: "text of 80 characters, External ID, unique",
    FIELDS.handoff: "text of 80 characters",
    FIELDS.status: "text of 40 characters",
    FIELDS.reason: "long text area",
}
"""Custom fields on Lead, and how an administrator creates them."""

SELECT_LEAD: Final = (
    f"SELECT Id, {', '.join(FIELDS[:3])}, Status, OwnerId, IsConverted, ConvertedOpportunityId, SystemModstamp"
    " FROM Lead"
)
_CONTACT_FIELDS: Final = {
    "FirstName": "first_name",
    "LastName": "last_name",
    "Company": "company",
    "Title": "title",
    "Phone": "phone",
    "Country": "country",
    "Email": "email",
}
_MAX_LENGTHS: Final = {"FirstName": 40, "LastName": 80, "Company": 255, "Title": 128, "Phone": 40, "Country": 80}
_RETRY_AFTER: Final = timedelta(minutes=15)
_SETUP_RETRY_AFTER: Final = timedelta(hours=1)
_BUSY_CODES: Final = frozenset({"UNABLE_TO_LOCK_ROW", "DUPLICATE_VALUE", "SERVER_UNAVAILABLE"})
_SETUP_CODES: Final = frozenset(
    {"INVALID_FIELD", "INVALID_FIELD_FOR_INSERT_UPDATE", "NOT_FOUND_FIELD", "INVALID_TYPE", "INSUFFICIENT_ACCESS"}
)
_REMEDIES: Final = {
    "DUPLICATES_DETECTED": (
        "a duplicate rule blocks this lead. Merge the records that it found, or allow "
        "the connected app's user to save duplicates"
    ),
    "REQUIRED_FIELD_MISSING": "a field that your Salesforce requires is empty. Give it a default value in Salesforce",
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": "a validation rule of your Salesforce blocks this lead",
    "INVALID_CROSS_REFERENCE_KEY": "the owner or the record no longer exists",
    "ENTITY_IS_DELETED": "the record was deleted. Restore it from the recycle bin",
    "INVALID_EMAIL_ADDRESS": "Salesforce rejects the address",
}


def soql_literal(text: str) -> str:
    """Return *text* as a SOQL literal."""
    for letter, escaped in (("\\", "\\\\"), ("'", "\\'"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(letter, escaped)
    return f"'{text}'"


def soql_list(texts: Iterable[str]) -> str:
    """Return *texts* as a SOQL list."""
    return f"({', '.join(map(soql_literal, texts))})"


def soql_timestamp(at: datetime) -> str:
    """Return *at* in SOQL format."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"


def custom_fields(record: HandoffRecord, owner_id: str | None) -> dict[str, str]:
    """Return the fields of every write: the custom fields, and the owner once a rep accepted."""
    return FIELDS.values(record) | ({"OwnerId": owner_id} if owner_id else {})


def full_record(record: HandoffRecord, owner_id: str | None) -> dict[str, str]:
    """Return the fields of a new lead: contact data and custom fields. Missing required fields are "unknown"."""
    person = record.person
    last_name = person.last_name or person.email.partition("@")[0] or "Unknown"
    complete = replace(person, last_name=last_name, company=person.company or "Unknown")
    contact = contact_fields(complete, _CONTACT_FIELDS)
    return {name: text[: _MAX_LENGTHS.get(name)] for name, text in contact.items()} | custom_fields(record, owner_id)


def parse_record(
    row: Mapping[str, Any],
    owners: Mapping[str, str],
    deals: Mapping[str, Mapping[str, Any]],
    last_touches: Mapping[str, datetime],
) -> RemoteRecord:
    """Return a lead as a record. *deals*: closed opportunities; *last_touches*: times of the last completed tasks."""
    deal = deals.get(row["ConvertedOpportunityId"] or "")
    changed = parse_timestamp(row["SystemModstamp"])
    assert changed is not None
    return RemoteRecord(
        crm_id=row["Id"],
        changed_at=changed,
        crm_status=row["Status"] or "",
        owner=owners.get(row["OwnerId"] or "", ""),
        converted=bool(row["IsConverted"]),
        touched_at=last_touches.get(row["Id"]),
        closing=("won" if deal["IsWon"] else "lost") if deal else "",
        closed_at=parse_timestamp(deal["CloseDate"]) if deal else None,
        amount=deal["Amount"] if deal and deal["IsWon"] else None,
        reason=str(deal["StageName"] or "") if deal and not deal["IsWon"] else "",
        **FIELDS.parse(row),
    )


def parse_error_codes(content: Any) -> list[str]:
    """Return the error codes of a response, without texts, which may contain lead data."""
    errors = content if isinstance(content, list) else [content]
    return [str(one["errorCode"]) for one in errors if isinstance(one, dict) and "errorCode" in one]


def receipt_for_error(
    status: int, codes: Sequence[str], fields: Sequence[str], now: datetime
) -> NotSent | Rejected | Unknown:
    """Return the receipt for an error of a write."""
    code = codes[0] if codes else f"status {status}"
    if "REQUEST_LIMIT_EXCEEDED" in codes or status == 429:
        reason = "Salesforce's daily API limit is reached. Raise the limit in Salesforce, or wait"
        return NotSent(f"{reason} ({code}).", now + _RETRY_AFTER, blocks_all=True)
    if status == 401:
        reason = "Salesforce refuses the token. Check the connected app and its user"
        return NotSent(f"{reason} ({code}).", now + _RETRY_AFTER, blocks_all=True)
    if codes and set(codes) <= _BUSY_CODES:
        return NotSent(f"Salesforce was busy with this record ({code})")
    if set(codes) & _SETUP_CODES or (status == 403 and not set(codes) & _REMEDIES.keys()):
        what = f" (field {', '.join(fields)})" if fields else ""
        reason = (
            f"Salesforce is not set up for nurture: {code}{what}. `nurture handoffs crm check` says what is missing"
        )
        return NotSent(reason, now + _SETUP_RETRY_AFTER, blocks_all=True)
    if status >= 500:
        return Unknown(f"Salesforce responded with status {status}")
    if status == 300:
        return Rejected("several Salesforce leads have this key. Merge them in Salesforce, and make the field unique.")
    return Rejected(f"Salesforce refused it: {_REMEDIES.get(code, 'check the record in Salesforce')} ({code}).")
