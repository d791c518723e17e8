"""What the page on deliverability counts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.journey.consent import suppression
from nurture.reporting.console.deliverability import DAYS, DeliveryDay, load_deliverability
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.observe import recorded_statements


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def test_days_count_what_was_sent_bounced_and_complained_about(ctx: AppContext) -> None:
    for name in ("a", "b", "c"):
        add_lead(ctx, email=f"{name}@people.example", full_name="Mia Wong", title="Head of planning")
    run_at(ctx, START, START + timedelta(hours=2))
    with ctx.database.write() as tx:
        ids = [row[0] for row in tx.exec_driver_sql("SELECT id FROM message WHERE kind = 'touch' ORDER BY id")]
        tx.exec_driver_sql(f"UPDATE message SET state = 'bounced' WHERE id = {ids[0]}")
        tx.exec_driver_sql(f"UPDATE message SET state = 'complained' WHERE id = {ids[1]}")
    found = load_deliverability(ctx, START + timedelta(hours=3))
    assert len(found.days) == DAYS
    assert found.days[-1] == DeliveryDay(START.date(), 3, 1, 1)
    assert (found.sending.provider, found.sending.last_accepted) == (ctx.provider.name, START + timedelta(hours=2))
    assert (found.sending.overdue, found.sending.oldest) == (0, None)
    with ctx.database.write() as tx:
        tx.exec_driver_sql(f"UPDATE message SET state = 'planned' WHERE id = {ids[2]}")
    late = load_deliverability(ctx, START + timedelta(days=9)).sending
    assert late.overdue == 1
    assert late.oldest is not None
    suppression.suppress(ctx, ["x@people.example"], START)
    assert load_deliverability(ctx, START + timedelta(hours=3)).opt_outs["admin"] == (1, 1)


def test_the_number_of_statements_does_not_grow_with_the_leads(ctx: AppContext) -> None:
    counts = []
    for size in (2, 20):
        for number in range(size):
            add_lead(ctx, email=f"p{size}-{number}@people.example", title="Head of planning")
        run_at(ctx, START + timedelta(hours=size), START + timedelta(hours=size + 1))
        with ctx.database.write() as tx:
            tx.exec_driver_sql("UPDATE message SET state = 'unknown' WHERE kind = 'touch'")
        load_deliverability(ctx, START + timedelta(hours=size + 2))
        with recorded_statements(ctx.database) as statements:
            load_deliverability(ctx, START + timedelta(hours=size + 2))
        counts.append(len(statements))
    assert counts[0] == counts[1]
