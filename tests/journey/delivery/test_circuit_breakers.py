"""Brakes as a person sees them: what is paused and why, what may still go, and how it starts again."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.errors import Refused
from nurture.journey.delivery import circuit_breakers, run
from nurture.journey.delivery.send_checks import LOOK_AGAIN_AFTER
from nurture.journey.delivery.volume_queries import Received, Used
from nurture.journey.tracks import advance, enroll
from nurture.mail.providers.base import NotSent
from nurture.outbox import circuit_breakers as kept
from nurture.outbox.circuit_breakers import Brake
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at, tiny_rules
from tests.journey.observe import Post, crowd, everything, one, rows, write

HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
OPEN = START + HOUR
DOMAIN = "house.example"


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    made = make_house(db, tmp_path)
    made.provider = Post()
    return made


def _planned(house: House, count: int = 1) -> None:
    for _ in range(count):
        add_lead(house, title="Head")
    enroll.classify(house, START)
    advance.advance(house, START)
    advance.advance(house, OPEN)


def _put(house: House, name: str = DOMAIN, kind: kept.Kind = "domain") -> None:
    with house.database.write() as connection:
        kept.put(house.database, connection, Brake(kind, name, "too many bounced", START, None))


def _states(house: House) -> list[str]:
    return [row[0] for row in rows(house, "SELECT state FROM message ORDER BY id")]


def _limited(db: Database, tmp_path: Path, limits: str) -> House:
    house = make_house(db, tmp_path, rules={**tiny_rules(), "sending.yaml": limits})
    house.provider = Post()
    return house


def test_without_limits_and_brakes_a_domain_just_sends(house: House) -> None:
    _planned(house, 3)
    run.deliver(house, VirtualClock(OPEN))
    found = circuit_breakers.standing(house, OPEN + MINUTE)
    assert (found.provider, found.provider_brake, found.brakes) == ("post", None, ())
    (domain,) = found.domains
    assert (domain.domain, domain.tracks, domain.brake) == (DOMAIN, ("keep", "welcome"), None)
    assert (domain.used, domain.received) == (Used(3, 3), Received(3, 0, 0))
    assert (domain.allowed_today, domain.tomorrow, domain.warm_up_day) == (None, None, None)


def test_what_was_sent_counts_for_its_hour_and_its_day(house: House) -> None:
    _planned(house)
    run.deliver(house, VirtualClock(OPEN))
    hours = [circuit_breakers.standing(house, OPEN + later).domains[0].used for later in (HOUR, DAY)]
    assert hours == [Used(0, 1), Used(0, 0)]


def test_a_warm_up_says_its_day_and_what_it_allows(db: Database, tmp_path: Path) -> None:
    ramp = "warm_up: {from: 2026-01-04, first_day: 50, growth: 2}"
    house = _limited(db, tmp_path, f"default: {{per_hour: 40, per_day: 150, {ramp}}}\n")
    (domain,) = circuit_breakers.standing(house, START).domains
    assert (domain.warm_up_day, domain.allowed_today, domain.tomorrow) == (2, 100, 150)
    assert (domain.limits.per_hour, domain.limits.warm_up and domain.limits.warm_up.starts) == (
        40,
        date(2026, 1, 4),
    )
    assert circuit_breakers.standing(house, START - 7 * DAY).domains[0].warm_up_day == -5


def test_looking_changes_nothing(house: House) -> None:
    _planned(house)
    _put(house)
    before = everything(house)
    circuit_breakers.standing(house, OPEN)
    assert everything(house) == before


def test_nothing_published_means_that_no_domain_sends(db: Database) -> None:
    assert circuit_breakers.standing(House(db, Post()), START).domains == ()


def test_a_paused_domain_is_shown_with_its_reason(house: House) -> None:
    _put(house)
    found = circuit_breakers.standing(house, OPEN)
    (domain,) = found.domains
    assert domain.brake == found.brakes[0] == Brake("domain", DOMAIN, "too many bounced", START, None)


def test_mail_of_a_domain_that_was_resumed_goes_within_a_quarter_of_an_hour(house: House) -> None:
    _planned(house)
    _put(house)
    run.deliver(house, VirtualClock(OPEN))
    assert _states(house) == ["planned"]
    circuit_breakers.resume(house, DOMAIN, "by hand: nora", OPEN + MINUTE)
    run.deliver(house, VirtualClock(OPEN + LOOK_AGAIN_AFTER))
    assert _states(house) == ["accepted"]


def test_who_resumed_what_is_kept(house: House) -> None:
    _put(house)
    (taken,) = circuit_breakers.resume(house, "House.Example.", "by hand: nora", OPEN)
    assert taken.name == DOMAIN
    assert rows(house, "SELECT released_by, reason FROM brake") == [("by hand: nora", "too many bounced")]
    assert one(house, "SELECT count(*) FROM brake WHERE released_at IS NULL") == 0


def test_bounces_that_a_person_has_looked_at_pause_no_domain_again(house: House) -> None:
    leads = crowd(house, 150, title="Head")
    tick_at(house, START, OPEN)
    assert len(_states(house)) == len(leads)
    write(house, "UPDATE message SET state = 'bounced' WHERE id % 10 = 0")
    add_lead(house, title="Head", at=OPEN)
    tick_at(house, OPEN, OPEN + 2 * HOUR)
    found = circuit_breakers.standing(house, OPEN + 2 * HOUR)
    assert found.domains[0].brake is not None
    assert "bounced" in found.domains[0].brake.reason
    assert found.domains[0].received.bounced == 15
    circuit_breakers.resume(house, DOMAIN, "by hand: nora", OPEN + 2 * HOUR)
    tick_at(house, OPEN + 3 * HOUR)
    after = circuit_breakers.standing(house, OPEN + 3 * HOUR)
    assert (after.brakes, after.domains[0].received) == ((), Received(1, 0, 0))


def test_a_provider_that_was_resumed_is_tried_with_the_next_delivery(house: House) -> None:
    _planned(house, 2)
    house.provider = Post(lambda *_: NotSent("the key is refused", OPEN + HOUR, stops=True))
    run.deliver(house, VirtualClock(OPEN))
    brake = circuit_breakers.standing(house, OPEN).provider_brake
    assert brake is not None
    assert (brake.reason, brake.until) == ("the key is refused", OPEN + HOUR)
    house.provider = Post()
    _planned(house)
    run.deliver(house, VirtualClock(OPEN + MINUTE))
    assert house.provider.refs == []
    circuit_breakers.resume(house, "post", "by hand: nora", OPEN + MINUTE)
    run.deliver(house, VirtualClock(OPEN + MINUTE))
    assert len(house.provider.refs) == 1
    run.deliver(house, VirtualClock(OPEN + HOUR))
    assert len(house.provider.refs) == 3


def test_nothing_is_resumed_that_is_not_paused(house: House) -> None:
    with pytest.raises(Refused, match=r"post is not paused\. Nothing is paused now\."):
        circuit_breakers.resume(house, "post", "by hand: nora", OPEN)
    _put(house)
    with pytest.raises(Refused, match=rf"Paused now: {DOMAIN}\."):
        circuit_breakers.resume(house, "huose.example", "by hand: nora", OPEN)
    assert one(house, "SELECT count(*) FROM brake WHERE released_at IS NULL") == 1
