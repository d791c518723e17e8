"""Clicks as they come in: taken down without a trace of who, judged by the policy, believed late or never."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.journey.engagement import click_queries, signals
from nurture.journey.engagement.click_filtering import Visited
from nurture.reporting.links import clicks_per_link
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, publish_approved, tick_at, tiny_rules
from tests.journey.observe import counted, custody, due_at, events, everything, one, rows

SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SENT = START + 2 * HOUR
CLICKED = SignalKind.CLICKED
LOOKS = (("guide", "HEAD"), ("guide", "GET"), ("prices", "GET"), ("demo", "GET"))


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    return make_house(db, tmp_path)


def mailed(house: House, email: str = "") -> tuple[int, int]:
    """Bring in a lead that has got its first email; return the lead and the message."""
    lead = add_lead(house, title="Head", email=email)
    tick_at(house, START, SENT)
    return lead, message(house, lead)


def message(house: House, lead: int) -> int:
    found: int = one(house, "SELECT max(id) FROM message WHERE lead_id = :id AND state = 'accepted'", id=lead)
    return found


def click(message: int, at: datetime, **more: Any) -> Visited:
    values: dict[str, Any] = {"link": "guide", "ip": "192.0.2.7", "agent": FIREFOX}
    return Visited(CLICKED, message, at, **(values | more))


def visit(house: House, *visits: Visited) -> int:
    return signals.record(house, [], max(one.occurred_at for one in visits), visits)


def verdicts(house: House) -> list[tuple[str, str]]:
    return rows(house, "SELECT verdict, verdict_because FROM signal ORDER BY id")  # type: ignore[return-value]


def engagement(house: House, lead: int) -> float:
    value: float = one(house, "SELECT engagement FROM lead WHERE id = :id", id=lead)
    return value


def test_a_humans_click_counts_wakes_its_lead_and_names_what_it_answers(house: House) -> None:
    lead, mail = mailed(house)
    tick_at(house, SENT + MINUTE)
    at = SENT + HOUR
    assert visit(house, click(mail, at)) == 1
    assert verdicts(house) == [("human", "")]
    assert engagement(house, lead) == 10
    assert due_at(house, lead) == at
    where = "SELECT s.lead_id, s.track, s.step, s.link, s.message_id, s.source FROM signal s"
    assert rows(house, where) == [(lead, "welcome", "01-hello", "guide", mail, "link")]
    assert one(house, "SELECT enrollment_id IS NOT NULL FROM signal")


def test_a_click_settles_before_the_track_goes_on(house: House) -> None:
    lead, mail = mailed(house)
    tick_at(house, SENT + MINUTE)
    at = SENT + HOUR
    visit(house, click(mail, at))
    tick_at(house, at + SECOND)
    assert events(house, lead)[-1] == "settling"
    assert due_at(house, lead) == at + 90 * SECOND
    told = one(house, "SELECT next_action FROM custody WHERE lead_id = :id", id=lead)
    assert told.startswith("a click is settling until 2026-01-05 11:01:30 UTC")
    tick_at(house, at + 90 * SECOND)
    assert one(house, "SELECT step FROM enrollment WHERE lead_id = :id", id=lead) == "02-more"


def test_no_address_and_no_user_agent_is_kept(house: House) -> None:
    _, mail = mailed(house, "ana@quayside.example")
    visit(house, click(mail, SENT + HOUR, ip="203.0.113.77"))
    kept = str({name: found for name, found in everything(house).items() if name != "address"})
    for secret in ("203.0.113.77", "Firefox", "quayside"):
        assert secret not in kept.replace("ana@quayside", "")
    (mark, program, company), = rows(house, "SELECT ip_mark, agent_mark, company FROM visit")  # fmt: skip
    assert (len(mark), len(program), len(company)) == (4, 4, 8)


def test_the_same_place_has_another_mark_on_another_mail(house: House) -> None:
    leads = [add_lead(house, title="Head") for _ in range(2)]
    tick_at(house, START, SENT)
    for lead in leads:
        visit(house, click(message(house, lead), SENT + HOUR))
    marks = [row[0] for row in rows(house, "SELECT ip_mark FROM visit")]
    assert len(set(marks)) == 2


def test_the_same_link_twice_within_a_second_is_one_click_and_a_repeat_changes_nothing(house: House) -> None:
    lead, mail = mailed(house)
    at = SENT + HOUR
    assert visit(house, click(mail, at), click(mail, at + timedelta(milliseconds=300))) == 1
    before = everything(house)
    assert visit(house, click(mail, at)) == 0
    assert everything(house) == before
    assert visit(house, click(mail, at + 5 * MINUTE)) == 1
    assert engagement(house, lead) == pytest.approx(20, rel=1e-3)


def test_a_click_on_a_mail_that_nobody_knows_is_passed_over(house: House) -> None:
    assert signals.record(house, [], START, [click(999, START)]) == 0


def test_bots_and_suspects_count_for_nothing_and_are_kept_with_their_reasons(house: House) -> None:
    lead, mail = mailed(house)
    visit(house, click(mail, SENT + 3 * SECOND, ip="192.0.2.1", agent="Mozilla/5.0 (X11) Firefox/99"))
    visit(house, click(mail, SENT + HOUR, method="head"))
    visit(house, click(mail, SENT + 2 * HOUR, link="trap", honeypot=True, ip="192.0.2.3"))
    assert [verdict for verdict, _ in verdicts(house)] == ["suspect", "bot", "bot"]
    assert verdicts(house)[0][1] == "sooner than 10 s after delivery"
    assert engagement(house, lead) == 0
    tick_at(house, SENT + 2 * HOUR + 5 * MINUTE)
    assert one(house, "SELECT step FROM enrollment WHERE lead_id = :id", id=lead) == "wait-for-click"


def test_a_second_link_within_two_seconds_takes_back_what_the_first_one_counted(house: House) -> None:
    lead, mail = mailed(house)
    at = SENT + HOUR
    visit(house, click(mail, at))
    assert engagement(house, lead) == 10
    visit(house, click(mail, at + SECOND, link="prices"))
    assert [verdict for verdict, _ in verdicts(house)] == ["suspect", "suspect"]
    assert engagement(house, lead) == 0
    tick_at(house, at + 5 * MINUTE)
    assert one(house, "SELECT step FROM enrollment WHERE lead_id = :id", id=lead) == "wait-for-click"


def test_the_third_of_a_company_makes_suspects_of_the_two_before_on_their_own_mails(house: House) -> None:
    leads = [add_lead(house, title="Head", email=f"p{n}@acme.example") for n in range(3)]
    public = [add_lead(house, title="Head", email=f"p{n}@gmail.com") for n in range(3)]
    tick_at(house, START, SENT)
    for number, lead in enumerate([*leads, *public]):
        visit(house, click(message(house, lead), SENT + HOUR + number * SECOND, ip=f"192.0.2.{number}"))
    assert [verdict for verdict, _ in verdicts(house)] == ["suspect"] * 3 + ["human"] * 3
    assert [engagement(house, lead) for lead in leads] == [0, 0, 0]
    assert [engagement(house, lead) for lead in public] == [10, 10, 10]


def test_what_was_told_by_a_person_or_a_file_is_believed_and_does_not_settle(house: House) -> None:
    lead, _ = mailed(house)
    tick_at(house, SENT + MINUTE)
    at = SENT + HOUR
    answered = signals.answered_touch(house, lead, "01-hello")
    told = signals.told(lead, CLICKED, None, at, at, "01-hello", None, answered)
    signals.record(house, [told], at)
    tick_at(house, at)
    assert one(house, "SELECT judged_under IS NULL FROM signal")
    assert one(house, "SELECT step FROM enrollment WHERE lead_id = :id", id=lead) == "02-more"


def test_published_thresholds_judge_every_click_again(house: House) -> None:
    lead, mail = mailed(house)
    visit(house, click(mail, SENT + HOUR))
    with house.database.write() as connection:
        connection.execute(click_queries.message.update().values(accepted_at=SENT + MINUTE))
    for too_soon, verdict, counts in (
        ("9 seconds", "human", 10),
        ("60 minutes", "suspect", 0),
        ("8 seconds", "human", 10),
    ):
        policy = tiny_rules()["sales/policy.yaml"] + f"evidence: {{too_soon: {too_soon}}}\n"
        publish_approved(house, tiny_rules() | {"sales/policy.yaml": policy}, SENT + DAY)
        signals.listen(house, SENT + DAY)
        assert [found for found, _ in verdicts(house)] == [verdict]
        assert engagement(house, lead) == counts


def test_a_later_word_of_delivery_makes_an_early_click_a_suspect(house: House) -> None:
    lead, mail = mailed(house)
    at = SENT + HOUR
    visit(house, click(mail, at))
    assert engagement(house, lead) == 10
    with house.database.write() as connection:
        arrived = click_queries.message.update().values(state="delivered", state_at=at - 4 * SECOND)
        connection.execute(arrived.where(click_queries.message.c.id == mail))
        click_queries.doubt(house.database, connection, [mail])
    signals.listen(house, at + MINUTE)
    assert verdicts(house) == [("suspect", "sooner than 10 s after delivery")]
    assert engagement(house, lead) == 0


def test_a_batch_of_clicks_costs_the_same_number_of_statements_whatever_its_size(house: House) -> None:
    leads = [add_lead(house, title="Head", email=f"p{n}@firm{n % 7}.example") for n in range(40)]
    tick_at(house, START, SENT)
    mails = [message(house, lead) for lead in leads]
    costs = []
    for number, few in ((1, mails[:2]), (2, mails)):
        at = SENT + number * HOUR
        clicks = [click(mail, at + n * MINUTE / 100) for n, mail in enumerate(few)]
        with counted(house.database) as seen:
            visit(house, *clicks)
        costs.append(len(seen))
    assert costs[0] == costs[1]


def test_a_scanner_that_follows_every_link_of_everybody_hands_nobody_off(house: House) -> None:
    leads = [add_lead(house, title="Head", email=f"p{n}@firm{n // 4}.example") for n in range(60)]
    tick_at(house, START, SENT)
    trace = [
        click(message(house, lead), SENT + (2 + n % 5) * SECOND + turn * 0.2 * SECOND, link=link, method=how)
        for n, lead in enumerate(leads)
        for turn, (link, how) in enumerate(LOOKS)
    ]  # fmt: skip
    assert visit(house, *trace) == len(trace)
    tick_at(house, SENT + MINUTE, SENT + 5 * MINUTE, SENT + HOUR)
    assert one(house, "SELECT count(*) FROM signal WHERE verdict = 'human'") == 0
    assert one(house, "SELECT count(*) FROM offer") == 0
    assert {custody(house, lead) for lead in leads} == {("track", "welcome")}
    assert one(house, "SELECT count(*) FROM enrollment WHERE step <> 'wait-for-click'") == 0


def test_of_one_link_in_one_mail_only_so_many_visits_an_hour_are_kept(house: House) -> None:
    _, mail = mailed(house)
    at = SENT + HOUR
    flood = [click(mail, at + n * SECOND, ip=f"192.0.2.{n}") for n in range(100)]
    assert visit(house, *flood[:25]) == 25
    assert visit(house, *flood) == 35
    assert visit(house, *flood) == 0
    assert visit(house, click(mail, at + MINUTE, link="prices")) == 1
    assert visit(house, click(mail, at + HOUR)) == 1
    assert one(house, "SELECT count(*) FROM visit") == 62


def test_clicks_are_reported_for_each_link_and_machines_apart(house: House) -> None:
    leads = [add_lead(house, title="Head") for _ in range(3)]
    tick_at(house, START, SENT)
    mails = [message(house, lead) for lead in leads]
    for hours, mail, link, how in (
        (1, mails[0], "guide", "GET"),
        (2, mails[0], "guide", "GET"),
        (3, mails[1], "guide", "GET"),
        (4, mails[1], "prices", "HEAD"),
        (5, mails[2], "prices", "GET"),
    ):
        visit(house, click(mail, SENT + hours * HOUR, link=link, method=how, ip=f"192.0.2.{hours}"))
    visit(house, click(mails[2], SENT + 8 * SECOND, link="prices", ip="192.0.2.9"))
    assert clicks_per_link(house) == [
        ("welcome", "01-hello", "guide", 2, 3, 3, 0, 0),
        ("welcome", "01-hello", "prices", 1, 1, 3, 1, 1),
    ]
    assert clicks_per_link(house, "keep") == []
