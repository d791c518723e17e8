from __future__ import annotations

import itertools
import shutil
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import text

from nurture.db.engine import Database
from nurture.journey.intake.import_file import import_file
from nurture.reporting.audit import run_audit
from tests.journey.intake.lead_files import NOW, Row, import_leads, lead_states, plain_context, row, rows_of, write_file
from tests.journey.observe import recorded_statements
from tests.laws import law_settings

_numbers = itertools.count(1)


def mixed(count: int, offset: int = 0) -> list[Row]:
    kinds = ({}, {"Status": "Closed Won"}, {"Opted Out": "yes"}, {"Consent": ""}, {"Status": "Working", "Owner": "Bo"})
    return [
        row(f"p{n + offset}@example.com", Lead_ID=str(n + offset), Registered_On="2026-01-01", Company=f"Firm {n}")
        | kinds[n % 5]
        for n in range(count)
    ]


def test_a_batch_costs_the_same_statements_for_ten_rows_and_a_thousand(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path)
    costs = []
    for count, offset in ((10, 0), (1_000, 10_000)):
        import_leads(ctx, tmp_path, *mixed(count, offset))
        changed = [one | {"Company": "Other", "Status": "Closed Won"} for one in mixed(count, offset)]
        moved = [one | {"Email": f"q{one['Email']}"} for one in mixed(count, offset)]
        ambiguous = [one | {"Lead ID": str(int(one["Lead ID"]) - n % 2)} for n, one in enumerate(moved)]
        for rows in (mixed(count, offset + 100_000), changed, moved, ambiguous):
            with recorded_statements(db) as statements:
                import_leads(ctx, tmp_path, *rows)
            costs.append(len(statements))
    assert costs[:4] == costs[4:]
    # Among them the counts of days, signals and leads, and the stage intervals; SQLite asks apart who was written.
    assert max(costs) < (44 if db.is_sqlite else 43)


@pytest.mark.slow
def test_an_import_runs_in_constant_memory(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = plain_context(sqlite_db, tmp_path, batch=250)
    import_leads(ctx, tmp_path, *mixed(300, 900_000))
    peaks = []
    for count, offset in ((3_000, 0), (9_000, 100_000)):
        path = write_file(tmp_path, mixed(count, offset))
        tracemalloc.start()
        import_file(ctx, path, NOW)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 6,000 rows more would take 6 MB if they were kept; the limit leaves room for caches that fill.
    assert peaks[1] < peaks[0] + 1_500_000


LAW = law_settings(25)


@contextmanager
def fresh(url: str, folder: Path) -> Iterator[Database]:
    path = folder / f"law-{next(_numbers)}.db"
    shutil.copyfile(url.removeprefix("sqlite:///"), path)
    db = Database(f"sqlite:///{path}")
    try:
        yield db
    finally:
        db.close()


CELLS: dict[str, Sequence[str]] = {
    "Status": ("", "", "Open", "Working", "Closed Won", "Lost"),
    "Owner": ("", "Bo"),
    "Consent": ("", "yes"),
    "Opted Out": ("", "", "yes"),
    "Registered On": ("", "2026-02-03", "2026-02-04"),
    "Attended": ("", "yes", "no"),
    "Purchase Timeframe": ("", "3 months", "June 2026"),
    "Created At": ("", "2026-01-09"),
    "Country": ("", "France"),
}


@st.composite
def people(draw: st.DrawFn) -> list[Row]:
    """Generate rows of people; each person has one id, one address or both, and one status."""
    found: list[Row] = []
    for number in range(draw(st.integers(1, 5))):
        known_by = draw(st.sampled_from(("both", "id", "address")))
        person = {"Lead ID": str(number)} if known_by != "address" else {}
        person |= {"Email": f"p{number}@example.com"} if known_by != "id" else {}
        person |= {name: draw(st.sampled_from(texts)) for name, texts in CELLS.items()}
        changes = draw(st.sampled_from(([{"Company": "Firm"}, {"Job Title": "Head"}], [{"Company": "Firm"}], [{}])))
        found += [person | some for some in changes]
    return found


@LAW
@given(rows=people(), chance=st.randoms(use_true_random=False), batch=st.sampled_from((1, 2, 2_000)))
def test_order_repetition_and_splitting_into_files_change_nothing(
    sqlite_url: str, tmp_path: Path, rows: list[Row], chance: Any, batch: int
) -> None:
    with fresh(sqlite_url, tmp_path) as one, fresh(sqlite_url, tmp_path) as other:
        import_leads(plain_context(one, tmp_path), tmp_path, *rows)
        shuffled = rows + [each for each in rows if chance.random() < 0.5]
        chance.shuffle(shuffled)
        cut = chance.randint(0, len(shuffled))
        for part in (shuffled[:cut], shuffled[cut:]):
            if part:
                import_leads(plain_context(other, tmp_path, batch), tmp_path, *part)
        assert lead_states(other) == lead_states(one)
        assert import_leads(plain_context(one, tmp_path), tmp_path, *rows).unchanged == len(rows)


any_rows = st.lists(
    st.fixed_dictionaries(
        {
            "Lead ID": st.sampled_from(("", "1", "2", "3")),
            "Email": st.sampled_from(("", "a@example.com", "b@example.com", "c@example.com")),
            "Company": st.sampled_from(("Firm", "Other")),
        }
        | {name: st.sampled_from(texts) for name, texts in CELLS.items()}
    ),
    min_size=1,
    max_size=8,
)

_NAMED_TWICE: Row = {"Lead ID": "2", "Company": "Firm", **dict.fromkeys(CELLS, "")}


@LAW
@given(rows=any_rows, batch=st.sampled_from((1, 2, 3)))
@example(
    rows=[_NAMED_TWICE | {"Email": "a@example.com"}, _NAMED_TWICE | {"Email": "b@example.com", "Opted Out": "yes"}],
    batch=1,
)
def test_the_batch_size_changes_nothing(sqlite_url: str, tmp_path: Path, rows: list[Row], batch: int) -> None:
    with fresh(sqlite_url, tmp_path) as one, fresh(sqlite_url, tmp_path) as other:
        whole = import_leads(plain_context(one, tmp_path), tmp_path, *rows)
        cut = import_leads(plain_context(other, tmp_path, batch), tmp_path, *rows)
        assert lead_states(other) == lead_states(one)
        assert (cut.new, cut.updated, cut.unchanged, cut.signals) == (
            whole.new,
            whole.updated,
            whole.unchanged,
            whole.signals,
        )
        assert cut.rows == cut.new + cut.updated + cut.unchanged + cut.rejected
        query = "SELECT lead_id, event, custody_from, custody_to, ref FROM journal ORDER BY lead_id, id"
        assert rows_of(other, query) == rows_of(one, query)


NAMES = {"a@example.com": "Ana", "b@example.com": "Bo", "c@example.com": "Cy", "": ""}


@st.composite
def lists(draw: st.DrawFn) -> list[list[Row]]:
    """Generate files in which ids, addresses and names repeat; an address is of one person, an id of anybody."""
    people = st.tuples(st.sampled_from(("", "1", "2")), st.sampled_from(sorted(NAMES)), st.sampled_from(("X", "Y")))
    files = st.lists(st.lists(people, min_size=1, max_size=5), min_size=1, max_size=3)
    return [
        [
            row(email, Lead_ID=id_, First_Name=NAMES[email] or draw(st.sampled_from(("Ana", "Di"))), Company=company)
            for id_, email, company in file
        ]
        for file in draw(files)
    ]


@LAW
@given(files=lists(), source=st.sampled_from(("crm", None)))
def test_everybody_in_a_file_is_there_by_name_or_waits_for_a_person(
    sqlite_url: str, tmp_path: Path, files: list[list[Row]], source: str | None
) -> None:
    with fresh(sqlite_url, tmp_path) as db:
        ctx = plain_context(db, tmp_path)
        for rows in files:
            done = import_file(ctx, write_file(tmp_path, rows), NOW, source=source)
            assert done.rows == len(rows) == done.new + done.updated + done.unchanged + done.rejected
        again = import_file(ctx, write_file(tmp_path, files[-1]), NOW, source=source)
        assert (again.rows, again.unchanged) == (len(files[-1]), len(files[-1]))
        with db.read() as tx:
            query = "SELECT fields, normalized FROM lead LEFT JOIN address ON address.id = address_id"
            found = [(orjson.loads(fields), address) for fields, address in tx.execute(text(query))]
        there = {(address or fields.get("email") or "", fields["first_name"]) for fields, address in found}
        names = {name for _, name in there}
        for one in (one for rows in files for one in rows):
            assert (one["Email"], one["First Name"]) in there or (not one["Email"] and one["First Name"] in names)
        assert run_audit(ctx, NOW).ok


def test_rows_that_mean_a_known_lead_by_its_id_and_by_its_address_are_compared_once(
    db: Database, tmp_path: Path
) -> None:
    ctx = plain_context(db, tmp_path)
    import_leads(ctx, tmp_path, row("a@example.com", Lead_ID="1", First_Name="Ana"))
    twice = [row("a@example.com", First_Name="Ana", Company="X"), row("", Lead_ID="1", First_Name="Ana", Company="Y")]
    assert import_leads(ctx, tmp_path, *twice).updated == 2
    before = lead_states(db)
    again = import_leads(ctx, tmp_path, *twice)
    assert (again.rows, again.unchanged) == (2, 2)
    assert lead_states(db) == before


def test_a_person_who_stands_in_a_file_twice_is_compared_once(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path, batch=1)
    twice = [
        row(Lead_ID="1", Company="Souza", Status="Working", Owner="Bo"),
        row("bo@example.com"),
        row(Lead_ID="2", Company="Souza Foods", Status="Open"),
        row("", Lead_ID="2", Job_Title="Head"),
    ]
    first = import_leads(ctx, tmp_path, *twice)
    assert (first.rows, first.new, first.updated) == (4, 2, 2)
    before = lead_states(db)
    again = import_leads(ctx, tmp_path, *twice)
    assert (again.updated, again.unchanged) == (0, 4)
    assert lead_states(db) == before
    query = "SELECT event FROM journal ORDER BY lead_id"
    assert rows_of(db, query) == [("imported",), ("imported",)]
    assert rows_of(db, "SELECT external_id FROM identity ORDER BY 1") == [("1",), ("2",)]
