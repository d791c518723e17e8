"""Interest after an end starts a new cycle, judged by what is new since a rep answered."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.journey.handoff import responses
from nurture.journey.intake.import_file import import_file
from nurture.journey.tracks import manual
from nurture.runtime.context import AppContext
from tests.journey.builders import add_lead, close_lead, make_context, run_at, sample_rules
from tests.journey.observe import custody, one, record_signal, rows

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONDAY = datetime(2026, 1, 5, 10, tzinfo=UTC)
REASONS = """  bought:
    label: Bought elsewhere
    then: {close: lost, again_after: 270 days}
    ask: Until when?
    return_before: 90 days
  bad-fit:"""
DEMO = """hand_off_when:
  - {name: demo, when: {did: requested_demo}}
"""


@pytest.fixture
def ctx(sqlite_db: Database, tmp_path: Path) -> AppContext:
    rules = sample_rules()
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace("  bad-fit:", REASONS).replace("25}", "60}")
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace("hand_off_when:\n", DEMO)
    return make_context(sqlite_db, tmp_path, MONDAY, rules)


def _offers(ctx: AppContext) -> int:
    count: int = one(ctx, "SELECT count(*) FROM offer")
    return count


def _file(tmp_path: Path, requested: str, day: str) -> Path:
    path = tmp_path / f"leads-{day}.csv"
    columns = "Email,Title,Consent,Demo Requested,Registration Time"
    path.write_text(f"{columns}\nida@people.example,Head,Yes,{requested},{day}\n")
    return path


@pytest.mark.parametrize("end", ["rejected", "closed"])
def test_new_interest_after_an_end_is_not_judged_by_facts_that_were_answered(ctx: AppContext, end: str) -> None:
    lead = add_lead(ctx, demo_requested=True, title="Head", at=MONDAY)
    record_signal(ctx, lead, SignalKind.REQUESTED_DEMO, MONDAY)
    run_at(ctx, MONDAY)
    if end == "rejected":
        responses.reject(ctx, 1, "bad-fit", MONDAY + HOUR)
    else:
        responses.accept(ctx, 1, MONDAY + HOUR)
        close_lead(ctx, lead, Closing.DISCARDED, MONDAY + 2 * HOUR, reason="x")
    record_signal(ctx, lead, SignalKind.DECIDING, MONDAY + 30 * DAY, "2026-09-30")
    run_at(ctx, MONDAY + 30 * DAY, MONDAY + 31 * DAY)
    assert custody(ctx, lead)[0] == "track"
    assert _offers(ctx) == 1
    run_at(ctx, datetime(2026, 7, 3, 9, tzinfo=UTC))  # 90 days before the date
    assert _offers(ctx) == 2


def test_a_lead_closed_by_hand_and_enrolled_again_is_not_offered_for_its_old_request(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head", at=MONDAY)
    record_signal(ctx, lead, SignalKind.REPLIED, MONDAY)
    run_at(ctx, MONDAY)
    responses.accept(ctx, 1, MONDAY)
    close_lead(ctx, lead, Closing.DISCARDED, MONDAY + HOUR, reason="x")
    manual.enroll(ctx, lead, "keep", MONDAY + 2 * HOUR)
    run_at(ctx, MONDAY + 2 * HOUR, MONDAY + DAY)
    assert (custody(ctx, lead), _offers(ctx)) == (("track", "keep"), 1)


def test_a_new_file_that_states_the_wish_anew_counts_again_and_the_old_one_does_not(
    ctx: AppContext, tmp_path: Path
) -> None:
    first = _file(tmp_path, "Yes", "2026-01-04")
    import_file(ctx, first, MONDAY)
    run_at(ctx, MONDAY)
    responses.reject(ctx, 1, "not-now", MONDAY + HOUR)
    import_file(ctx, first, MONDAY + DAY)
    run_at(ctx, MONDAY + DAY, MONDAY + 40 * DAY)
    assert _offers(ctx) == 1
    import_file(ctx, _file(tmp_path, "Yes", "2026-02-20"), MONDAY + 50 * DAY)
    run_at(ctx, MONDAY + 50 * DAY, MONDAY + 51 * DAY)
    assert _offers(ctx) == 2


def test_a_fact_that_a_file_changes_after_the_answer_is_no_longer_spent(ctx: AppContext, tmp_path: Path) -> None:
    import_file(ctx, _file(tmp_path, "No", "2026-01-04"), MONDAY)
    lead = one(ctx, "SELECT id FROM lead")
    record_signal(ctx, lead, SignalKind.REPLIED, MONDAY)
    run_at(ctx, MONDAY)
    responses.reject(ctx, 1, "bad-fit", MONDAY + HOUR)
    import_file(ctx, _file(tmp_path, "Yes", "2026-02-20"), MONDAY + 50 * DAY)
    assert rows(ctx, "SELECT restated_fields FROM lead") == [('["demo_requested"]',)]
    record_signal(ctx, lead, SignalKind.CLICKED, MONDAY + 51 * DAY)
    run_at(ctx, MONDAY + 51 * DAY)
    assert _offers(ctx) == 2
    responses.reject(ctx, 2, "bad-fit", MONDAY + 51 * DAY)
    assert rows(ctx, "SELECT restated_fields FROM lead") == [(None,)]


@pytest.mark.parametrize(
    ("ends", "returns"),
    [(date(2026, 10, 1), datetime(2026, 7, 3, tzinfo=UTC)), (None, datetime(2026, 10, 2, tzinfo=UTC))],
)
def test_a_lead_that_bought_elsewhere_returns_before_its_contract_ends(
    ctx: AppContext, ends: date | None, returns: datetime
) -> None:
    lead = add_lead(ctx, demo_requested=True, title="Head", at=MONDAY)
    run_at(ctx, MONDAY)
    responses.reject(ctx, 1, "bought", MONDAY, ends, "Ole  decides")
    assert custody(ctx, lead) == ("resting", "later")
    assert str(one(ctx, "SELECT due_at FROM custody"))[:10] == f"{returns:%Y-%m-%d}"
    assert one(ctx, "SELECT note FROM offer") == "Ole decides"
    run_at(ctx, returns.replace(hour=12) - DAY)
    assert custody(ctx, lead) == ("resting", "later")
    run_at(ctx, returns.replace(hour=12))
    assert custody(ctx, lead)[0] == ("offer" if ends else "track")


def test_a_lead_does_not_return_to_the_rep_who_gave_it_back(ctx: AppContext) -> None:
    lead = add_lead(ctx, demo_requested=True, title="Head", at=MONDAY)
    run_at(ctx, MONDAY)
    (first,) = rows(ctx, "SELECT rep FROM offer")
    responses.reject(ctx, 1, "wrong-person", MONDAY + HOUR)
    record_signal(ctx, lead, SignalKind.REPLIED, MONDAY + 20 * DAY)
    run_at(ctx, MONDAY + 20 * DAY)
    assert _offers(ctx) == 2
    assert rows(ctx, "SELECT rep FROM offer WHERE id = 2") != [first]
