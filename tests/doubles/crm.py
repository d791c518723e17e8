"""A scripted in-memory CRM for tests of use cases; the API doubles are separate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from nurture.crm.base import ChangePage, CrmUnavailable, HandoffRecord, RemoteRecord
from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt, Rejected, Unknown


@dataclass
class ScriptedCrm:
    """Each call takes the next step of *script*, or succeeds without one. `fetch_changes` returns *pages*."""

    name: str = "scripted"
    batch_size: int = 1
    script: list[str] = field(default_factory=list)
    records: dict[str, RemoteRecord] = field(default_factory=dict)
    written: list[tuple[str, str]] = field(default_factory=list)
    pages: list[list[RemoteRecord]] = field(default_factory=list)
    found: tuple[str, str | None] | None = None
    """What the CRM says of a record that is new to it."""

    def look_up(self, keys: Sequence[str]) -> dict[str, RemoteRecord]:
        if self.script and self.script[0] == "down":
            self.script.pop(0)
            raise CrmUnavailable("it is down")
        return {key: self.records[key] for key in keys if key in self.records}

    def upsert(self, records: Sequence[HandoffRecord], now: datetime) -> list[Receipt]:
        return [self._put(record, now) for record in records]

    def _put(self, record: HandoffRecord, now: datetime) -> Receipt:
        step = self.script.pop(0) if self.script else "writes"
        if step in ("writes", "times out after"):
            self.written.append((record.handoff_key, record.handoff_status.value))
            self.records[record.key] = RemoteRecord(
                record.key, "1", now, record.handoff_key, record.handoff_status, owner=record.owner
            )
        match step:
            case "writes":
                return Accepted("1", found=self.found)
            case "times out after" | "times out before":
                return Unknown("it did not answer")
            case "refuses":
                return Rejected("a field is missing")
            case "is busy":
                return NotSent("too many calls", now + timedelta(minutes=3), blocks_all=True)
        raise AssertionError(step)

    def fetch_changes(self, cursor: str, _limit: int, _now: datetime) -> ChangePage:
        if self.script and self.script[0] == "down":
            self.script.pop(0)
            raise CrmUnavailable("it is down")
        number = int(cursor or 0)
        if number >= len(self.pages):
            return ChangePage((), str(number))
        return ChangePage(self.pages[number], str(number + 1), has_more=number + 1 < len(self.pages))

    def check(self, _now: datetime) -> Sequence[str]:
        return []

    def record_url(self, crm_id: str) -> str:
        return f"https://crm.example.com/{crm_id}"

    def close(self) -> None:
        pass
