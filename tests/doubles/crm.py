"""A CRM in memory that does what it is told to: for use cases, beside the strict doubles of real APIs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from nurture.crm.base import CrmDown, NotWritten, Page, Receipt, Record, Refused, Seen, Unclear, Written


@dataclass
class ScriptedCrm:
    """Each call takes the next word of *script*; without one it works. *pages* are what `changes` tells."""

    name: str = "scripted"
    at_once: int = 1
    script: list[str] = field(default_factory=list)
    held: dict[str, Seen] = field(default_factory=dict)
    told: list[tuple[str, str]] = field(default_factory=list)
    pages: list[list[Seen]] = field(default_factory=list)

    def look_up(self, keys: Sequence[str]) -> dict[str, Seen]:
        if self.script and self.script[0] == "down":
            self.script.pop(0)
            raise CrmDown("it is down")
        return {key: self.held[key] for key in keys if key in self.held}

    def put(self, records: Sequence[Record], now: datetime) -> list[Receipt]:
        return [self._put(record, now) for record in records]

    def _put(self, record: Record, now: datetime) -> Receipt:
        does = self.script.pop(0) if self.script else "writes"
        if does in ("writes", "times out after"):
            self.told.append((record.handoff, record.stage.value))
            self.held[record.key] = Seen(
                record.key, "1", now, record.handoff, record.stage, owner=record.owner
            )
        match does:
            case "writes":
                return Written("1")
            case "times out after" | "times out before":
                return Unclear("it did not answer")
            case "refuses":
                return Refused("a field is missing")
            case "is busy":
                return NotWritten("too many calls", now + timedelta(minutes=3), stops=True)
        raise AssertionError(does)

    def changes(self, cursor: str, _limit: int, _now: datetime) -> Page:
        if self.script and self.script[0] == "down":
            self.script.pop(0)
            raise CrmDown("it is down")
        number = int(cursor or 0)
        if number >= len(self.pages):
            return Page((), str(number))
        return Page(self.pages[number], str(number + 1), more=number + 1 < len(self.pages))

    def check(self, _now: datetime) -> Sequence[str]:
        return []

    def close(self) -> None:
        pass
