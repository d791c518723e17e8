"""Test what stops a worker: a provider that is down, refuses or is unclear, and a domain's own limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt, Rejected, Unknown
from nurture.journey.delivery import claim, run, send
from nurture.journey.tracks import advance
from nurture.mail.rendering.render import ComposedEmail
from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import Breaker
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.delivery.test_run import OPEN
from tests.journey.observe import RecordingProvider, add_leads, one, rows, write

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
MANY = 60


def _ctx(db: Database, tmp_path: Path, sending: str = "") -> AppContext:
    rules = sample_rules() | ({"sending.yaml": sending} if sending else {})
    return make_context(db, tmp_path, rules=rules)


def _due(ctx: AppContext, count: int = MANY) -> None:
    add_leads(ctx, count, title="Head")
    run_at(ctx, START)
    advance.advance(ctx, OPEN)


def _set_provider(ctx: AppContext, answer: Receipt | None = None, at_once: int = 4) -> RecordingProvider:
    provider = RecordingProvider(lambda email, _: answer or Accepted(email.ref), max_concurrency=at_once)
    ctx.provider = provider
    return provider


def _states(ctx: AppContext) -> dict[str, int]:
    return {row[0]: row[1] for row in rows(ctx, "SELECT state, count(*) FROM message GROUP BY state")}


def _breakers(ctx: AppContext) -> list[Breaker]:
    with ctx.database.read() as tx:
        return circuit_breakers.list_active(tx)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    made = _ctx(db, tmp_path)
    _due(made)
    return made


def test_five_unclear_calls_in_a_row_stop_everything_for_a_minute(ctx: AppContext) -> None:
    provider = _set_provider(ctx, Unknown("the line broke"))
    run.deliver(ctx, VirtualClock(OPEN))
    in_flight = send.IN_FLIGHT * provider.max_concurrency
    assert send.MAX_CONSECUTIVE_UNKNOWN <= len(provider.refs) <= send.MAX_CONSECUTIVE_UNKNOWN + in_flight
    assert _states(ctx) == {"unknown": len(provider.refs), "planned": MANY - len(provider.refs)}
    (breaker,) = _breakers(ctx)
    assert (breaker.kind, breaker.name, breaker.until) == ("provider", "post", OPEN + MINUTE)
    assert "the line broke" in breaker.reason


def test_a_stopped_provider_is_left_alone_and_then_tried_with_one_message(ctx: AppContext) -> None:
    _set_provider(ctx, Unknown("the line broke"))
    run.deliver(ctx, VirtualClock(OPEN))
    waiting = _states(ctx)["planned"]
    provider = _set_provider(ctx, NotSent("down", blocks_all=True))
    run.deliver(ctx, VirtualClock(OPEN + MINUTE - timedelta(seconds=1)))
    assert provider.refs == []
    run.deliver(ctx, VirtualClock(OPEN + MINUTE))
    assert len(provider.refs) == 1
    provider = _set_provider(ctx)
    run.deliver(ctx, VirtualClock(OPEN + MINUTE * 3 / 2))
    assert provider.refs == []
    run.deliver(ctx, VirtualClock(OPEN + 2 * MINUTE))
    assert len(provider.refs) == len(set(provider.refs)) == waiting
    assert _breakers(ctx) == []


def test_clear_answers_in_between_are_no_reason_to_stop(ctx: AppContext) -> None:
    answers = iter([Unknown("unclear")] * 4 + [Rejected("no such mailbox")] + [Unknown("unclear")] * 4)
    ctx.provider = RecordingProvider(lambda email, _: next(answers, Accepted(email.ref)), max_concurrency=4)
    run.deliver(ctx, VirtualClock(OPEN))
    assert _states(ctx) == {"unknown": 8, "rejected": 1, "accepted": MANY - 9}
    assert _breakers(ctx) == []


def test_a_rejected_key_stops_the_rest_and_names_the_setting(ctx: AppContext) -> None:
    provider = _set_provider(ctx, NotSent("the key is refused; check NURTURE_SENDGRID_KEY", blocks_all=True))
    run.deliver(ctx, VirtualClock(OPEN))
    assert len(provider.refs) <= send.IN_FLIGHT * provider.max_concurrency
    assert _states(ctx) == {"planned": MANY}
    assert [breaker.reason for breaker in _breakers(ctx)] == ["the key is refused; check NURTURE_SENDGRID_KEY"]
    assert one(ctx, "SELECT count(*) FROM message WHERE lease_token IS NOT NULL") == 0


def test_a_rate_limit_is_kept_until_it_ends(ctx: AppContext) -> None:
    ends = OPEN + timedelta(seconds=90)
    _set_provider(ctx, NotSent("too many", ends, blocks_all=True))
    run.deliver(ctx, VirtualClock(OPEN))
    assert [breaker.until for breaker in _breakers(ctx)] == [ends]
    provider = _set_provider(ctx)
    run.deliver(ctx, VirtualClock(ends - timedelta(seconds=1)))
    assert provider.refs == []
    run.deliver(ctx, VirtualClock(ends))
    assert len(provider.refs) == MANY


def test_another_provider_is_not_stopped_by_the_open_breaker_of_the_first(ctx: AppContext) -> None:
    _set_provider(ctx, NotSent("down", blocks_all=True))
    run.deliver(ctx, VirtualClock(OPEN))
    ctx.provider = other = RecordingProvider(name="other")
    run.deliver(ctx, VirtualClock(OPEN + MINUTE))
    assert len(other.refs) == MANY


def test_no_more_go_in_an_hour_and_a_day_than_the_domain_may(db: Database, tmp_path: Path) -> None:
    ctx = _ctx(db, tmp_path, "default: {per_hour: 10, per_day: 25}\n")
    _due(ctx)
    provider = _set_provider(ctx)
    went = []
    for hour in range(8):  # the window closes at 17:00
        run.deliver(ctx, VirtualClock(OPEN + hour * HOUR))
        run.deliver(ctx, VirtualClock(OPEN + hour * HOUR + 59 * MINUTE))
        went.append(len(provider.refs))
    assert went == [10, 20, 25, 25, 25, 25, 25, 25]
    run.deliver(ctx, VirtualClock(OPEN + timedelta(days=1, minutes=59)))
    assert len(provider.refs) == 35
    assert len(set(provider.refs)) == 35


def test_a_new_domain_warms_up(db: Database, tmp_path: Path) -> None:
    ramp = f"{{from: {START:%Y-%m-%d}, first_day: 3, growth: 2}}"
    ctx = _ctx(db, tmp_path, f"domains: {{house.example: {{per_day: 1000, warm_up: {ramp}}}}}\n")
    _due(ctx)
    provider = _set_provider(ctx)
    went = []
    for day in range(4):
        run.deliver(ctx, VirtualClock(OPEN + timedelta(days=day, hours=1)))
        went.append(len(provider.refs))
    assert went[:3] == [3, 9, 21]


def test_a_backlog_is_not_checked_before_its_time(db: Database, tmp_path: Path) -> None:
    ctx = _ctx(db, tmp_path, "default: {per_hour: 10}\n")
    _due(ctx)
    _set_provider(ctx)
    run.deliver(ctx, VirtualClock(OPEN))
    done = run.deliver(ctx, VirtualClock(OPEN + 30 * MINUTE))
    assert done.messages == 0


@pytest.mark.parametrize(
    ("state", "count", "reason"), [("bounced", 3, "bounced permanently"), ("complained", 2, "reported as spam")]
)
def test_a_domain_with_too_many_bounces_or_complaints_pauses_automatically(
    db: Database, tmp_path: Path, state: str, count: int, reason: str
) -> None:
    ctx = _ctx(db, tmp_path)
    _due(ctx, 40)
    _set_provider(ctx)
    run.deliver(ctx, VirtualClock(OPEN))
    chosen = f"SELECT id FROM message ORDER BY id LIMIT {count}"
    write(ctx, f"UPDATE message SET state = '{state}' WHERE id IN ({chosen})")
    _due(ctx, 5)
    provider = _set_provider(ctx)
    run.deliver(ctx, VirtualClock(OPEN + MINUTE))
    assert provider.refs == []
    (breaker,) = _breakers(ctx)
    assert (breaker.kind, breaker.name, breaker.until) == ("domain", "house.example", None)
    assert reason in breaker.reason
    reasons = rows(ctx, "SELECT DISTINCT reason FROM message WHERE state = 'planned'")
    assert [row[0].startswith("held: mail from house.example is paused") for row in reasons] == [True]


def test_mail_to_reps_goes_on_while_a_domain_is_paused(ctx: AppContext) -> None:
    with ctx.database.write() as tx:
        circuit_breakers.trip(tx, Breaker("domain", "house.example", "bounces", OPEN, None))
    provider = _set_provider(ctx)
    add_lead(ctx, demo_requested=True, at=OPEN)
    run_at(ctx, OPEN)
    assert {ref.partition(":")[0] for ref in provider.refs} == {"brief"}


def test_mail_that_waits_for_its_domain_keeps_its_grace(db: Database, tmp_path: Path) -> None:
    ramp = f"{{from: {START + timedelta(days=9):%Y-%m-%d}, first_day: 100, growth: 2}}"
    ctx = _ctx(db, tmp_path, f"domains: {{house.example: {{per_day: 1000, warm_up: {ramp}}}}}\n")
    _due(ctx, 5)
    provider = _set_provider(ctx)
    for day in range(12):
        run.deliver(ctx, VirtualClock(OPEN + timedelta(days=day)))
    assert len(provider.refs) == 5
    assert _states(ctx) == {"accepted": 5}


def test_a_rejected_sender_does_not_hold_mail_of_others(db: Database, tmp_path: Path) -> None:
    rules = sample_rules()
    for name in ("welcome", "keep"):
        mine = f"sender: {{name: Ada, email: ada@{name}.example, postal_address: 1 Harbour Lane}}\n"
        rules[f"tracks/{name}/track.yaml"] += mine
    ctx = make_context(db, tmp_path, rules=rules)
    add_leads(ctx, 20, title="Head")
    run_at(ctx, START)
    advance.advance(ctx, OPEN)
    write(ctx, "UPDATE message SET track = 'keep', track_version = 1, email = '01-news' WHERE id % 4 = 0")
    others = "SELECT lead_id FROM message WHERE track = 'keep'"
    write(ctx, f"UPDATE custody SET ref = 'keep', version = version + 1 WHERE lead_id IN ({others})")

    def answer(email: ComposedEmail, _: datetime) -> Receipt:
        mine = email.sender.email.endswith("@keep.example")
        return NotSent("verify the sender", blocks_sender=True) if mine else Accepted(email.ref)

    ctx.provider = RecordingProvider(answer, max_concurrency=4)
    run.deliver(ctx, VirtualClock(OPEN))
    assert _states(ctx) == {"accepted": 15, "planned": 5}
    assert [(breaker.kind, breaker.name) for breaker in _breakers(ctx)] == [("domain", "keep.example")]
    provider = _set_provider(ctx)
    run.deliver(ctx, VirtualClock(OPEN + 14 * MINUTE))
    assert provider.refs == []
    run.deliver(ctx, VirtualClock(OPEN + 30 * MINUTE))
    assert len(provider.refs) == 5
    assert _breakers(ctx) == []


def test_unclear_calls_add_up_over_runs_with_little_mail(ctx: AppContext) -> None:
    write(ctx, "UPDATE message SET send_at = :later WHERE id > 4", later=f"{OPEN + MINUTE:%Y-%m-%dT%H:%M:%S}+00:00")
    _set_provider(ctx, Unknown("the line broke"))
    run.deliver(ctx, VirtualClock(OPEN))
    assert _states(ctx)["unknown"] == 4
    assert _breakers(ctx) == []
    run.deliver(ctx, VirtualClock(OPEN + MINUTE))
    assert _states(ctx)["unknown"] < 4 + 2 * send.MAX_CONSECUTIVE_UNKNOWN
    assert [breaker.kind for breaker in _breakers(ctx)] == ["provider"]


@dataclass
class Sleepy:
    """A clock on a machine that is suspended after some reads."""

    looks: int
    timestamp: datetime = OPEN
    is_live: bool = False

    def now(self) -> datetime:
        self.looks -= 1
        return self.timestamp if self.looks >= 0 else self.timestamp + 10 * MINUTE

    def wait(self, until: datetime, max_wait: timedelta) -> bool:
        return until - self.timestamp <= min(max_wait, timedelta())


def test_no_call_is_made_long_after_its_last_check(ctx: AppContext) -> None:
    provider = _set_provider(ctx, at_once=200)
    batch = claim.claim_batch(ctx, OPEN, 500)
    send.send_claimed(ctx, batch, Sleepy(looks=2))
    assert provider.refs == []
    assert _states(ctx) == {"planned": MANY}
