"""Salesforce's words: fields, queries, payloads and what its errors mean. Nothing here calls anybody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from nurture.crm.base import NotWritten, Record, Refused, Seen, Unclear

KEY: Final = "Nurture_Key__c"
HANDOFF: Final = "Nurture_Handoff__c"
STAGE: Final = "Nurture_Status__c"
WHY: Final = "Nurture_Why__c"
FIELDS: Final = {
    KEY: "text of 80 characters, External ID, unique",
    HANDOFF: "text of 80 characters",
    STAGE: "text of 40 characters",
    WHY: "long text area",
}
"""Our own fields on Lead, and how an administrator makes them."""

SEEN: Final = (
    f"SELECT Id, {KEY}, {HANDOFF}, {STAGE}, Status, OwnerId, ConvertedOpportunityId, SystemModstamp FROM Lead"
)
_SIZES: Final = {"FirstName": 40, "LastName": 80, "Company": 255, "Title": 128, "Phone": 40, "Country": 80}
_LATER: Final = timedelta(minutes=15)
_MENDED: Final = timedelta(hours=1)
_BUSY: Final = frozenset({"UNABLE_TO_LOCK_ROW", "DUPLICATE_VALUE", "SERVER_UNAVAILABLE"})
_SET_UP: Final = frozenset(
    {
        "INVALID_FIELD",
        "INVALID_FIELD_FOR_INSERT_UPDATE",
        "NOT_FOUND_FIELD",
        "INVALID_TYPE",
        "INSUFFICIENT_ACCESS",
    }
)
_REMEDIES: Final = {
    "DUPLICATES_DETECTED": (
        "a duplicate rule keeps this lead out. Merge the records that it found, or let "
        "the connected app's user save duplicates"
    ),
    "CANNOT_UPDATE_CONVERTED_LEAD": "the lead was converted there: sales works on it as a contact already",
    "REQUIRED_FIELD_MISSING": "a field that your Salesforce requires is empty. Give it a default value there",
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": "a validation rule of your Salesforce keeps this lead out",
    "INVALID_CROSS_REFERENCE_KEY": "the owner or the record is not there any more",
    "ENTITY_IS_DELETED": "the record was deleted there. Take it out of the recycle bin",
    "INVALID_EMAIL_ADDRESS": "Salesforce does not take the address",
}


def quoted(text: str) -> str:
    """Return *text* as a literal of SOQL."""
    for letter, written in (("\\", "\\\\"), ("'", "\\'"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(letter, written)
    return f"'{text}'"


def listed(texts: Iterable[str]) -> str:
    """Return *texts* as a list of SOQL."""
    return f"({', '.join(map(quoted, texts))})"


def stamp(moment: datetime) -> str:
    """Return *moment* as SOQL writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def moment_of(text: str | None) -> datetime | None:
    """Return the moment that Salesforce wrote, None for none."""
    if not text:
        return None
    read = datetime.fromisoformat(text.replace("+0000", "+00:00"))
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def ours(record: Record, owner_id: str | None) -> dict[str, Any]:
    """Return what we write on every lead: our own fields, and the owner once a rep accepted."""
    told: dict[str, Any] = {
        HANDOFF: record.handoff,
        STAGE: record.stage.value,
        WHY: f"{record.why} (offered to {record.offered_to})" if record.offered_to else record.why,
    }
    return told | ({"OwnerId": owner_id} if owner_id else {})


def whole(record: Record, owner_id: str | None) -> dict[str, Any]:
    """Return a new lead: who it is as well. What is required there and nobody told is said to be unknown."""
    who = record.person
    named = {
        "FirstName": who.first_name,
        "LastName": who.last_name or who.email.partition("@")[0] or "Unknown",
        "Company": who.company or "Unknown",
        "Title": who.title,
        "Phone": who.phone,
        "Country": who.country,
    }
    cut = {name: text[: _SIZES[name]] for name, text in named.items() if text}
    return cut | ({"Email": who.email} if who.email else {}) | ours(record, owner_id)


def seen_of(
    row: Mapping[str, Any],
    owners: Mapping[str, str],
    deals: Mapping[str, Mapping[str, Any]],
    touched: Mapping[str, datetime],
) -> Seen:
    """Return a lead as we see it; *deals* are closed opportunities, *touched* the last completed tasks."""
    deal = deals.get(row["ConvertedOpportunityId"] or "")
    changed = moment_of(row["SystemModstamp"])
    assert changed is not None
    return Seen(
        key=row[KEY],
        crm_id=row["Id"],
        changed_at=changed,
        handoff=row[HANDOFF] or "",
        stage=row[STAGE] or "",
        status=row["Status"] or "",
        owner=owners.get(row["OwnerId"] or "", ""),
        touched_at=touched.get(row["Id"]),
        closing=("won" if deal["IsWon"] else "lost") if deal else "",
        closed_at=moment_of(deal["CloseDate"]) if deal else None,
        amount=deal["Amount"] if deal and deal["IsWon"] else None,
        reason=str(deal["StageName"] or "") if deal and not deal["IsWon"] else "",
    )


def codes_of(content: Any) -> list[str]:
    """Return the error codes in an answer; texts are left alone: they may repeat what a lead wrote."""
    told = content if isinstance(content, list) else [content]
    return [str(one["errorCode"]) for one in told if isinstance(one, dict) and "errorCode" in one]


def receipt_of(
    status: int, codes: Sequence[str], fields: Sequence[str], now: datetime
) -> NotWritten | Refused | Unclear:
    """Return what an error means for a record that was being written."""
    code = codes[0] if codes else f"status {status}"
    if "REQUEST_LIMIT_EXCEEDED" in codes or status == 429:
        why = "Salesforce takes no more calls today. Raise the limit there, or wait"
        return NotWritten(f"{why} ({code}).", now + _LATER, stops=True)
    if status == 401:
        why = "Salesforce refuses our token. Check the connected app and its user"
        return NotWritten(f"{why} ({code}).", now + _LATER, stops=True)
    if codes and set(codes) <= _BUSY:
        return NotWritten(f"Salesforce was busy with this record ({code})")
    if set(codes) & _SET_UP or (status == 403 and not set(codes) & _REMEDIES.keys()):
        what = f" (field {', '.join(fields)})" if fields else ""
        why = (
            f"Salesforce is not set up for us: {code}{what}. `nurture handoffs crm check` says what is"
            " missing"
        )
        return NotWritten(why, now + _MENDED, stops=True)
    if status >= 500:
        return Unclear(f"Salesforce answered with status {status}")
    if status == 300:
        return Refused("several Salesforce leads have this key. Merge them there, and make the field unique.")
    return Refused(f"Salesforce refused it: {_REMEDIES.get(code, 'look at the record there')} ({code}).")
