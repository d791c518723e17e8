"""The ladder: remind, escalate, take back, re-route; and following up what was taken over."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.errors import Refused
from nurture.journey.handoff import call_back, follow_up, reassign, roster, sweep
from nurture.journey.outcomes import close
from nurture.reporting import explain
from nurture.runtime.context import House
from tests.journey.builders import add_lead, make_house, tick_at, tiny_rules
from tests.journey.observe import custody, due_at, events, one, rows, tell

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONDAY = datetime(2026, 1, 5, 10, tzinfo=UTC)

PEOPLE = """
desk: {zone: UTC, hours: "monday to friday 09:00-17:00"}
managers: [{id: lena, name: Lena, email: lena@house.example}]
reps:
  - {id: ana, name: Ana, email: ana@house.example, capacity: 5, manager: lena}
  - {id: ben, name: Ben, email: ben@house.example, capacity: 5, manager: lena}
  - {id: cem, name: Cem, email: cem@house.example, capacity: 5, manager: lena}
sla:
  accept: {remind: 2 business hours, escalate: 4 business hours, take_back: 1 business day, reroute: 1}
  follow_up: {remind: 1 business day, escalate: 2 business days, take_back: 3 business days}
"""


def laddered(people: str = PEOPLE) -> dict[str, str]:
    """Return the tiny rules with people, hours and a ladder."""
    rules = tiny_rules()
    policy = rules["sales/policy.yaml"]
    reps = policy[policy.index("reps:") : policy.index("accept_within")]
    rules["sales/policy.yaml"] = policy.replace(reps, people.lstrip("\n"))
    return rules


@pytest.fixture
def house(sqlite_db: Database, tmp_path: Path) -> House:
    return make_house(sqlite_db, tmp_path, MONDAY, laddered())


def _offered(house: House, at: datetime = MONDAY) -> tuple[int, int]:
    lead = add_lead(house, demo_requested=True, title="Head", at=at)
    tick_at(house, at)
    return lead, _open(house, lead)


def _open(house: House, lead: int) -> int:
    offer: int = one(house, "SELECT id FROM offer WHERE lead_id = :id AND state = 'offered'", id=lead)
    return offer


def _mails(house: House) -> list[tuple[str, str, str]]:
    wanted = "SELECT send_key, rep, state FROM message WHERE kind = 'sla' ORDER BY id"
    return rows(house, wanted)  # type: ignore[return-value]


def test_each_step_of_an_open_offer_is_done_once_at_its_business_hour(house: House) -> None:
    lead, offer = _offered(house)
    assert due_at(house, lead) == MONDAY + 2 * HOUR
    tick_at(house, *(MONDAY + minutes * HOUR / 60 for minutes in (119, 120, 121, 239, 240, 241)))
    tick_at(house, MONDAY + 20 * HOUR, MONDAY + DAY, MONDAY + DAY + HOUR)
    assert _mails(house)[:2] == [
        (f"sla:{offer}:1", "ana", "accepted"),
        (f"sla:{offer}:2", "lena", "accepted"),
    ]
    wanted = "SELECT at FROM journal WHERE lead_id = :id AND event = 'taken_back'"
    assert str(one(house, wanted, id=lead)).startswith("2026-01-06T10:00")
    assert [row[:3] for row in rows(house, "SELECT id, rep, state FROM offer ORDER BY id")] == [
        (1, "ana", "expired"),
        (2, "ben", "offered"),
    ]


def test_nights_and_weekends_do_not_count(house: House) -> None:
    friday = MONDAY + 4 * DAY + 6 * HOUR  # 16:00
    lead, _ = _offered(house, friday)
    assert due_at(house, lead) == friday + 3 * DAY - 6 * HOUR  # Monday 10:00
    tick_at(house, *(friday + hours * HOUR for hours in (2, 20, 44, 60)))
    assert _mails(house) == []


def test_reminders_are_letters_that_say_what_to_do(house: House, tmp_path: Path) -> None:
    lead, offer = _offered(house)
    tick_at(house, MONDAY + 2 * HOUR, MONDAY + 4 * HOUR)
    mails = [path.read_text("utf-8") for path in (tmp_path / "mailbox" / "new").iterdir()]
    said = "\n".join(mails).replace("=\n", "")
    said = " ".join(said.split())
    assert f"nurture handoffs accept {offer}" in said
    assert f"nurture handoffs reassign {offer} REP" in said
    assert "taken back on Tuesday 6 January 2026, 10:00 (UTC)" in said
    assert events(house, lead)[-2:] == ["reminded", "escalated"]


def test_after_the_last_rep_the_lead_goes_back_to_a_track(house: House) -> None:
    lead, _ = _offered(house)
    for hours in (2, 4, 24, 26, 28, 48, 72):
        tick_at(house, MONDAY + hours * HOUR)
    assert rows(house, "SELECT rep, state, round FROM offer ORDER BY id") == [
        ("ana", "expired", 1),
        ("ben", "expired", 2),
    ]
    assert custody(house, lead)[0] == "track"


def test_where_no_other_rep_is_left_the_lead_goes_back_to_a_track(
    sqlite_db: Database, tmp_path: Path
) -> None:
    alone = "\n".join(line for line in PEOPLE.split("\n") if "id: ben" not in line and "id: cem" not in line)
    house = make_house(sqlite_db, tmp_path, MONDAY, laddered(alone))
    lead, _ = _offered(house)
    tick_at(house, MONDAY + DAY, MONDAY + DAY + HOUR)
    assert custody(house, lead) == ("track", "welcome")
    assert one(house, "SELECT count(*) FROM offer") == 1


def test_a_sweep_that_slept_takes_back_without_reminding(house: House) -> None:
    _offered(house)
    tick_at(house, MONDAY + 2 * DAY)
    assert _mails(house) == []
    assert one(house, "SELECT state FROM offer WHERE id = 1") == "expired"


def test_an_answer_stops_the_ladder(house: House) -> None:
    lead, offer = _offered(house)
    sweep.accept(house, offer, MONDAY + HOUR)
    tick_at(house, *(MONDAY + hours * HOUR for hours in (2, 4, 8)))
    assert _mails(house) == []
    assert due_at(house, lead) == MONDAY + HOUR + DAY


def test_an_accepted_lead_that_nobody_calls_climbs_its_own_ladder(house: House) -> None:
    _, offer = _offered(house)
    sweep.accept(house, offer, MONDAY)
    for hours in (0, 4, 23, 24, 25, 47, 48, 49, 72):
        tick_at(house, MONDAY + hours * HOUR)
    assert _mails(house)[:2] == [
        (f"sla:{offer}:3", "ana", "accepted"),
        (f"sla:{offer}:4", "lena", "accepted"),
    ]
    assert rows(house, "SELECT rep, state FROM offer ORDER BY id")[0] == ("ana", "lapsed")
    assert one(house, "SELECT rep FROM offer WHERE id = 2") == "ben"


@pytest.mark.parametrize("how", ["call", "reply"])
def test_a_first_touch_stops_it(house: House, how: str) -> None:
    lead, offer = _offered(house)
    sweep.accept(house, offer, MONDAY)
    if how == "call":
        assert follow_up.followed_up(house, lead, "call", MONDAY + HOUR) == "ana"
    else:
        tell(house, lead, SignalKind.REPLIED, MONDAY + HOUR)
    tick_at(house, *(MONDAY + days * DAY for days in (1, 2, 3, 4)))
    assert _mails(house) == []
    assert custody(house, lead) == ("rep", "ana")
    assert one(house, "SELECT followed_how FROM offer") == how
    assert due_at(house, lead) == MONDAY + HOUR + 60 * DAY


def test_what_was_said_before_the_rep_took_over_is_no_touch(house: House) -> None:
    lead, offer = _offered(house)
    tell(house, lead, SignalKind.REPLIED, MONDAY + HOUR)
    sweep.accept(house, offer, MONDAY + 2 * HOUR)
    tick_at(house, MONDAY + 3 * HOUR)
    assert one(house, "SELECT followed_up_at FROM offer") is None
    with pytest.raises(Refused, match="with no rep"):
        follow_up.followed_up(house, add_lead(house, at=MONDAY), "call", MONDAY + 3 * HOUR)


def test_a_closed_lead_is_no_work_in_hand(house: House) -> None:
    lead, offer = _offered(house)
    sweep.accept(house, offer, MONDAY)
    close.close(house, lead, Closing.LOST, MONDAY + HOUR, reason="no budget")
    assert one(house, "SELECT followed_how FROM offer") == "closed"


def test_an_open_offer_is_given_to_another_rep(house: House) -> None:
    lead, offer = _offered(house)
    tick_at(house, MONDAY + 2 * HOUR)
    reassign.reassign(house, offer, "cem", MONDAY + 3 * HOUR)
    assert rows(house, "SELECT rep, state, level FROM offer ORDER BY id") == [
        ("ana", "reassigned", 1),
        ("cem", "offered", 0),
    ]
    assert due_at(house, lead) == MONDAY + 5 * HOUR
    assert "reassigned" in events(house, lead)


def test_a_lead_that_was_taken_over_is_given_to_another_rep_who_accepts_it_first(house: House) -> None:
    lead, offer = _offered(house)
    sweep.accept(house, offer, MONDAY)
    reassign.reassign(house, offer, "ben", MONDAY + HOUR)
    assert custody(house, lead)[0] == "offer"
    sweep.accept(house, _open(house, lead), MONDAY + 2 * HOUR)
    assert custody(house, lead) == ("rep", "ben")
    assert rows(house, "SELECT state FROM offer ORDER BY id") == [("reassigned",), ("accepted",)]


@pytest.mark.parametrize(
    ("to", "said"), [("ana", "is ana's already"), ("zoe", "It names: ana, ben, cem"), ("ben", "5 of 5 today")]
)
def test_what_cannot_be_reassigned_changes_nothing(house: House, to: str, said: str) -> None:
    _, offer = _offered(house)
    for _ in range(14):
        add_lead(house, demo_requested=True, at=MONDAY)
    tick_at(house, MONDAY)
    with pytest.raises(Exception, match=said):
        reassign.reassign(house, offer, to, MONDAY + HOUR)
    assert one(house, "SELECT state FROM offer WHERE id = :id", id=offer) == "offered"
    if to == "ben":
        reassign.reassign(house, offer, to, MONDAY + HOUR, anyway=True)
        assert one(house, "SELECT state FROM offer WHERE id = :id", id=offer) == "reassigned"


def test_a_lead_that_its_rep_asked_for_begins_a_hand_off_of_its_own(house: House) -> None:
    lead, offer = _offered(house)
    sweep.reject(house, offer, "not-now", MONDAY + HOUR)
    asked = MONDAY + 7 * DAY
    call_back.pull(house, lead, "ben", asked)
    tick_at(house, asked + DAY, asked + DAY)
    assert rows(house, "SELECT rep, state, round FROM offer ORDER BY id") == [
        ("ana", "rejected", 1),
        ("ben", "expired", 1),
        ("cem", "offered", 2),
    ]


def test_what_a_rep_has_on_offer_goes_to_the_next_one_as_leave_begins(house: House) -> None:
    lead, _ = _offered(house)
    begins = date(2026, 1, 6)
    roster.add_leave(house, "ana", begins, begins, None, MONDAY)
    assert due_at(house, lead) == MONDAY + 2 * HOUR, "the ladder comes sooner"
    tick_at(house, MONDAY + 4 * HOUR)
    assert due_at(house, lead) == MONDAY + DAY
    roster.cancel_leave(house, "ana", begins, MONDAY + 5 * HOUR)
    roster.add_leave(house, "ana", MONDAY.date(), begins, None, MONDAY + 5 * HOUR)
    tick_at(house, MONDAY + 5 * HOUR)
    assert rows(house, "SELECT rep, state, round FROM offer ORDER BY id") == [
        ("ana", "expired", 1),
        ("ben", "offered", 2),
    ]


def test_where_offers_go_to_nobody_else_a_rep_on_leave_still_passes_them_on(
    sqlite_db: Database, tmp_path: Path
) -> None:
    house = make_house(sqlite_db, tmp_path, MONDAY, laddered(PEOPLE.replace("reroute: 1", "reroute: 0")))
    lead, _ = _offered(house)
    roster.add_leave(house, "ana", MONDAY.date(), MONDAY.date(), None, MONDAY + HOUR)
    tick_at(house, MONDAY + HOUR)
    assert custody(house, lead) == ("offer", "2")


def test_a_lead_that_only_somebody_on_leave_takes_is_offered_when_they_are_back(
    sqlite_db: Database, tmp_path: Path
) -> None:
    more = (
        "pools: {south: {reps: [ana]}}\nrouting: [{name: account, to: account owner}, "
        "{name: all, when: always, to: {pool: south}}]\n"
    )
    house = make_house(sqlite_db, tmp_path, MONDAY, laddered(PEOPLE + more))
    roster.add_leave(house, "ana", MONDAY.date(), MONDAY.date(), None, MONDAY)
    lead = add_lead(house, demo_requested=True, at=MONDAY)
    tick_at(house, MONDAY)
    assert custody(house, lead) == ("queue", "no-rep")
    tick_at(house, MONDAY + DAY, MONDAY + DAY)
    assert custody(house, lead) == ("offer", "1")
    other = add_lead(house, demo_requested=True, at=MONDAY + DAY)
    tuesday = date(2026, 1, 6)
    roster.add_leave(house, "ana", tuesday, tuesday, None, MONDAY + DAY)
    tick_at(house, MONDAY + DAY)
    roster.cancel_leave(house, "ana", tuesday, MONDAY + DAY + HOUR)
    tick_at(house, MONDAY + DAY + HOUR, MONDAY + DAY + HOUR)
    assert custody(house, other)[0] == "offer", "who comes back sooner is given it sooner"


def test_why_tells_what_comes_next(house: House) -> None:
    lead, _ = _offered(house)
    trace = explain.why(house, lead, MONDAY + HOUR)
    assert trace.next_action == "ana answers; else ana is reminded at 2026-01-05 12:00 UTC"
    told = dict(explain.summary(trace))["ladder"]
    assert told == (
        "remind on 2026-01-05 12:00 UTC, escalate on 2026-01-05 14:00 UTC, take back on 2026-01-06 10:00 UTC"
    )
