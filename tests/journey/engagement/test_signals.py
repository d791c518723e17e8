"""Test recording and applying signals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.errors import InvalidState
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.leads import signal_queries
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, close_lead, make_context, run_at
from tests.journey.observe import all_rows, custody, due_at, new_signal, one, record_signal, rows, worker_context, write

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def _engagement(ctx: AppContext, lead: int) -> float:
    value: float = one(ctx, "SELECT engagement FROM lead WHERE id = :id", id=lead)
    return value


def test_a_signal_is_scored_and_wakes_its_lead(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Clerk")
    run_at(ctx, START)
    assert due_at(ctx, lead) > START + DAY  # type: ignore[operator]
    assert record_signal(ctx, lead, SignalKind.CLICKED, START + HOUR) == 1
    assert _engagement(ctx, lead) == 10
    assert due_at(ctx, lead) == START + HOUR


def test_a_natural_key_counts_once_however_often_it_comes(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    for _ in range(3):
        record_signal(ctx, lead, SignalKind.CLICKED, START)
    reported = [new_signal(lead, SignalKind.CLICKED, START)] * 3
    assert engagement_signals.record(ctx, reported, START) == 0
    assert one(ctx, "SELECT count(*) FROM signal") == 1
    assert _engagement(ctx, lead) == 10


def test_the_same_words_of_the_same_second_are_one_signal_and_others_are_others() -> None:
    one_click = engagement_signals.build_reported_signal(1, SignalKind.CLICKED, None, START, START, "01-hello", "guide")
    keys = {
        one_click.natural_key,
        engagement_signals.build_reported_signal(
            1, SignalKind.CLICKED, None, START, START + DAY, "01-hello", "guide"
        ).natural_key,
        engagement_signals.build_reported_signal(
            1, SignalKind.CLICKED, None, START + timedelta(milliseconds=5), START, "01-hello", "guide"
        ).natural_key,
    }
    assert len(keys) == 1
    others = {
        engagement_signals.build_reported_signal(
            2, SignalKind.CLICKED, None, START, START, "01-hello", "guide"
        ).natural_key,
        engagement_signals.build_reported_signal(
            1, SignalKind.REPLIED, None, START, START, "01-hello", "guide"
        ).natural_key,
        engagement_signals.build_reported_signal(
            1, SignalKind.CLICKED, None, START + timedelta(seconds=1), START
        ).natural_key,
        engagement_signals.build_reported_signal(
            1, SignalKind.CLICKED, None, START, START, "02-more", "guide"
        ).natural_key,
        engagement_signals.build_reported_signal(
            1, SignalKind.CLICKED, None, START, START, "01-hello", "price"
        ).natural_key,
    }
    assert len(others - keys) == 5


def test_signals_out_of_order_give_the_score_that_they_give_in_order(ctx: AppContext) -> None:
    one_lead, other = add_lead(ctx), add_lead(ctx)
    early, late = START, START + 10 * DAY
    for at in (early, late):
        engagement_signals.record(ctx, [new_signal(one_lead, SignalKind.CLICKED, at)], late)
    for at in (late, early):
        engagement_signals.record(ctx, [new_signal(other, SignalKind.CLICKED, at)], late)
    assert _engagement(ctx, other) == pytest.approx(_engagement(ctx, one_lead))


def test_an_unsubscription_suppresses_the_address_and_the_lead_leaves_its_track(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START)
    record_signal(ctx, lead, SignalKind.UNSUBSCRIBED, START + HOUR)
    run_at(ctx, START + HOUR)
    assert custody(ctx, lead) == ("queue", "suppressed")
    assert rows(ctx, "SELECT action, scope, source FROM suppression") == [("suppress", "global", "import")]


@pytest.mark.parametrize("kind", [SignalKind.BOUNCED, SignalKind.COMPLAINED])
def test_bounces_and_complaints_suppress_too(ctx: AppContext, kind: SignalKind) -> None:
    lead = add_lead(ctx, title="Head")
    record_signal(ctx, lead, kind, START)
    run_at(ctx, START)
    assert custody(ctx, lead) == ("queue", "suppressed")


def test_the_newest_statement_of_when_it_decides_counts(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    record_signal(ctx, lead, SignalKind.DECIDING, START + DAY, "2027-01-31")
    assert one(ctx, "SELECT count(*) FROM lead WHERE decides_on = :on", on=_day(ctx, 2027, 1, 31)) == 1
    engagement_signals.record(ctx, [new_signal(lead, SignalKind.DECIDING, START, "2026-06-30")], START + 2 * DAY)
    assert one(ctx, "SELECT count(*) FROM lead WHERE decides_on = :on", on=_day(ctx, 2027, 1, 31)) == 1


def _day(ctx: AppContext, *parts: int) -> date | str:
    return date(*parts).isoformat() if ctx.database.is_sqlite else date(*parts)


@pytest.mark.parametrize("value", [None, "", "soon", "2026-02-30", "31.12.2026", "2026-13-01"])
def test_a_lead_decides_on_a_date(value: str | None) -> None:
    with pytest.raises(InvalidState, match="2027-03-31"):
        engagement_signals.validate_signal("deciding", value)


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(InvalidState, match="clicked"):
        engagement_signals.validate_signal("clikced", None)


def test_an_invalid_date_from_a_source_without_a_check_stops_no_other_signal(ctx: AppContext) -> None:
    odd, fine = add_lead(ctx), add_lead(ctx)
    reported = [new_signal(odd, SignalKind.DECIDING, START, "soon"), new_signal(fine, SignalKind.CLICKED, START)]
    assert engagement_signals.record(ctx, reported, START) == 2
    assert _engagement(ctx, fine) == 10
    assert one(ctx, "SELECT count(*) FROM signal WHERE applied_at IS NULL") == 0
    assert one(ctx, "SELECT count(*) FROM lead WHERE decides_on IS NOT NULL") == 0


@pytest.mark.parametrize("closing", [Closing.DISCARDED, Closing.LOST, Closing.UNREACHABLE])
def test_a_closed_lead_returns_with_new_interest(ctx: AppContext, closing: Closing) -> None:
    lead = add_lead(ctx, title="Clerk")
    run_at(ctx, START)
    close_lead(ctx, lead, closing, START + HOUR, reason="quiet")
    record_signal(ctx, lead, SignalKind.CLICKED, START + 2 * HOUR)
    assert custody(ctx, lead) == ("closed", closing.value)
    record_signal(ctx, lead, SignalKind.REGISTERED, START + 3 * DAY)
    assert custody(ctx, lead) == ("intake", "return")
    run_at(ctx, START + 3 * DAY)
    assert custody(ctx, lead) == ("track", "keep")
    assert one(ctx, "SELECT count(*) FROM enrollment WHERE lead_id = :id", id=lead) == 2


def test_a_customer_stays_a_customer_whatever_it_does(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    close_lead(ctx, lead, Closing.WON, START)
    for kind in SignalKind:
        value = "2027-01-01" if kind is SignalKind.DECIDING else None
        record_signal(ctx, lead, kind, START + DAY, value)
    assert custody(ctx, lead) == ("resting", "customer")


def test_a_returning_lead_waits_for_re_entry_before_the_same_track_takes_it(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START)
    close_lead(ctx, lead, Closing.LOST, START + HOUR, reason="quiet")
    record_signal(ctx, lead, SignalKind.REGISTERED, START + 5 * DAY)
    run_at(ctx, START + 5 * DAY)
    assert custody(ctx, lead) == ("track", "keep")  # welcome only after 30 days


def test_a_lead_that_may_not_be_mailed_comes_back_to_its_queue(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    record_signal(ctx, lead, SignalKind.UNSUBSCRIBED, START)
    close_lead(ctx, lead, Closing.LOST, START, reason="quiet")
    record_signal(ctx, lead, SignalKind.REQUESTED_DEMO, START + DAY)
    run_at(ctx, START + DAY)
    assert custody(ctx, lead) == ("queue", "suppressed")


def test_recorded_signals_are_applied_once_by_the_next_run(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    with ctx.database.write() as tx:
        signal_queries.record_signals(tx, [new_signal(lead, SignalKind.CLICKED, START)])
    assert engagement_signals.apply_pending_signals(ctx, START) == 1
    before = all_rows(ctx)
    assert engagement_signals.apply_pending_signals(ctx, START) == 0
    assert all_rows(ctx) == before


def test_concurrent_workers_count_each_signal_once(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    reported = [new_signal(lead, SignalKind.CLICKED, START - number * HOUR) for number in range(60)]
    with ctx.database.write() as tx:
        signal_queries.record_signals(tx, reported)
    workers = [worker_context(ctx) for _ in range(3)]
    for worker in workers:
        worker.batch_size = 4
    with ThreadPoolExecutor(3) as pool:
        applied = [
            f.result(timeout=60)
            for f in [pool.submit(engagement_signals.apply_pending_signals, w, START) for w in workers]
        ]
    assert sum(applied) == 60
    alone = add_lead(ctx)
    engagement_signals.record(ctx, [new_signal(alone, SignalKind.CLICKED, START - n * HOUR) for n in range(60)], START)
    assert _engagement(ctx, lead) == pytest.approx(_engagement(ctx, alone))
    for worker in workers:
        worker.database.close()


def test_signals_before_a_rep_answered_add_nothing(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    write(ctx, "UPDATE lead SET signals_since = :at", at=f"{START:%Y-%m-%dT%H:%M:%S}+00:00")
    record_signal(ctx, lead, SignalKind.CLICKED, START - HOUR)
    assert _engagement(ctx, lead) == 0
    record_signal(ctx, lead, SignalKind.CLICKED, START)
    assert _engagement(ctx, lead) == 10
