"""Test that opt-outs in exports of marketing systems and CRMs are read, in the form that each writes."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from nurture.errors import FileUnreadable
from nurture.formats.lead_file import LeadRow, open_leads

EXPORTS = Path(__file__).with_name("exports.csv")
"""System, the header of its export, and cells (column = value) each of which says no."""


def read_exports() -> list[tuple[str, list[str], str, str]]:
    """Return system, header, column and value of each case."""
    found = []
    with EXPORTS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for cell in row["refusals"].split(" | "):
                column, _, value = cell.partition(" = ")
                found.append((row["system"], next(csv.reader([row["header"]])), column, value))
    return found


@pytest.mark.parametrize(("system", "header", "column", "value"), read_exports())
def test_an_opt_out_in_the_form_of_its_system_is_read(
    system: str, header: list[str], column: str, value: str, tmp_path: Path
) -> None:
    assert column in header, system
    path = tmp_path / "export.csv"
    people = {"no@c1.example": {column: value}, "yes@c1.example": {}}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*header, "Consent"])
        writer.writeheader()
        writer.writerows({header[0]: address, "Consent": "Yes"} | cells for address, cells in people.items())
    try:
        rows = {row.email: row for row in open_leads(path) if isinstance(row, LeadRow)}
    except FileUnreadable as error:
        if "looks like" in str(error):  # the import asks
            return
        raise
    refused = rows["no@c1.example"]
    refuses = refused.opted_out or refused.undeliverable or refused.complained or refused.unclear_opt_out
    assert refuses or refused.opted_out_topics or refused.consent_basis is None
    assert rows["yes@c1.example"].consent_basis is not None
