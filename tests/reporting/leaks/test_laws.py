"""Each figure of the report equals a slow count over the raw rows, and the replay equals an import on a database."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from nurture.db.engine import Database
from nurture.db.tables.leads import address, custody, lead
from nurture.definitions import read_all
from nurture.definitions.folder import read_folder
from nurture.journey.engagement.signals import apply_pending_signals
from nurture.journey.handoff.waiting.checks import check_queue_batch
from nurture.journey.intake.import_file import import_file
from nurture.journey.tracks.advance import advance
from nurture.journey.tracks.enroll import classify
from nurture.reporting.leaks.exports import ExportRow, open_lead_rows, read_rows
from nurture.reporting.leaks.facts import Touch
from nurture.reporting.leaks.replay import PolicyReplay
from nurture.runtime.published import Definitions
from tests.journey.builders import make_context
from tests.reporting.leaks.builders import NOW, SHIPPED, make_report

COLUMNS: Final = (
    "Email", "First Name", "Last Name", "Company", "Lead Owner", "Lead Status", "Created Date", "First Contacted",
    "Number of Times Contacted", "Industry", "Number of Employees", "Job Title", "Consent", "Email Opt Out",
    "Request a Demo", "Purchase Timeframe",
)  # fmt: skip
OWNERS: Final = ("Mara L", "Tomas H", "", "Web Queue", "Old Rep (inactive)")
STATUSES: Final = ("New", "Working", "Unqualified", "Nurture", "Customer", "")

_ROW = st.fixed_dictionaries(
    {
        "person": st.integers(0, 30),
        "company": st.integers(0, 5),
        "owner": st.sampled_from(OWNERS),
        "status": st.sampled_from(STATUSES),
        "age": st.none() | st.integers(0, 500),
        "wait": st.none() | st.integers(-2_000, 60 * 24 * 60),
        "count": st.sampled_from(["", "0", "3"]),
        "industry": st.sampled_from(["Food", "Higher Education", ""]),
        "employees": st.sampled_from(["5", "80", "900", ""]),
        "title": st.sampled_from(["Head of Planning", "Student", ""]),
        "consent": st.sampled_from(["", "Yes", "No"]),
        "opt_out": st.sampled_from(["", "", "Yes"]),
        "demo": st.sampled_from(["", "", "yes"]),
        "timeframe": st.sampled_from(["", "", "Within 3 months", "next year"]),
    }
)


def _times(row: dict[str, Any]) -> tuple[datetime | None, datetime | None]:
    created = NOW - timedelta(days=row["age"], hours=3) if row["age"] is not None else None
    touched = (
        (created or NOW - timedelta(days=90)) + timedelta(minutes=row["wait"]) if row["wait"] is not None else None
    )
    return created, touched if touched is None or touched <= NOW else None


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number, row in enumerate(rows):
            company, (created, touched) = row["company"], _times(row)
            texts = [f"{at:%Y-%m-%d %H:%M}" if at else "" for at in (created, touched)]
            writer.writerow(
                [
                    f"p{number}@firm{company}.example", f"Ann{row['person']}", "Lee", f"Firm {company}", row["owner"],
                    row["status"], *texts, row["count"], row["industry"], row["employees"], row["title"],
                    row["consent"], row["opt_out"], row["demo"], row["timeframe"],
                ]
            )  # fmt: skip


def _is_touched(row: dict[str, Any]) -> bool:
    return _times(row)[1] is not None or row["count"] == "3"


def _is_untouched(row: dict[str, Any]) -> bool:
    return not _is_touched(row) and row["status"] in ("New", "")


def _discards(row: dict[str, Any]) -> bool:
    return row["industry"] == "Higher Education" or row["title"] == "Student" or row["employees"] == "5"


@settings(max_examples=25, derandomize=True)
@given(rows=st.lists(_ROW, min_size=1, max_size=25))
def test_figures_equal_a_slow_count_over_the_rows(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    _write(path := tmp_path / "leads.csv", rows)
    report = make_report(path)
    untouched = [row for row in rows if _is_untouched(row)]
    assert report.untouched == len(untouched)
    assert report.touches[Touch.RECORDED] == sum(map(_is_touched, rows))
    assert report.touches[Touch.GIVEN_UP] == sum(
        not _is_touched(row) and row["status"] in ("Unqualified", "Nurture") for row in rows
    )
    assert sum(report.touches.values()) == report.leads == len(rows)
    by_owner = {one.name: (one.leads, one.untouched) for one in report.by_owner}
    owners = {row["owner"] for row in rows}
    assert by_owner == {
        owner or "(no owner)": (
            sum(row["owner"] == owner for row in rows),
            sum(row["owner"] == owner for row in untouched),
        )
        for owner in owners
    }
    _check_ages(report.by_age, rows)
    _check_times(report.first_touches, rows)
    _check_owners(report.owners, rows)
    _check_duplicates(report.duplicates, rows)
    assert report.leaked == _count_leaked(rows)


_DEAL = st.tuples(
    st.sampled_from(["Closed Won", "Closed Lost", "Contract Sent"]),
    st.none() | st.integers(1, 90_000),
    st.lists(st.integers(0, 14), max_size=3),
)


@settings(max_examples=25, derandomize=True)
@given(rows=st.lists(_ROW, min_size=10, max_size=15), deals=st.lists(_DEAL, min_size=1, max_size=8))
def test_the_business_case_equals_a_slow_computation(
    tmp_path: Path, rows: list[dict[str, Any]], deals: list[tuple[str, int | None, list[int]]]
) -> None:
    _write(path := tmp_path / "leads.csv", rows)
    emails = [f"p{number}@firm{row['company']}.example" for number, row in enumerate(rows)]
    known = dict(enumerate(emails))
    lines = []
    for at, (stage, amount, of) in enumerate(deals):
        people = ";".join(known.get(one, f"x{one}@x.example") for one in of)
        lines.append(f"Deal {at},{stage},{'' if amount is None else amount},{people}")
    (other := tmp_path / "deals.csv").write_text(
        "\n".join(["Deal Name,Deal Stage,Amount,Contact Email", *lines]) + "\n", "utf-8"
    )
    case = make_report(path, other).case
    amounts = [amount for stage, amount, _ in deals if stage == "Closed Won" and amount]
    assert (case.deal_value is None) is (not amounts)
    if case.deal_value is not None:
        assert case.deal_value.value.mid == pytest.approx(sum(amounts) / len(amounts))
    named = [(stage, next((one for one in of if one in known), None)) for stage, _, of in deals]
    if any(lead is not None for _, lead in named):
        won = {lead for stage, lead in named if stage == "Closed Won"} - {None}
        dealt = {one for _, _, of in deals for one in of if one in known}
        touched = {at for at, row in enumerate(rows) if not _is_untouched(row)} | dealt
        worked = {at for at in touched if rows[at]["status"] != "Customer"} | won
        assert (case.win_rate is None) is (not worked)
        if case.win_rate is not None:
            assert case.win_rate.value.mid == pytest.approx(len(won) / len(worked))
            assert case.wins is not None
            assert case.wins.mid == pytest.approx(_count_leaked(rows, dealt) * len(won) / len(worked))


def _check_ages(found: Any, rows: list[dict[str, Any]]) -> None:
    for one in found:
        digits = [int(word) for word in one.name.split() if word.isdigit()]
        if "not known" in one.name:
            members = [row for row in rows if row["age"] is None]
        else:
            low, high = (0, digits[0]) if one.name.startswith("up") else tuple(digits or (366, 10_000))
            members = [row for row in rows if row["age"] is not None and low <= row["age"] <= high]
        assert (one.leads, one.untouched) == (len(members), sum(map(_is_untouched, members)))
    assert sum(one.leads for one in found) == len(rows)


def _check_times(found: Any, rows: list[dict[str, Any]]) -> None:
    spans = [second - first for first, second in map(_times, rows) if first and second]
    after = sorted(span / timedelta(hours=1) for span in spans if span >= timedelta())
    assert (found.leads, found.before) == (len(after), len(spans) - len(after))
    assert found.median_hours == (median(after) if after else None)
    assert dict(found.speeds)["within an hour"] == sum(1 / 12 < hours <= 1 for hours in after)
    assert sum(count for _, count in found.speeds) == len(after)


def _check_owners(found: Any, rows: list[dict[str, Any]]) -> None:
    open_rows = [row for row in rows if row["status"] not in ("Unqualified", "Customer")]
    counts = Counter(row["owner"] for row in open_rows)
    assert found[:4] == (len(open_rows), counts[""], counts["Web Queue"], counts["Old Rep (inactive)"])


def _check_duplicates(found: Any, rows: list[dict[str, Any]]) -> None:
    people = Counter((row["person"], row["company"]) for row in rows)
    assert found.people == sum(count > 1 for count in people.values())
    assert found.extra_addresses == sum(count - 1 for count in people.values())
    owned = sorted(
        {
            (row["company"], row["owner"])
            for row in rows
            if row["status"] != "Unqualified" and row["owner"] in OWNERS[:2]
        }
    )
    assert found.companies == sum(len(list(group)) > 1 for _, group in groupby(owned, lambda pair: pair[0]))


def _count_leaked(rows: list[dict[str, Any]], dealt: Collection[int] = ()) -> int:
    numbered = list(enumerate(rows))
    touched = {(row["person"], row["company"]) for at, row in numbered if at in dealt or not _is_untouched(row)}
    untouched = [row for at, row in numbered if at not in dealt and _is_untouched(row)]
    overdue = [row for row in untouched if row["age"] is None or row["age"] >= 7]
    kept = {(row["person"], row["company"]) for row in overdue if not _discards(row)}
    return len(kept - touched)


def test_the_replay_puts_each_lead_where_an_import_and_a_run_put_it(tmp_path: Path, sqlite_url: str) -> None:
    choose = Random(71).choice
    rows = [
        {
            "person": number, "company": choose(range(40)), "owner": choose(OWNERS), "status": choose(STATUSES),
            "age": choose([None, 3, 40, 200]), "wait": None, "count": "", "industry": choose(["Food", ""]),
            "employees": choose(["5", "80", "900"]), "title": choose(["Head of Planning", "Student", ""]),
            "consent": choose(["", "Yes", "No"]), "opt_out": choose(["", "", "Yes"]), "demo": choose(["", "", "yes"]),
            "timeframe": choose(["", "Within 3 months", "next year"]),
        }
        for number in range(400)
    ]  # fmt: skip
    _write(path := tmp_path / "leads.csv", rows)
    loaded = read_all.load(read_folder(SHIPPED))
    programs = {name: one.program(1) for name, one in loaded.tracks.items()}
    replay = PolicyReplay(Definitions(programs, loaded.policy(1), loaded.sending), NOW)
    file, touches = open_lead_rows(path, {}, NOW)
    with file:
        kept = {one.row.line: one.row for one in read_rows(file, touches) if isinstance(one, ExportRow)}
    found = {kept[one.line].email: one.actual for one in replay.decide(list(kept.values()), path.name, None)}
    assert len(found) == len(rows)
    assert len(Counter(found.values())) > 6
    assert found == _import(sqlite_url, tmp_path, path)


def _import(url: str, folder: Path, path: Path) -> dict[str | None, str]:
    """Return the custody of each lead after an import and a run up to hand-off."""
    database = Database(url)
    ctx = make_context(database, folder, NOW, dict(read_folder(SHIPPED)))
    import_file(ctx, path, NOW)
    apply_pending_signals(ctx, NOW)
    classify(ctx, NOW)
    advance(ctx, NOW)
    check_queue_batch(ctx, NOW, 10_000)
    statement = (
        select(address.c.email, custody.c.kind, custody.c.ref)
        .join(lead, lead.c.address_id == address.c.id)
        .join(custody, custody.c.lead_id == lead.c.id)
    )
    with database.read() as tx:
        placed = {email: f"{kind} {ref}" for email, kind, ref in tx.execute(statement).all()}
    database.close()
    return placed
