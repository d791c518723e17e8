"""Make reports on small files, with the templates that come with nurture or with changed ones."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nurture.reporting.leaks.report import LeakReport, report_leaks

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "templates"
FILES = Path(__file__).parent / "files"
NOW = datetime(2026, 11, 30, tzinfo=UTC)

TERRITORIES = """
reps:
  - {id: mara, name: Mara Lindqvist, email: mara@larkfield.example, capacity: 2, manager: lena}
  - {id: tomas, name: Tomas Herrera, email: tomas@larkfield.example, capacity: 2, manager: lena}
  - {id: yuki, name: Yuki Tanabe, email: yuki@larkfield.example, capacity: 2, manager: lena, left_on: 2026-06-30}
managers:
  - {id: lena, name: Lena Voss, email: lena@larkfield.example}
routing:
  - {name: account, to: account owner}
  - {name: dach, when: {field: country, is: [DE, AT, CH]}, to: {rep: mara}, territory: yes}
  - {name: rest, when: always, to: {rep: tomas}, territory: yes}
"""


def make_report(*files: Path, templates: Path = SHIPPED, after: int = 7, **options: Any) -> LeakReport:
    """Return the report on *files* at NOW."""
    return report_leaks(files, templates, SHIPPED, NOW, after=timedelta(days=after), **options)


def write_templates(folder: Path, parts: str = TERRITORIES) -> Path:
    """Copy the templates that come with nurture, with *parts* instead of the same sections of the sales policy."""
    templates = folder / "templates"
    shutil.copytree(SHIPPED, templates)
    policy = templates / "sales/policy.yaml"
    keys = {line.partition(":")[0] for line in parts.splitlines() if line and line[0].isalpha()}
    kept, skips = [], False
    for line in policy.read_text("utf-8").splitlines():
        if line and not line[0].isspace() and not line.startswith("#"):
            skips = line.partition(":")[0] in keys
        if not skips:
            kept.append(line)
    policy.write_text("\n".join(kept) + parts, "utf-8")
    return templates
