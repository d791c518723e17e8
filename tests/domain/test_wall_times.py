"""Only the calendar calculates with local times: elsewhere durations are added to UTC, days to dates.

A duration added to a local time is off by an hour across a clock change.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).parents[2]
CALENDAR: Final = "nurture/domain/planning/calendar.py"
ZONED: Final = {
    CALENDAR: "the one place",
    "nurture/definitions/values.py": "looks whether a zone exists",
    "nurture/formats/lead_file.py": "the zone of a file's times, which the reader of dates makes UTC at once",
    "nurture/formats/lead_row.py": "the day of a time in the zone of its file",
    "nurture/formats/places.py": "looks up the offsets of abbreviations of zones",
    "nurture/mail/inbound/calendar_part.py": "reads the start of a meeting in the invitation's zone, and returns UTC",
    "nurture/formats/dates.py": "reads what a file says in its zone or with an offset, and returns UTC",
}
"""Files that may name a zone other than UTC, and why."""


def zones(source: str) -> list[int]:
    """Return the lines that may make a time in a zone other than UTC."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = _called(node)
        zone = next((word.value for word in node.keywords if word.arg in ("tzinfo", "tz")), None)
        if name in ("astimezone", "in_timezone", "in_tz", "fromtimestamp"):
            place = 1 if name == "fromtimestamp" else 0
            zone = node.args[place] if len(node.args) > place else zone or ast.Constant("of this machine")
        if name == "combine" and len(node.args) > 2:
            zone = node.args[2]
        if name in ("ZoneInfo", "gettz") or (zone is not None and not _is_utc(zone)):
            found.append(node.lineno)
    return found


def calculations(source: str) -> list[int]:
    """Return the lines that add to, or subtract from, the result of `calendar.to_local`."""
    tree = ast.parse(source)
    held = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _is_wall(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub)
        for side in (node.left, node.right)
        if _is_wall(side) or (isinstance(side, ast.Name) and side.id in held)
    ]


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _is_utc(zone: ast.expr) -> bool:
    return (isinstance(zone, ast.Name) and zone.id == "UTC") or (isinstance(zone, ast.Constant) and zone.value is None)


def _is_wall(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and _called(value) == "local"


SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for folder in ("nurture", "flows")
    for path in (ROOT / folder).rglob("*.py")
}


def test_only_these_files_know_zones_other_than_utc() -> None:
    assert {name for name, source in SOURCES.items() if zones(source)} == set(ZONED)


def test_nothing_is_added_to_a_wall_time_outside_the_calendar() -> None:
    found = {name: lines for name, source in SOURCES.items() if (lines := calculations(source))}
    found.pop(CALENDAR, None)
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "moment.astimezone(zone)",
        "moment.astimezone()",
        "datetime.fromtimestamp(1, tz=zone)",
        "datetime.combine(day, clock, zone)",
        "moment.replace(tzinfo=zone)",
        "ZoneInfo('Europe/Berlin')",
    ],
)
def test_a_zone_is_found(line: str) -> None:
    assert zones(line) == [1]


def test_utc_is_no_such_zone_and_a_calculation_is_found() -> None:
    for line in ("moment.astimezone(UTC)", "moment.replace(tzinfo=None)", "datetime(2026, 1, 1, tzinfo=UTC)"):
        assert zones(line) == []
    assert calculations("calendar.local(now, zone) + timedelta(days=1)") == [1]
    assert calculations("wall = local(now, zone)\nlater = wall + DAY") == [2]
    assert calculations("calendar.local(now, zone).date() + DAY") == []
