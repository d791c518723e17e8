"""A hot lead is never lost: who asks for a person is with sales after one sweep, whatever state it was in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import bindparam, func, select, text

from nurture.db.engine import Database
from nurture.db.tables import core
from nurture.db.types import UtcDateTime
from nurture.domain.consent.suppression import Source
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.journey.consent import suppression
from nurture.journey.consent.suppression import About, OptOut
from nurture.journey.engagement import replies
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.handoff import call_back, responses
from nurture.journey.intake import import_file
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import signal_queries
from nurture.journey.outcomes import close
from nurture.journey.tracks import manual
from nurture.mail.inbound.message import read_mail
from nurture.reporting import explain
from nurture.reporting.leads import list_leads
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at, tiny_rules
from tests.journey.engagement.test_replies import reply_address
from tests.journey.observe import counted, crowd, custody, due_at, events, heard, one, rows, tell
from tests.mail.inbound.replying import mail

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW: Final = START + 4 * HOUR
"""When the states below are reached; their first email went an hour ago."""

DEMO, REPLIED, DECIDING = SignalKind.REQUESTED_DEMO, SignalKind.REPLIED, SignalKind.DECIDING
POLICY: Final = "sales/policy.yaml"
WELCOME: Final = "tracks/welcome/track.yaml"
KEEP: Final = "tracks/keep/track.yaml"


def rules() -> dict[str, str]:
    """The tiny rules with a criterion for demos; only heads and deputies find a track."""
    found = tiny_rules()
    demo = "  - name: demo\n    when: {did: requested_demo}\n"
    found[POLICY] = found[POLICY].replace("hand_off_when:\n", f"hand_off_when:\n{demo}")
    found[POLICY] = found[POLICY].replace("then: {track: keep}, cool_off", "then: {track: welcome}, cool_off")
    found[WELCOME] = (
        found[WELCOME].replace("goal:", "topic: news\ngoal:").replace("after 30 days", "after 1 day")
    )
    found[KEEP] = found[KEEP].replace("audience: everybody", "audience: {field: title, contains: [deputy]}")
    return found


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    house = make_house(db, tmp_path, rules=rules())
    house.reply_domain = "in.example.com"
    return house


def on_track(house: House) -> int:
    lead = add_lead(house, title="Head of stock", email="mia@people.example")
    tick_at(house, START, START + 2 * HOUR, START + 3 * HOUR)
    assert custody(house, lead) == ("track", "welcome")
    return lead


def offered(house: House) -> tuple[int, int]:
    lead = on_track(house)
    tell(house, lead, REPLIED, NOW - 30 * timedelta(minutes=1))
    tick_at(house, NOW - 30 * timedelta(minutes=1))
    return lead, one(house, "SELECT id FROM offer WHERE state = 'offered'")


def paused(by: str) -> Callable[[House], int]:
    def state(house: House) -> int:
        lead = on_track(house)
        manual.pause(house, lead, START + 180 * DAY, NOW, by=by)
        tick_at(house, NOW)
        return lead

    return state


def refused(source: Source, about: About, *, swept: bool) -> Callable[[House], int]:
    def state(house: House) -> int:
        lead = on_track(house)
        address = one(house, "SELECT address_id FROM lead WHERE id = :id", id=lead)
        with house.database.write() as connection:
            suppression.opt_out(house.database, connection, [OptOut(address, source, *about, at=NOW)], NOW)
        if swept:
            tick_at(house, NOW)
            assert custody(house, lead) == ("queue", "suppressed")
        return lead

    return state


def unsubscribed(house: House) -> int:
    lead = on_track(house)
    tell(house, lead, SignalKind.UNSUBSCRIBED, NOW)
    tick_at(house, NOW)
    assert custody(house, lead) == ("queue", "suppressed")
    return lead


def rejected(reason: str) -> Callable[[House], int]:
    def state(house: House) -> int:
        lead, offer = offered(house)
        responses.reject(house, offer, reason, NOW)
        tick_at(house, NOW)
        return lead

    return state


def closed(closing: Closing) -> Callable[[House], int]:
    def state(house: House) -> int:
        lead, offer = offered(house)
        responses.accept(house, offer, NOW)
        close.close(house, lead, closing, NOW)
        return lead

    return state


def came_in(queue: str, **facts: str | None) -> Callable[[House], int]:
    def state(house: House) -> int:
        lead = add_lead(house, **{"title": "Head of stock", **facts})
        tick_at(house, START, NOW)
        assert custody(house, lead) == ("queue", queue)
        return lead

    return state


def taken_off(house: House) -> int:
    lead = on_track(house)
    manual.leave(house, lead, "by-hand", NOW)
    return lead


def not_classified(house: House) -> int:
    return add_lead(house, title="Clerk", basis=None, at=NOW)


def held_for_room(house: House) -> int:
    crowd(house, 10, demo_requested=True)
    lead = add_lead(house, title="Head", demo_requested=True)
    tick_at(house, START, NOW)
    assert custody(house, lead) == ("queue", "hand-off")
    return lead


TOPIC, TRACK = About(suppression.Scope.TOPIC, "news"), About(suppression.Scope.TRACK, "welcome")
EVERYTHING: Final = suppression.EVERYTHING
STATES: dict[str, Callable[[House], int]] = {
    "on its track": on_track,
    "offered": lambda house: offered(house)[0],
    "paused on its page": paused("as the lead asked on its page"),
    "paused by hand": paused(manual.BY_HAND),
    "paused by a rep": paused("by rep ana"),
    "in cool-off on another track": rejected("not-now"),
    "in cool-off on its track": rejected("wrong-person"),
    "given back for a look": rejected("please-check"),
    "given back as a bad fit": rejected("bad-fit"),
    "lost": closed(Closing.LOST),
    "unreachable": closed(Closing.UNREACHABLE),
    "discarded": closed(Closing.DISCARDED),
    "unsubscribed": unsubscribed,
    **{f"suppressed by {source}": refused(source, EVERYTHING, swept=True) for source in Source},
    **{f"just suppressed by {source}": refused(source, EVERYTHING, swept=False) for source in Source},
    "no mail about its topic": refused(Source.PAGE, TOPIC, swept=True),
    "no mail of its track": refused(Source.PAGE, TRACK, swept=True),
    "without a basis": came_in("no-basis", basis=None),
    "without an address": came_in("no-address", email=None),
    "without a track": came_in("no-track", title="Clerk"),
    "taken off by hand": taken_off,
    "not classified yet": not_classified,
    "held for room": held_for_room,
}


def with_sales(house: House, lead: int) -> bool:
    """Whether a rep has the lead, or is to get it, and when is known."""
    kind, ref = custody(house, lead)
    return due_at(house, lead) is not None and (
        kind in ("offer", "rep") or (kind, ref) == ("queue", "hand-off")
    )


def mailed_since(house: House, lead: int, moment: datetime) -> int:
    message = core.Message.__table__  # type: ignore[attr-defined]
    mine = (message.c.lead_id == lead) & (message.c.kind == "touch") & (message.c.planned_at >= moment)
    with house.database.read() as connection:
        return int(connection.execute(select(func.count()).where(mine)).scalar_one())


def nobody_answers(house: House, lead: int, since: datetime) -> None:
    """Let weeks go by without a rep who answers: the lead stays with sales, or waits for a person."""
    for days in (1, 2, 3, 9, 10, 11, 18):
        tick_at(house, since + days * DAY)
        waits = custody(house, lead) == ("queue", "no-rep")
        assert waits or with_sales(house, lead), (days, custody(house, lead), events(house, lead))
    assert custody(house, lead) == ("queue", "no-rep")
    assert lead in [row.id for row in list_leads(house, since + 18 * DAY, queue="no-rep")]
    assert mailed_since(house, lead, since) == 0


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
@pytest.mark.parametrize("kind", [DEMO, REPLIED, DECIDING])
def test_after_a_request_the_lead_is_with_sales_within_one_sweep(
    house: House, state: Callable[[House], int], kind: SignalKind
) -> None:
    lead = state(house)
    later = NOW + 3 * HOUR
    value = "2026-02-20" if kind is DECIDING else None
    tell(house, lead, kind, later, value)
    tick_at(house, later)
    assert with_sales(house, lead), (custody(house, lead), events(house, lead))
    nobody_answers(house, lead, later)


@pytest.mark.parametrize(
    "state",
    [
        name
        for name in STATES
        if name.startswith(
            ("suppressed", "just", "unsub", "no mail", "without a basis", "without an", "paused")
        )
    ],
)
def test_interest_takes_nobody_out_of_silence(house: House, state: str) -> None:
    lead = STATES[state](house)
    for hour in range(1, 5):
        tell(house, lead, SignalKind.CLICKED, NOW + hour * HOUR)
    tick_at(house, NOW + DAY, NOW + 2 * DAY)
    assert not with_sales(house, lead)


SILENT: Final = [
    "unsubscribed",
    "suppressed by complaint",
    "no mail about its topic",
    "without a basis",
    "without an address",
]


@pytest.mark.parametrize("state", SILENT)
@pytest.mark.parametrize("answer", ["not-now", "wrong-person"])
def test_who_may_not_be_mailed_goes_back_to_its_queue_and_is_not_offered_again(
    house: House, state: str, answer: str
) -> None:
    lead = STATES[state](house)
    queue = custody(house, lead)
    tell(house, lead, DEMO, NOW + HOUR)
    tick_at(house, NOW + HOUR)
    offers = one(house, "SELECT count(*) FROM offer")
    offer = one(house, "SELECT max(id) FROM offer")
    responses.reject(house, offer, answer, NOW + 2 * HOUR)
    tick_at(house, NOW + 2 * DAY, NOW + 9 * DAY, NOW + 40 * DAY)
    assert custody(house, lead) in (
        queue,
        ("queue", "no-track"),
    )  # one topic may be all that it does not want
    assert one(house, "SELECT count(*) FROM offer") == offers
    assert mailed_since(house, lead, NOW) == 0
    tell(house, lead, REPLIED, NOW + 41 * DAY)
    tick_at(house, NOW + 41 * DAY)
    assert one(house, "SELECT count(*) FROM offer") == offers + 1


@pytest.mark.parametrize("state", [*SILENT, "on its track"])
def test_a_call_that_no_rep_makes_waits_for_a_person(house: House, state: str) -> None:
    lead = STATES[state](house)
    with house.database.write() as connection:
        leads_queries.ask_to_call(connection, lead, date(2026, 1, 7), NOW)
        signal_queries.wake(house.database, connection, [lead], NOW, parked=True)
    called = START.replace(day=7, hour=0)
    tick_at(house, NOW, called)
    assert with_sales(house, lead)
    nobody_answers(house, lead, called)


def test_a_rep_who_answers_what_waited_for_a_person_ends_the_request(house: House) -> None:
    lead = STATES["unsubscribed"](house)
    tell(house, lead, DEMO, NOW + HOUR)
    tick_at(house, NOW + HOUR, NOW + HOUR + DAY)
    assert custody(house, lead) == ("queue", "no-rep")
    week = NOW + HOUR + 8 * DAY
    tick_at(house, week)
    offer = one(house, "SELECT id FROM offer WHERE state = 'offered'")
    responses.reject(house, offer, "not-now", week + HOUR)
    tick_at(house, week + DAY, week + 40 * DAY)
    assert custody(house, lead) == ("queue", "suppressed")


@pytest.mark.parametrize("named", ["call", "date"])
def test_a_day_to_come_outlives_an_offer_for_interest_that_nobody_answers(house: House, named: str) -> None:
    lead = on_track(house)
    if named == "call":
        with house.database.write() as connection:
            leads_queries.ask_to_call(connection, lead, date(2026, 1, 20), NOW)
    else:
        tell(house, lead, DECIDING, NOW, "2026-04-20")  # 90 days before is 2026-01-20
    for hour in range(1, 4):
        tell(house, lead, SignalKind.CLICKED, NOW + hour * HOUR)
    tick_at(house, NOW + 4 * HOUR)
    assert with_sales(house, lead)
    tick_at(house, NOW + 2 * DAY)
    assert custody(house, lead) == ("track", "welcome")
    tick_at(house, NOW + 3 * DAY)
    assert custody(house, lead) == ("track", "welcome")
    tick_at(house, START.replace(day=20, hour=0))
    assert with_sales(house, lead)


def test_a_request_that_a_rep_accepted_is_spent_when_the_lead_comes_back(house: House) -> None:
    lead = closed(Closing.LOST)(house)
    tell(house, lead, SignalKind.REGISTERED, NOW + 30 * DAY)
    tick_at(house, NOW + 30 * DAY, NOW + 30 * DAY + HOUR)
    assert custody(house, lead) == ("track", "welcome")
    tell(house, lead, REPLIED, NOW + 31 * DAY)
    tick_at(house, NOW + 31 * DAY)
    assert with_sales(house, lead)


def test_who_a_readiness_rule_discards_by_name_is_not_handed_off(house: House) -> None:
    for settings in ({"basis": None}, {"email": None}):
        student = add_lead(house, title="student", **settings)  # type: ignore[arg-type]
        tell(house, student, DEMO, START)
        tick_at(house, START)
        assert custody(house, student) in (("queue", "no-basis"), ("queue", "no-address"))
        tell(house, student, REPLIED, START)
        tick_at(house, START)
        assert custody(house, student) in (("queue", "no-basis"), ("queue", "no-address"))


def test_who_is_closed_as_won_stays_closed(house: House) -> None:
    lead = closed(Closing.WON)(house)
    tell(house, lead, DEMO, NOW + HOUR)
    tick_at(house, NOW + HOUR)
    assert custody(house, lead) == ("closed", "won")


@pytest.mark.parametrize("queue", ["no-basis", "no-address", "suppressed", "no-track"])
def test_a_date_that_comes_near_and_a_call_wake_a_lead_in_a_queue(house: House, queue: str) -> None:
    state = {"no-basis": "without a basis", "no-address": "without an address", "suppressed": "unsubscribed"}
    lead = STATES[state.get(queue, "without a track")](house)
    tell(house, lead, DECIDING, NOW + HOUR, "2026-04-20")  # 90 days before is 2026-01-20
    tick_at(house, NOW + HOUR)
    assert custody(house, lead) == ("queue", queue)
    near = START.replace(day=20, hour=0)
    tick_at(house, *(START + day * DAY for day in range(1, 15)))
    assert START + 14 * DAY < (due_at(house, lead) or near) <= near
    tick_at(house, near)
    assert with_sales(house, lead)
    offer = one(house, "SELECT max(id) FROM offer")
    call_back.call_back(house, offer, date(2026, 1, 23), near + HOUR)
    tick_at(house, near + HOUR, near + 2 * DAY)
    assert not with_sales(house, lead)
    tick_at(house, near + 3 * DAY)
    assert with_sales(house, lead)


@pytest.mark.parametrize("silence", ["paused", "unsubscribed", "lost"])
def test_a_file_that_newly_tells_of_a_demo_is_a_request_of_today(
    house: House, tmp_path: Path, silence: str
) -> None:
    def bring_in(demo: str, at: datetime) -> None:
        file = tmp_path / "leads.csv"
        file.write_text(
            "Lead ID,Email,Job Title,Consent,Registered On,Demo Requested\n"
            f"7,mia@people.example,Head,yes,2025-11-03,{demo}\n"
        )
        import_file.import_file(house, file, at)

    bring_in("", START)
    tick_at(house, START, NOW)
    lead = one(house, "SELECT id FROM lead")
    if silence == "paused":
        manual.pause(house, lead, NOW + 90 * DAY, NOW)
    elif silence == "unsubscribed":
        tell(house, lead, SignalKind.UNSUBSCRIBED, NOW)
    else:
        close.close(house, lead, Closing.LOST, NOW)
    tick_at(house, NOW)
    assert not with_sales(house, lead)
    bring_in("yes", NOW + DAY)
    tick_at(house, NOW + DAY)
    assert with_sales(house, lead)
    responses.reject(house, one(house, "SELECT max(id) FROM offer"), "wrong-person", NOW + DAY + HOUR)
    bring_in("yes", NOW + 2 * DAY)
    tick_at(house, NOW + 2 * DAY)
    assert not with_sales(house, lead)


@pytest.mark.parametrize("queue", ["ambiguous", "no-rep", "account-unsure", "account-owner", "needs-country"])
def test_a_request_brings_a_lead_of_which_a_person_must_decide_to_attention(house: House, queue: str) -> None:
    lead = add_lead(house, title="Head")
    wanted = "UPDATE custody SET kind='queue', ref=:queue, due_at=:due, version=version+1 WHERE lead_id=:lead"
    with house.database.write() as connection:
        wanted_due = text(wanted).bindparams(bindparam("due", type_=UtcDateTime()))
        connection.execute(wanted_due, {"queue": queue, "lead": lead, "due": START + 7 * DAY})
    tell(house, lead, SignalKind.CLICKED, NOW)
    assert due_at(house, lead) == START + 7 * DAY
    tell(house, lead, DEMO, NOW)
    assert due_at(house, lead) == NOW
    tick_at(house, NOW)
    assert with_sales(house, lead) or (custody(house, lead), due_at(house, lead)) == (
        ("queue", "ambiguous"),
        NOW + DAY,
    )
    listed = list_leads(house, NOW, queue="ambiguous")
    assert [row.next_action for row in listed] == (
        ["say whose it is: it asked for a person, and two known leads match"] if queue == "ambiguous" else []
    )


# Absences and answers


def _away(house: House, folder: Path, until: str = "30 January 2026", number: str = "1") -> bytes:
    return mail(
        f"I am out of office until {until}.",
        to=reply_address(house, folder),
        subject="Automatic reply: Hello",
        number=number,
        Auto_Submitted="auto-replied",
    )


def _pause(house: House) -> tuple[object, ...]:
    (row,) = rows(house, "SELECT paused_until IS NULL, paused_by FROM lead")
    return row


def test_a_personal_answer_ends_an_absence_and_hands_off(house: House, tmp_path: Path) -> None:
    lead = on_track(house)
    replies.take(house, [read_mail(_away(house, tmp_path))], NOW)
    tick_at(house, NOW)
    assert (bool(_pause(house)[0]), _pause(house)[1]) == (False, "absence")
    said = mail("Yes, we want to buy. Please call me today.", to=reply_address(house, tmp_path), number="2")
    replies.take(house, [read_mail(said)], NOW + HOUR)
    assert (bool(_pause(house)[0]), _pause(house)[1]) == (True, None)
    tick_at(house, NOW + 2 * HOUR)
    assert with_sales(house, lead)
    assert "resumed" in events(house, lead)


def test_a_colleagues_answer_hands_off_and_leaves_the_absence(house: House, tmp_path: Path) -> None:
    lead = on_track(house)
    said = mail("Call us.", to=reply_address(house, tmp_path), sender="Kim <kim@people.example>", number="2")
    replies.take(house, [read_mail(_away(house, tmp_path)), read_mail(said)], NOW)
    tick_at(house, NOW + HOUR)
    assert _pause(house)[1] == "absence"
    assert with_sales(house, lead)


def test_a_pause_of_its_own_is_passed_over_by_an_answer_and_stays(house: House, tmp_path: Path) -> None:
    lead = paused("as the lead asked on its page")(house)
    replies.take(house, [read_mail(_away(house, tmp_path, "30 August 2026"))], NOW + HOUR)
    said = mail("Call me.", to=reply_address(house, tmp_path), number="2")
    replies.take(house, [read_mail(said)], NOW + 2 * HOUR)
    tick_at(house, NOW + 2 * HOUR)
    assert with_sales(house, lead)
    assert _pause(house)[1] == "as the lead asked on its page"
    responses.reject(house, one(house, "SELECT max(id) FROM offer"), "wrong-person", NOW + 3 * HOUR)
    tick_at(house, NOW + 3 * HOUR, NOW + 20 * DAY)
    assert custody(house, lead) == ("track", "welcome")
    assert mailed_since(house, lead, NOW) == 0


def test_an_answer_written_before_the_absence_does_not_end_it(house: House, tmp_path: Path) -> None:
    on_track(house)
    replies.take(house, [read_mail(_away(house, tmp_path))], NOW + HOUR)
    early = mail("Call me.", to=reply_address(house, tmp_path), number="2").replace(b" 11:30:", b" 10:30:")
    replies.take(house, [read_mail(early)], NOW + 2 * HOUR)
    assert _pause(house)[1] == "absence"


@pytest.mark.parametrize("state", ["on its track", "paused on its page", "suppressed by page"])
def test_an_answer_that_asks_to_be_left_alone_is_no_request(house: House, tmp_path: Path, state: str) -> None:
    lead = STATES[state](house)
    said = mail("Please stop writing to me.", to=reply_address(house, tmp_path), number="2")
    replies.take(house, [read_mail(said)], NOW + HOUR)
    tick_at(house, NOW + HOUR, NOW + DAY)
    assert custody(house, lead) == ("queue", "suppressed")


# What it costs, and what is said


def test_waking_costs_as_many_statements_for_many_leads_as_for_one(house: House) -> None:
    def cost(leads: list[int], at: datetime) -> int:
        with counted(house.database) as seen:
            engagement_signals.record(house, [heard(lead, DEMO, at) for lead in leads], at)
        return len(seen)

    few = [add_lead(house, title="Head", basis=None)]
    many = [add_lead(house, title="Head", basis=None) for _ in range(40)]
    tick_at(house, START)
    assert cost(few, NOW) == cost(many, NOW + HOUR)
    assert {due_at(house, lead) for lead in many} == {NOW + HOUR}


def test_a_lead_in_a_queue_that_did_something_else_keeps_its_day(house: House) -> None:
    lead = STATES["without a basis"](house)
    assert due_at(house, lead) == START + 7 * DAY
    tell(house, lead, SignalKind.CLICKED, NOW + HOUR)
    assert due_at(house, lead) == NOW + HOUR
    tick_at(house, NOW + HOUR)
    assert due_at(house, lead) == START + 7 * DAY
    assert "reminder" not in events(house, lead)
    tick_at(house, START + 7 * DAY + HOUR)
    assert due_at(house, lead) == START + 14 * DAY
    assert events(house, lead).count("reminder") == 1


def test_why_explains_which_question_answers(house: House) -> None:
    lead = paused("as the lead asked on its page")(house)
    assert explain.why(house, lead, NOW).held.guard == "paused"
    tell(house, lead, DEMO, NOW + HOUR)
    asked = explain.why(house, lead, NOW + HOUR).held
    assert (asked.guard, asked.passed) == ("", "paused")
    assert asked.because == "demo: requested_demo on 2026-01-05"


def test_why_explains_a_lead_in_a_queue(house: House) -> None:
    lead = STATES["without a basis"](house)
    held = explain.why(house, lead, NOW).held
    assert (held.guard, held.because) == ("queue", "waits in the queue no-basis")
    tell(house, lead, DEMO, NOW + HOUR)
    said = dict(explain.summary(explain.why(house, lead, NOW + HOUR)))
    assert said["now"] == "a request is asked before queue: demo: requested_demo on 2026-01-05"
    assert "held by" not in said
