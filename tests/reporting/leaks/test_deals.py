"""Exports of deals in the columns of five systems: which deals were won, lost, and whom they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reporting.leaks.builders import make_report

LEADS = """First Name,Last Name,Email,Lead Status,Created Date,Last Contacted
Ana,Lima,ana@lima.example,Open,2026-01-02,2026-01-05
Bob,Ray,bob@ray.example,Open,2026-01-02,2026-01-05
Cy,Low,cy@low.example,Open,2026-01-02,
"""
NAMED = {
    "pipedrive": """Deal - ID,Deal - Title,Deal - Value,Deal - Currency,Deal - Status,Deal - Won time,Person - Email
1,Lima,12000,EUR,Won,2026-05-20 10:00:00,ana@lima.example
2,Ray,8000,EUR,Lost,,bob@ray.example
3,Low,9000,EUR,Open,,bob@ray.example
""",
    "zoho": """Record Id,Deal Owner,Amount,Deal Name,Closing Date,Account Name,Stage,Contact Name,Created Time
zcrm_1,Mara,"€ 12,000.00",Lima,2026-05-20,Lima,Closed Won,Ana Lima,2026-01-05 10:00:00
zcrm_2,Mara,"€ 8,000.00",Ray,2026-05-20,Ray,Closed-Lost to Competition,Bob Ray,2026-01-05 10:00:00
""",
    "dynamics": """(Do Not Modify) Opportunity,Topic,Potential Customer,Contact,Status,Actual Revenue,Actual Close Date
a1,Lima,Lima GmbH,Ana Lima,Won,12000.00,2026-05-20
a2,Ray,Ray GmbH,Bob Ray,Lost,0.00,2026-05-20
""",
}  # fmt: skip
NAMELESS = {
    "a report": """Opportunity Owner,Account Name,Opportunity Name,Stage,Amount,Close Date,Created Date
Mara,Lima,Lima 1,Closed Won,"$12,000.00",5/20/2026,1/9/2026
Mara,Ray,Ray 1,Closed Lost,"$8,000.00",5/28/2026,1/9/2026
""",
    "fields of the API": """Id,AccountId,Name,StageName,Amount,CloseDate,IsClosed,IsWon,OwnerId,CreatedDate
006,001,Lima 1,Signed,12000.0,2026-05-20,true,true,005,2026-01-09T10:00:00.000Z
007,001,Ray 1,Dropped,8000.0,2026-05-20,true,false,005,2026-01-09T10:00:00.000Z
008,001,Low 1,Talking,8000.0,2026-05-20,false,false,005,2026-01-09T10:00:00.000Z
""",
}


def _files(folder: Path, deals: str) -> tuple[Path, Path]:
    paths = folder / "leads.csv", folder / "deals.csv"
    for path, text in zip(paths, (LEADS, deals), strict=True):
        path.write_text(text, "utf-8")
    return paths


@pytest.mark.parametrize("deals", NAMED.values(), ids=NAMED)
def test_deals_that_name_a_contact_give_the_win_rate_of_leads(tmp_path: Path, deals: str) -> None:
    case = make_report(*_files(tmp_path, deals)).case
    assert case.win_rate is not None
    assert case.win_rate.source.startswith("1 of 2 leads")
    assert case.deal_value is not None
    assert case.deal_value.value.mid == 12_000
    assert case.value is not None


@pytest.mark.parametrize("deals", NAMELESS.values(), ids=NAMELESS)
def test_deals_without_a_contact_give_the_deal_value_alone(tmp_path: Path, deals: str) -> None:
    case = make_report(*_files(tmp_path, deals)).case
    assert case.win_rate is None
    assert case.deal_win_rate is not None
    assert case.deal_win_rate.source == "1 of 2 closed deals were won"
    assert case.deal_value is not None


def test_a_stage_that_is_not_known_counts_as_open_and_is_reported(tmp_path: Path) -> None:
    deals = "Deal Name,Deal Stage,Amount\n" + "".join(f"Deal {at},Phase Blue,100\n" for at in range(4))
    report = make_report(*_files(tmp_path, deals))
    assert report.case.deal_win_rate is None
    assert report.files[1].unknown == {"Phase Blue": 4}
