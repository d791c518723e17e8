"""What makes a worker stop: a provider that is down, refuses us or is unclear, and a domain's own limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.journey.delivery import claim, run, send
from nurture.journey.tracks import advance
from nurture.mail.providers.base import Accepted, InDoubt, NotSent, Receipt, Rejected
from nurture.mail.rendering.render import ComposedEmail
from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import Brake
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at, tiny_rules
from tests.journey.delivery.test_run import OPEN
from tests.journey.observe import Post, crowd, one, rows, write

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
MANY = 60


def _house(db: Database, tmp_path: Path, sending: str = "") -> House:
    rules = tiny_rules() | ({"sending.yaml": sending} if sending else {})
    return make_house(db, tmp_path, rules=rules)


def _due(house: House, count: int = MANY) -> None:
    crowd(house, count, title="Head")
    tick_at(house, START)
    advance.advance(house, OPEN)


def _post(house: House, answer: Receipt | None = None, at_once: int = 4) -> Post:
    post = Post(lambda email, _: answer or Accepted(email.ref), at_once=at_once)
    house.provider = post
    return post


def _states(house: House) -> dict[str, int]:
    return {row[0]: row[1] for row in rows(house, "SELECT state, count(*) FROM message GROUP BY state")}


def _brakes(house: House) -> list[Brake]:
    with house.database.read() as connection:
        return circuit_breakers.on(connection)


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    made = _house(db, tmp_path)
    _due(made)
    return made


def test_five_unclear_calls_in_a_row_stop_everything_for_a_minute(house: House) -> None:
    post = _post(house, InDoubt("the line broke"))
    run.deliver(house, VirtualClock(OPEN))
    in_flight = send.IN_FLIGHT * post.at_once
    assert send.UNKNOWN_IN_A_ROW <= len(post.refs) <= send.UNKNOWN_IN_A_ROW + in_flight
    assert _states(house) == {"in_doubt": len(post.refs), "planned": MANY - len(post.refs)}
    (brake,) = _brakes(house)
    assert (brake.kind, brake.name, brake.until) == ("provider", "post", OPEN + MINUTE)
    assert "the line broke" in brake.reason


def test_a_stopped_provider_is_left_alone_and_then_tried_with_one_message(house: House) -> None:
    _post(house, InDoubt("the line broke"))
    run.deliver(house, VirtualClock(OPEN))
    waiting = _states(house)["planned"]
    post = _post(house, NotSent("down", stops=True))
    run.deliver(house, VirtualClock(OPEN + MINUTE - timedelta(seconds=1)))
    assert post.refs == []
    run.deliver(house, VirtualClock(OPEN + MINUTE))
    assert len(post.refs) == 1
    post = _post(house)
    run.deliver(house, VirtualClock(OPEN + MINUTE * 3 / 2))
    assert post.refs == []
    run.deliver(house, VirtualClock(OPEN + 2 * MINUTE))
    assert len(post.refs) == len(set(post.refs)) == waiting
    assert _brakes(house) == []


def test_clear_answers_in_between_are_no_reason_to_stop(house: House) -> None:
    answers = iter([InDoubt("unclear")] * 4 + [Rejected("no such mailbox")] + [InDoubt("unclear")] * 4)
    house.provider = Post(lambda email, _: next(answers, Accepted(email.ref)), at_once=4)
    run.deliver(house, VirtualClock(OPEN))
    assert _states(house) == {"in_doubt": 8, "rejected": 1, "accepted": MANY - 9}
    assert _brakes(house) == []


def test_a_refused_key_stops_the_rest_and_says_which_setting(house: House) -> None:
    post = _post(house, NotSent("the key is refused; check NURTURE_SENDGRID_KEY", stops=True))
    run.deliver(house, VirtualClock(OPEN))
    assert len(post.refs) <= send.IN_FLIGHT * post.at_once
    assert _states(house) == {"planned": MANY}
    assert [brake.reason for brake in _brakes(house)] == ["the key is refused; check NURTURE_SENDGRID_KEY"]
    assert one(house, "SELECT count(*) FROM message WHERE lease_token IS NOT NULL") == 0


def test_a_rate_limit_is_kept_until_it_ends(house: House) -> None:
    ends = OPEN + timedelta(seconds=90)
    _post(house, NotSent("too many", ends, stops=True))
    run.deliver(house, VirtualClock(OPEN))
    assert [brake.until for brake in _brakes(house)] == [ends]
    post = _post(house)
    run.deliver(house, VirtualClock(ends - timedelta(seconds=1)))
    assert post.refs == []
    run.deliver(house, VirtualClock(ends))
    assert len(post.refs) == MANY


def test_another_provider_is_not_stopped_by_the_brake_on_the_first(house: House) -> None:
    _post(house, NotSent("down", stops=True))
    run.deliver(house, VirtualClock(OPEN))
    house.provider = other = Post(name="other")
    run.deliver(house, VirtualClock(OPEN + MINUTE))
    assert len(other.refs) == MANY


def test_no_more_go_in_an_hour_and_a_day_than_the_domain_may(db: Database, tmp_path: Path) -> None:
    house = _house(db, tmp_path, "default: {per_hour: 10, per_day: 25}\n")
    _due(house)
    post = _post(house)
    went = []
    for hour in range(8):  # the window closes at 17:00
        run.deliver(house, VirtualClock(OPEN + hour * HOUR))
        run.deliver(house, VirtualClock(OPEN + hour * HOUR + 59 * MINUTE))
        went.append(len(post.refs))
    assert went == [10, 20, 25, 25, 25, 25, 25, 25]
    run.deliver(house, VirtualClock(OPEN + timedelta(days=1, minutes=59)))
    assert len(post.refs) == 35
    assert len(set(post.refs)) == 35


def test_a_new_domain_warms_up(db: Database, tmp_path: Path) -> None:
    ramp = f"{{from: {START:%Y-%m-%d}, first_day: 3, growth: 2}}"
    house = _house(db, tmp_path, f"domains: {{house.example: {{per_day: 1000, warm_up: {ramp}}}}}\n")
    _due(house)
    post = _post(house)
    went = []
    for day in range(4):
        run.deliver(house, VirtualClock(OPEN + timedelta(days=day, hours=1)))
        went.append(len(post.refs))
    assert went[:3] == [3, 9, 21]


def test_a_backlog_is_not_looked_at_before_its_turn(db: Database, tmp_path: Path) -> None:
    house = _house(db, tmp_path, "default: {per_hour: 10}\n")
    _due(house)
    _post(house)
    run.deliver(house, VirtualClock(OPEN))
    done = run.deliver(house, VirtualClock(OPEN + 30 * MINUTE))
    assert done.messages == 0


@pytest.mark.parametrize(
    ("state", "count", "why"), [("bounced", 3, "bounced for good"), ("complained", 2, "reported as spam")]
)
def test_a_domain_whose_mail_is_not_wanted_pauses_by_itself(
    db: Database, tmp_path: Path, state: str, count: int, why: str
) -> None:
    house = _house(db, tmp_path)
    _due(house, 40)
    _post(house)
    run.deliver(house, VirtualClock(OPEN))
    chosen = f"SELECT id FROM message ORDER BY id LIMIT {count}"
    write(house, f"UPDATE message SET state = '{state}' WHERE id IN ({chosen})")
    _due(house, 5)
    post = _post(house)
    run.deliver(house, VirtualClock(OPEN + MINUTE))
    assert post.refs == []
    (brake,) = _brakes(house)
    assert (brake.kind, brake.name, brake.until) == ("domain", "house.example", None)
    assert why in brake.reason
    held = rows(house, "SELECT DISTINCT reason FROM message WHERE state = 'planned'")
    assert [row[0].startswith("held: mail from house.example is paused") for row in held] == [True]


def test_mail_to_reps_goes_on_while_a_domain_is_paused(house: House) -> None:
    with house.database.write() as connection:
        circuit_breakers.put(
            house.database, connection, Brake("domain", "house.example", "bounces", OPEN, None)
        )
    post = _post(house)
    add_lead(house, demo_requested=True, at=OPEN)
    tick_at(house, OPEN)
    assert {ref.partition(":")[0] for ref in post.refs} == {"brief"}


def test_mail_that_waits_for_its_domain_keeps_its_grace(db: Database, tmp_path: Path) -> None:
    ramp = f"{{from: {START + timedelta(days=9):%Y-%m-%d}, first_day: 100, growth: 2}}"
    house = _house(db, tmp_path, f"domains: {{house.example: {{per_day: 1000, warm_up: {ramp}}}}}\n")
    _due(house, 5)
    post = _post(house)
    for day in range(12):
        run.deliver(house, VirtualClock(OPEN + timedelta(days=day)))
    assert len(post.refs) == 5
    assert _states(house) == {"accepted": 5}


def test_a_refused_sender_keeps_nobody_elses_mail_back(db: Database, tmp_path: Path) -> None:
    rules = tiny_rules()
    for name in ("welcome", "keep"):
        mine = f"sender: {{name: Ada, email: ada@{name}.example, postal_address: 1 Harbour Lane}}\n"
        rules[f"tracks/{name}/track.yaml"] += mine
    house = make_house(db, tmp_path, rules=rules)
    crowd(house, 20, title="Head")
    tick_at(house, START)
    advance.advance(house, OPEN)
    write(house, "UPDATE message SET track = 'keep', track_version = 1, email = '01-news' WHERE id % 4 = 0")
    others = "SELECT lead_id FROM message WHERE track = 'keep'"
    write(house, f"UPDATE custody SET ref = 'keep', version = version + 1 WHERE lead_id IN ({others})")

    def answer(email: ComposedEmail, _: datetime) -> Receipt:
        mine = email.sender.email.endswith("@keep.example")
        return NotSent("verify the sender", sender=True) if mine else Accepted(email.ref)

    house.provider = Post(answer, at_once=4)
    run.deliver(house, VirtualClock(OPEN))
    assert _states(house) == {"accepted": 15, "planned": 5}
    assert [(brake.kind, brake.name) for brake in _brakes(house)] == [("domain", "keep.example")]
    post = _post(house)
    run.deliver(house, VirtualClock(OPEN + 14 * MINUTE))
    assert post.refs == []
    run.deliver(house, VirtualClock(OPEN + 30 * MINUTE))
    assert len(post.refs) == 5
    assert _brakes(house) == []


def test_unclear_calls_add_up_over_runs_with_little_mail(house: House) -> None:
    write(
        house,
        "UPDATE message SET send_at = :later WHERE id > 4",
        later=f"{OPEN + MINUTE:%Y-%m-%dT%H:%M:%S}+00:00",
    )
    _post(house, InDoubt("the line broke"))
    run.deliver(house, VirtualClock(OPEN))
    assert _states(house)["in_doubt"] == 4
    assert _brakes(house) == []
    run.deliver(house, VirtualClock(OPEN + MINUTE))
    assert _states(house)["in_doubt"] < 4 + 2 * send.UNKNOWN_IN_A_ROW
    assert [brake.kind for brake in _brakes(house)] == ["provider"]


@dataclass
class Sleepy:
    """A clock on a machine that falls asleep after so many looks at it."""

    looks: int
    moment: datetime = OPEN
    runs: bool = False

    def now(self) -> datetime:
        self.looks -= 1
        return self.moment if self.looks >= 0 else self.moment + 10 * MINUTE

    def wait(self, until: datetime, at_most: timedelta) -> bool:
        return until - self.moment <= min(at_most, timedelta())


def test_no_call_is_made_long_after_its_last_look(house: House) -> None:
    post = _post(house, at_once=200)
    held = claim.claim_batch(house, OPEN, 500)
    send.send_claimed(house, held, Sleepy(looks=2))
    assert post.refs == []
    assert _states(house) == {"planned": MANY}
