from __future__ import annotations

import itertools
import shutil
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.db.engine import Database
from nurture.journey.intake.import_file import import_file
from tests.journey.intake.lead_files import NOW, Row, import_leads, lead_states, plain_context, row, rows_of, write_file
from tests.journey.observe import recorded_statements

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
    assert max(costs) < 35


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


LAW = settings(max_examples=25, deadline=None)


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


@LAW
@given(rows=any_rows, batch=st.sampled_from((1, 2, 3)))
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
