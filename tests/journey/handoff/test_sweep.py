"""Handing leads to sales, and taking them back."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.errors import NotFound, Refused
from nurture.journey.handoff import sweep
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at, tiny_rules
from tests.journey.observe import crowd, custody, due_at, events, everything, messages, one, rows, tell, write

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    return make_house(db, tmp_path)


def _offer(house: House, lead: int) -> int:
    wanted = "SELECT id FROM offer WHERE lead_id = :id AND state = 'offered'"
    offer: int = one(house, wanted, id=lead)
    return offer


def _offered(house: House, at: datetime = START) -> tuple[int, int]:
    """Return a lead that was on its track for an hour, and its open offer."""
    lead = add_lead(house, title="Head", at=at)
    tick_at(house, at, at + HOUR)
    tell(house, lead, SignalKind.REPLIED, at + HOUR)
    tick_at(house, at + HOUR)
    return lead, _offer(house, lead)


def _stays(house: House, lead: int) -> list[tuple[str, str | None]]:
    return rows(house, "SELECT track, end_reason FROM enrollment WHERE lead_id = :id ORDER BY id", id=lead)  # type: ignore[return-value]


def test_reps_take_turns_and_each_offer_names_its_because(house: House) -> None:
    crowd(house, 4, demo_requested=True)
    tick_at(house, START)
    assert [row[0] for row in rows(house, "SELECT rep FROM offer ORDER BY id")] == [
        "ana",
        "ben",
        "ana",
        "ben",
    ]
    ((because, routed),) = rows(house, "SELECT because, routed_because FROM offer WHERE id = 1")
    assert because == "ready: demo_requested is yes"
    assert "everyone: pool everyone, round robin: it is Ana's turn" in routed


def test_turns_go_on_over_the_days(house: House) -> None:
    for day in range(3):
        add_lead(house, demo_requested=True)
        tick_at(house, START + day * HOUR)
    assert [row[0] for row in rows(house, "SELECT rep FROM offer ORDER BY id")] == ["ana", "ben", "ana"]


def test_the_surplus_of_a_day_waits_for_the_next_one_and_nobody_is_lost(house: House) -> None:
    crowd(house, 23, demo_requested=True)
    given = []
    for day in range(3):
        now = START + day * DAY
        tick_at(house, now, now + 3 * HOUR)
        reps = rows(house, "SELECT rep FROM offer WHERE state = 'offered'")
        given.append(sorted(Counter(rep for (rep,) in reps).values()))
        write(house, "UPDATE offer SET state = 'accepted' WHERE state = 'offered'")
    assert given == [[5, 5], [5, 5], [1, 2]]
    assert one(house, "SELECT count(DISTINCT lead_id) FROM offer") == 23


def test_those_who_waited_longest_are_offered_first(house: House) -> None:
    early = crowd(house, 12, demo_requested=True)
    tick_at(house, START)
    crowd(house, 10, at=START + HOUR, demo_requested=True)
    tick_at(house, START + HOUR, START + DAY)
    offered = [row[0] for row in rows(house, "SELECT lead_id FROM offer ORDER BY id")]
    assert set(early) <= set(offered[:12])


def test_a_lead_that_waits_for_room_says_so_and_gets_no_touch(house: House) -> None:
    leads = crowd(house, 11, demo_requested=True)
    tick_at(house, START, START + 2 * HOUR)
    waiting = [lead for lead in leads if custody(house, lead)[0] == "queue"]
    assert [custody(house, lead) for lead in waiting] == [("queue", "hand-off")]
    assert events(house, waiting[0])[-1] == "held"
    assert due_at(house, waiting[0]) == START.replace(hour=0) + DAY
    assert messages(house) == []


def test_accepting_ends_the_track_and_makes_the_rep_the_custodian(house: House) -> None:
    lead, offer = _offered(house)
    assert _stays(house, lead) == [("welcome", None)]
    sweep.accept(house, offer, START + 2 * HOUR)
    assert custody(house, lead) == ("rep", "ana")
    assert _stays(house, lead) == [("welcome", "accepted")]
    assert due_at(house, lead) == START + 2 * HOUR + 2 * DAY
    assert one(house, "SELECT state FROM offer") == "accepted"


def test_while_an_offer_is_open_the_track_is_held(house: House) -> None:
    lead, _ = _offered(house)
    before = len(messages(house))
    for hour in range(2, 24):
        tick_at(house, START + hour * HOUR)
    assert len(messages(house)) == before
    assert custody(house, lead)[0] == "offer"


@pytest.mark.parametrize("first", ["accept", "reject"])
@pytest.mark.parametrize("second", ["accept", "reject"])
def test_an_offer_is_answered_once(house: House, first: str, second: str) -> None:
    _, offer = _offered(house)

    def answer(how: str) -> None:
        if how == "accept":
            sweep.accept(house, offer, START + 2 * HOUR)
        else:
            sweep.reject(house, offer, "not-now", START + 2 * HOUR)

    answer(first)
    before = everything(house)
    with pytest.raises(Refused, match=f"already {first}ed"):
        answer(second)
    assert everything(house) == before


def test_an_offer_that_is_not_there_is_named(house: House) -> None:
    with pytest.raises(NotFound, match="hand-off 77"):
        sweep.accept(house, 77, START)


def test_an_unknown_reason_changes_nothing_and_names_the_known_ones(house: House) -> None:
    _, offer = _offered(house)
    before = everything(house)
    with pytest.raises(Refused, match="bad-fit, not-now, please-check, wrong-person"):
        sweep.reject(house, offer, "dunno", START + 2 * HOUR)
    assert everything(house) == before


def test_wrong_person_resumes_the_track_after_its_cool_off(house: House) -> None:
    lead, offer = _offered(house)
    sweep.reject(house, offer, "wrong-person", START + 2 * HOUR)
    assert custody(house, lead) == ("track", "welcome")
    assert _stays(house, lead) == [("welcome", None)]
    assert due_at(house, lead) == START + 2 * HOUR + 7 * DAY


def test_nothing_that_a_lead_does_shortens_its_cool_off_but_what_hands_it_off(house: House) -> None:
    lead, offer = _offered(house)
    sweep.reject(house, offer, "wrong-person", START + DAY)
    over, before = START + 8 * DAY, messages(house)
    tell(house, lead, SignalKind.VISITED, START + 2 * DAY)
    tick_at(house, *(START + day * DAY + 2 * HOUR for day in range(2, 8)))
    assert messages(house) == before
    assert due_at(house, lead) == over
    tell(house, lead, SignalKind.REPLIED, over - HOUR)
    tick_at(house, over - HOUR)
    assert custody(house, lead)[0] == "offer"


def test_not_now_goes_to_its_track_and_is_left_in_peace_first(house: House) -> None:
    lead, offer = _offered(house)
    rejected = START + 2 * HOUR
    sweep.reject(house, offer, "not-now", rejected)
    assert custody(house, lead) == ("track", "keep")
    assert _stays(house, lead) == [("welcome", "moved to keep"), ("keep", None)]
    for day in range(60):
        tick_at(house, rejected + day * DAY)
    sent = [step for who, step, state, _ in messages(house) if who == lead and step != "01-hello"]
    first = one(house, "SELECT min(send_at) FROM message WHERE track = 'keep'")
    assert sent[0] == "01-news"
    assert str(first)[:10] >= f"{rejected + 30 * DAY:%Y-%m-%d}"


def test_bad_fit_closes_the_lead_and_please_check_queues_it(house: House) -> None:
    unfit, first = _offered(house)
    sweep.reject(house, first, "bad-fit", START + 2 * HOUR)
    assert custody(house, unfit) == ("closed", "discarded")
    assert _stays(house, unfit)[0][1] == "discarded"
    odd, second = _offered(house, START + 3 * HOUR)
    sweep.reject(house, second, "please-check", START + 5 * HOUR)
    assert custody(house, odd) == ("queue", "needs-a-look")
    assert due_at(house, odd) is not None


def test_evidence_that_a_rep_has_answered_does_not_hand_the_lead_off_again(house: House) -> None:
    lead, offer = _offered(house)
    sweep.reject(house, offer, "wrong-person", START + 2 * HOUR)
    for day in range(10):
        tick_at(house, START + 2 * HOUR + day * DAY)
    assert custody(house, lead)[0] == "track"
    assert one(house, "SELECT count(*) FROM offer") == 1


def test_a_date_that_the_rep_learned_brings_the_lead_back_in_time(house: House) -> None:
    lead, offer = _offered(house)
    decides = date(2026, 9, 1)
    sweep.reject(house, offer, "not-now", START + 2 * HOUR, decides)
    found = None
    for day in range(40, 200):
        now = START + day * DAY
        tick_at(house, now)
        if one(house, "SELECT count(*) FROM offer") == 2:
            found = now
            break
    assert found is not None
    assert found.date() in (decides - timedelta(days=90), decides - timedelta(days=89))
    assert one(house, "SELECT rule FROM offer WHERE id = 2") == "decides-soon"
    assert custody(house, lead)[0] == "offer"


def test_an_offer_that_nobody_answers_expires_and_the_track_goes_on(house: House) -> None:
    lead = add_lead(house, title="Head of stock")
    tick_at(house, START)
    for minute in range(3):
        tell(house, lead, SignalKind.CLICKED, START + minute * timedelta(minutes=1))
    tick_at(house, START + HOUR)
    tick_at(house, START + HOUR + DAY - timedelta(minutes=1))
    assert one(house, "SELECT state FROM offer") == "offered"
    tick_at(house, START + HOUR + DAY)
    assert one(house, "SELECT state FROM offer") == "expired"
    assert custody(house, lead) == ("track", "welcome")
    assert due_at(house, lead) == START + HOUR + DAY + 7 * DAY


def test_a_lead_that_came_straight_to_sales_finds_a_track_when_its_offer_expires(house: House) -> None:
    lead = add_lead(house, demo_requested=True, title="Head")
    tick_at(house, START, START + DAY)
    assert custody(house, lead) == ("track", "welcome")


def test_a_rep_who_gave_a_lead_back_does_not_get_it_again(house: House) -> None:
    lead, offer = _offered(house)
    assert one(house, "SELECT rep FROM offer WHERE id = :id", id=offer) == "ana"
    sweep.reject(house, offer, "wrong-person", START + 2 * HOUR)
    tell(house, lead, SignalKind.REPLIED, START + 8 * DAY)
    tick_at(house, START + 8 * DAY)
    assert one(house, "SELECT rep FROM offer WHERE id = :id", id=_offer(house, lead)) == "ben"


def test_a_lead_that_every_rep_gave_back_waits_for_a_person(house: House) -> None:
    lead, offer = _offered(house)
    sweep.reject(house, offer, "wrong-person", START + 2 * HOUR)
    for days in (8, 16):
        tell(house, lead, SignalKind.REPLIED, START + days * DAY)
        tick_at(house, START + days * DAY)
        if days == 8:
            sweep.reject(house, _offer(house, lead), "wrong-person", START + days * DAY)
    assert custody(house, lead) == ("queue", "no-rep")
    assert due_at(house, lead) == START + 23 * DAY


def test_a_lead_that_sales_gives_back_after_opting_out_leaves_for_its_queue(house: House) -> None:
    lead, offer = _offered(house)
    tell(house, lead, SignalKind.UNSUBSCRIBED, START + 2 * HOUR)
    sweep.reject(house, offer, "wrong-person", START + 2 * HOUR)
    tick_at(house, START + 2 * HOUR, START + 10 * DAY)
    assert custody(house, lead) == ("queue", "suppressed")
    assert [row[2] for row in messages(house)] == ["accepted"]


def test_a_lead_whose_facts_fail_the_rules_does_not_keep_other_offers_from_expiring(
    db: Database, tmp_path: Path
) -> None:
    rules = tiny_rules()
    rules["tracks/welcome/track.yaml"] = rules["tracks/welcome/track.yaml"].replace(
        "audience: {field: title, contains: [head]}", "audience: {field: employees, at_least: 10}"
    )
    house = make_house(db, tmp_path, rules=rules)
    bad = add_lead(house, demo_requested=True, employees=50)
    good = add_lead(house, demo_requested=True, employees=50)
    tick_at(house, START)
    write(house, "UPDATE lead SET facts = '{\"employees\": [1]}' WHERE id = :id", id=bad)
    tick_at(house, START + DAY)
    assert custody(house, good) == ("track", "welcome")
    assert custody(house, bad) == ("queue", "no-track")


def test_a_rep_who_does_not_follow_up_is_reminded_of(house: House) -> None:
    lead, offer = _offered(house)
    sweep.accept(house, offer, START + 2 * HOUR)
    tick_at(house, START + 3 * DAY)
    assert events(house, lead)[-1] == "reminder"
    assert custody(house, lead) == ("rep", "ana")


def test_each_offer_has_one_brief_to_its_rep(house: House) -> None:
    crowd(house, 3, demo_requested=True)
    tick_at(house, START, START + HOUR)
    assert rows(house, "SELECT send_key, rep, state FROM message WHERE kind = 'brief' ORDER BY id") == [
        ("brief:1", "ana", "accepted"),
        ("brief:2", "ben", "accepted"),
        ("brief:3", "ana", "accepted"),
    ]
