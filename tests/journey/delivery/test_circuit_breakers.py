"""Test circuit breakers and sending pauses: what is paused and why, what may still go, how to resume."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.domain.delivery.receipts import NotSent
from nurture.errors import InvalidState
from nurture.journey.delivery import circuit_breakers, run
from nurture.journey.delivery.queries import DeliveryStats, SentCount
from nurture.journey.delivery.send_checks import RECHECK_AFTER
from nurture.journey.tracks import advance, enroll
from nurture.outbox import circuit_breakers as outbox_breakers
from nurture.outbox.circuit_breakers import Breaker
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import RecordingProvider, add_leads, all_rows, one, rows, write

HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
OPEN = START + HOUR
DOMAIN = "house.example"


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    made = make_context(db, tmp_path)
    made.provider = RecordingProvider()
    return made


def _planned(ctx: AppContext, count: int = 1) -> None:
    for _ in range(count):
        add_lead(ctx, title="Head")
    enroll.classify(ctx, START)
    advance.advance(ctx, START)
    advance.advance(ctx, OPEN)


def _trip(ctx: AppContext, name: str = DOMAIN, kind: outbox_breakers.Kind = "domain") -> None:
    with ctx.database.write() as tx:
        outbox_breakers.trip(tx, Breaker(kind, name, "too many bounced", START, None))


def _states(ctx: AppContext) -> list[str]:
    return [row[0] for row in rows(ctx, "SELECT state FROM message ORDER BY id")]


def _limited(db: Database, tmp_path: Path, limits: str) -> AppContext:
    ctx = make_context(db, tmp_path, rules={**sample_rules(), "sending.yaml": limits})
    ctx.provider = RecordingProvider()
    return ctx


def test_without_limits_and_breakers_a_domain_just_sends(ctx: AppContext) -> None:
    _planned(ctx, 3)
    run.deliver(ctx, VirtualClock(OPEN))
    found = circuit_breakers.load_deliverability_status(ctx, OPEN + MINUTE)
    assert (found.provider, found.provider_breaker, found.breakers) == ("post", None, ())
    (domain,) = found.domains
    assert (domain.domain, domain.tracks, domain.pause) == (DOMAIN, ("keep", "welcome"), None)
    assert (domain.sent, domain.stats) == (SentCount(3, 3), DeliveryStats(3, 0, 0))
    assert (domain.allowed_today, domain.allowed_tomorrow, domain.warm_up_day) == (None, None, None)


def test_what_was_sent_counts_for_its_hour_and_its_day(ctx: AppContext) -> None:
    _planned(ctx)
    run.deliver(ctx, VirtualClock(OPEN))
    hours = [circuit_breakers.load_deliverability_status(ctx, OPEN + later).domains[0].sent for later in (HOUR, DAY)]
    assert hours == [SentCount(0, 1), SentCount(0, 0)]


def test_a_warm_up_says_its_day_and_what_it_allows(db: Database, tmp_path: Path) -> None:
    ramp = "warm_up: {from: 2026-01-04, first_day: 50, growth: 2}"
    ctx = _limited(db, tmp_path, f"default: {{per_hour: 40, per_day: 150, {ramp}}}\n")
    (domain,) = circuit_breakers.load_deliverability_status(ctx, START).domains
    assert (domain.warm_up_day, domain.allowed_today, domain.allowed_tomorrow) == (2, 100, 150)
    assert (domain.limits.per_hour, domain.limits.warm_up and domain.limits.warm_up.start_date) == (
        40,
        date(2026, 1, 4),
    )
    assert circuit_breakers.load_deliverability_status(ctx, START - 7 * DAY).domains[0].warm_up_day == -5


def test_loading_the_status_changes_nothing(ctx: AppContext) -> None:
    _planned(ctx)
    _trip(ctx)
    before = all_rows(ctx)
    circuit_breakers.load_deliverability_status(ctx, OPEN)
    assert all_rows(ctx) == before


def test_nothing_published_means_that_no_domain_sends(db: Database) -> None:
    assert circuit_breakers.load_deliverability_status(AppContext(db, RecordingProvider()), START).domains == ()


def test_a_paused_domain_is_shown_with_its_reason(ctx: AppContext) -> None:
    _trip(ctx)
    found = circuit_breakers.load_deliverability_status(ctx, OPEN)
    (domain,) = found.domains
    assert domain.pause == found.breakers[0] == Breaker("domain", DOMAIN, "too many bounced", START, None)


def test_mail_of_a_domain_that_was_resumed_goes_within_a_quarter_of_an_hour(ctx: AppContext) -> None:
    _planned(ctx)
    _trip(ctx)
    run.deliver(ctx, VirtualClock(OPEN))
    assert _states(ctx) == ["planned"]
    circuit_breakers.resume(ctx, DOMAIN, "by hand: nora", OPEN + MINUTE)
    run.deliver(ctx, VirtualClock(OPEN + RECHECK_AFTER))
    assert _states(ctx) == ["accepted"]


def test_a_manual_resume_is_stored_with_the_person(ctx: AppContext) -> None:
    _trip(ctx)
    (released,) = circuit_breakers.resume(ctx, "House.Example.", "by hand: nora", OPEN)
    assert released.name == DOMAIN
    assert rows(ctx, "SELECT released_by, reason FROM circuit_breaker") == [("by hand: nora", "too many bounced")]
    assert one(ctx, "SELECT count(*) FROM circuit_breaker WHERE released_at IS NULL") == 0


def test_bounces_from_before_a_manual_resume_do_not_pause_the_domain_again(ctx: AppContext) -> None:
    leads = add_leads(ctx, 150, title="Head")
    run_at(ctx, START, OPEN)
    assert len(_states(ctx)) == len(leads)
    write(ctx, "UPDATE message SET state = 'bounced' WHERE id % 10 = 0")
    add_lead(ctx, title="Head", at=OPEN)
    run_at(ctx, OPEN, OPEN + 2 * HOUR)
    found = circuit_breakers.load_deliverability_status(ctx, OPEN + 2 * HOUR)
    assert found.domains[0].pause is not None
    assert "bounced" in found.domains[0].pause.reason
    assert found.domains[0].stats.bounced == 15
    circuit_breakers.resume(ctx, DOMAIN, "by hand: nora", OPEN + 2 * HOUR)
    run_at(ctx, OPEN + 3 * HOUR)
    after = circuit_breakers.load_deliverability_status(ctx, OPEN + 3 * HOUR)
    assert (after.breakers, after.domains[0].stats) == ((), DeliveryStats(1, 0, 0))


def test_a_provider_that_was_resumed_is_tried_with_the_next_delivery(ctx: AppContext) -> None:
    _planned(ctx, 2)
    ctx.provider = RecordingProvider(lambda *_: NotSent("the key is refused", OPEN + HOUR, blocks_all=True))
    run.deliver(ctx, VirtualClock(OPEN))
    breaker = circuit_breakers.load_deliverability_status(ctx, OPEN).provider_breaker
    assert breaker is not None
    assert (breaker.reason, breaker.until) == ("the key is refused", OPEN + HOUR)
    ctx.provider = RecordingProvider()
    _planned(ctx)
    run.deliver(ctx, VirtualClock(OPEN + MINUTE))
    assert ctx.provider.refs == []
    circuit_breakers.resume(ctx, "post", "by hand: nora", OPEN + MINUTE)
    run.deliver(ctx, VirtualClock(OPEN + MINUTE))
    assert len(ctx.provider.refs) == 1
    run.deliver(ctx, VirtualClock(OPEN + HOUR))
    assert len(ctx.provider.refs) == 3


def test_only_paused_names_can_be_resumed(ctx: AppContext) -> None:
    with pytest.raises(InvalidState, match=r"post is not paused\. Nothing is paused now\."):
        circuit_breakers.resume(ctx, "post", "by hand: nora", OPEN)
    _trip(ctx)
    with pytest.raises(InvalidState, match=rf"Paused now: {DOMAIN}\."):
        circuit_breakers.resume(ctx, "huose.example", "by hand: nora", OPEN)
    assert one(ctx, "SELECT count(*) FROM circuit_breaker WHERE released_at IS NULL") == 1
