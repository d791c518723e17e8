"""What the mappings of CRMs with an API share: our own fields in a record, contact data, times."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from nurture.crm.base import HandoffRecord, Person


class CustomFields(NamedTuple):
    """The names of our own fields in a CRM: who the lead is, and its newest hand-off."""

    key: str
    handoff: str
    status: str
    reason: str

    def values(self, record: HandoffRecord) -> dict[str, str]:
        """Return what every write puts into them."""
        offered_to = f" (offered to {record.offered_to})" if record.offered_to else ""
        status = record.handoff_status.value
        return dict(zip(self, (record.key, record.handoff_key, status, record.reason + offered_to), strict=True))

    def parse(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of `RemoteRecord` that they hold."""
        names = {"key": self.key, "handoff_key": self.handoff, "handoff_status": self.status}
        return {field: row.get(name) or "" for field, name in names.items()}


def list_missing(instructions: Mapping[str, str], existing: Collection[str], sentence: str) -> list[str]:
    """Return *sentence*, with {name} and {how}, for each field that does not exist."""
    return [sentence.format(name=name, how=how) for name, how in instructions.items() if name not in existing]


def contact_fields(person: Person, names: Mapping[str, str]) -> dict[str, str]:
    """Return the known contact data of *person*; *names*: by the CRM's name, ours."""
    values = {name: getattr(person, field) for name, field in names.items()}
    return {name: text for name, text in values.items() if text}


def parse_timestamp(text: str | None) -> datetime | None:
    """Parse a time, in ISO format or in milliseconds; return None if there is none."""
    if not text:
        return None
    if text.isdigit():
        return datetime.fromtimestamp(int(text) / 1000, UTC)
    parsed = datetime.fromisoformat(text)
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
