"""Classification: to sales, to a track, to a queue, or out with a reason."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.journey.engagement import signals
from nurture.journey.engagement.click_filtering import Visited
from nurture.journey.outcomes import close
from nurture.journey.tracks import enroll
from nurture.publishing.publish import publish
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at, tiny_rules
from tests.journey.observe import custody, due_at, one, rows, tell

DAY = timedelta(days=1)


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    return make_house(db, tmp_path)


def test_the_first_readiness_rule_that_holds_decides_and_is_named(house: House) -> None:
    student = add_lead(house, title="Student", demo_requested=True)
    ready = add_lead(house, title="Head", demo_requested=True)
    head, other = add_lead(house, title="Head"), add_lead(house)
    assert enroll.classify(house, START) == {"student": 1, "ready": 1, "nurture": 2}
    assert [custody(house, lead) for lead in (student, ready, head, other)] == [
        ("closed", "discarded"),
        ("queue", "hand-off"),
        ("track", "welcome"),
        ("track", "keep"),
    ]
    assert rows(house, "SELECT readiness FROM lead ORDER BY id") == [
        ("student",),
        ("ready",),
        ("nurture",),
        ("nurture",),
    ]
    assert one(house, "SELECT reason FROM outcome") == "not a buyer"


def test_who_may_not_be_mailed_waits_in_the_queue_that_says_why(house: House) -> None:
    optout = add_lead(house, title="Head")
    tell(house, optout, SignalKind.UNSUBSCRIBED, START)
    nomail, nobasis = add_lead(house, email=None), add_lead(house, basis=None, demo_requested=True)
    enroll.classify(house, START)
    assert custody(house, optout) == ("queue", "suppressed")
    assert custody(house, nomail) == ("queue", "no-address")
    assert custody(house, nobasis) == ("queue", "no-basis")


def test_a_lead_that_fits_no_audience_waits_and_is_tried_again_when_the_rules_changed(
    db: Database, tmp_path: Path
) -> None:
    rules = tiny_rules()
    rules["tracks/keep/track.yaml"] = rules["tracks/keep/track.yaml"].replace(
        "audience: everybody", "audience: {field: title, contains: [clerk]}"
    )
    house = make_house(db, tmp_path, rules=rules)
    lead = add_lead(house, title="Gardener")
    tick_at(house, START)
    assert custody(house, lead) == ("queue", "no-track")
    publish(house, tiny_rules(), START + DAY)
    tick_at(house, START + 7 * DAY, START + 7 * DAY)
    assert custody(house, lead) == ("track", "keep")


def test_nothing_is_classified_twice(house: House) -> None:
    add_lead(house, title="Head")
    assert enroll.classify(house, START).total() == 1
    assert enroll.classify(house, START).total() == 0


@pytest.mark.parametrize("scanned", [False, True])
def test_a_click_settles_before_it_makes_a_lead_ready(
    sqlite_db: Database, tmp_path: Path, scanned: bool
) -> None:
    rules = tiny_rules()
    clicker = "  - name: clicker\n    when: {did: clicked}\n    then: hand_off\n"
    policy = rules["sales/policy.yaml"].replace("readiness:\n", f"readiness:\n{clicker}")
    house = make_house(sqlite_db, tmp_path, rules=rules | {"sales/policy.yaml": policy})
    lead = add_lead(house, title="Head")
    tick_at(house, START, START + timedelta(hours=2))
    close.close(house, lead, Closing.UNREACHABLE, START + DAY)
    at = START + 2 * DAY
    message = one(house, "SELECT id FROM message WHERE kind = 'touch'")
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    signals.record(house, [], at, [Visited(SignalKind.CLICKED, message, at, "guide", agent=agent)])
    tell(house, lead, SignalKind.REGISTERED, at)
    assert custody(house, lead)[0] == "intake"
    soon = at + timedelta(seconds=1)
    assert enroll.classify(house, soon) == {"settling": 1}
    assert due_at(house, lead) == at + timedelta(seconds=90)
    assert one(house, "SELECT readiness FROM lead") == "nurture"
    if scanned:
        signals.record(house, [], soon, [Visited(SignalKind.CLICKED, message, soon, "prices", agent=agent)])
    enroll.classify(house, at + timedelta(seconds=90))
    assert one(house, "SELECT readiness FROM lead") == ("nurture" if scanned else "clicker")
