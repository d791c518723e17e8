"""Tests of qualification: answers are stored with their source, and conditions can use them."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.scoring.bant import Confidence
from nurture.errors import InvalidState
from nurture.journey.tracks.manual import qualify
from nurture.reporting import explain
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import all_rows, custody, one

HOUR = timedelta(hours=1)
POLICY = "sales/policy.yaml"


@pytest.fixture
def ctx(sqlite_db: Database, tmp_path: Path) -> AppContext:
    rules = sample_rules()
    rules[POLICY] = rules[POLICY].replace(
        "  - name: replied\n    when: {did: replied}",
        "  - name: qualified\n    when: {bant: {budget: confirmed, need: known}}",
    )
    return make_context(sqlite_db, tmp_path, rules=rules)


def test_a_qualified_lead_is_handed_off_with_the_reason(ctx: AppContext) -> None:
    lead = add_lead(ctx, need="less stock")
    run_at(ctx, START)
    qualify(ctx, lead, {"budget": "some"}, START, source="ana")
    run_at(ctx, START)
    assert custody(ctx, lead)[0] == "track"
    qualify(
        ctx,
        lead,
        {"budget": "20k"},
        START + HOUR,
        source="ana",
        confidence=Confidence.CONFIRMED,
        stated_on=date(2026, 1, 2),
    )
    run_at(ctx, START + HOUR)
    assert custody(ctx, lead)[0] == "offer"
    reason = one(ctx, "SELECT handoff_reason FROM offer")
    assert reason == "qualified: budget confirmed since 2026-01-02 and need known"
    shown = dict(explain.summary(explain.explain(ctx, lead, START + HOUR)))
    assert shown["budget"] == "20k (confirmed by ana on 2026-01-02)"
    assert shown["need"] == "less stock (imported with the lead)"


def test_the_journal_records_the_source_of_an_answer_and_not_its_text(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    run_at(ctx, START)
    qualify(ctx, lead, {"authority": "SECRET"}, START, source="form")
    assert one(ctx, "SELECT reason FROM journal WHERE event = 'qualified'") == "authority stated by form on 2026-01-05"


def test_an_empty_answer_and_a_future_date_are_refused(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    run_at(ctx, START)
    before = all_rows(ctx)
    with pytest.raises(InvalidState, match="No answer given"):
        qualify(ctx, lead, {}, START, source="ana")
    with pytest.raises(InvalidState, match="is in the future"):
        qualify(ctx, lead, {"need": "x"}, START, source="ana", stated_on=date(2027, 1, 1))
    assert all_rows(ctx) == before
