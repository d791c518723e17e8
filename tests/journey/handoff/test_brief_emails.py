"""The brief: everything a rep needs to call, on one page, and nothing that strangers could misuse."""

from __future__ import annotations

import re
from datetime import timedelta
from email import message_from_string, policy
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.journey.delivery import compose_batch
from nurture.journey.handoff.sweep import hand_off
from nurture.journey.tracks.enroll import classify
from nurture.mail.providers.maildir import Mailbox
from nurture.outbox import messages
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at
from tests.journey.handoff.briefing import briefed, mailed
from tests.journey.handoff.test_sla_sweep import MONDAY, laddered
from tests.journey.observe import counted, one, rows


def _text(mail: str) -> str:
    body = message_from_string(mail, policy=policy.default).get_body(("plain",))
    assert body is not None
    return " ".join(str(body.get_content()).split())


def test_a_brief_tells_why_now_what_they_did_and_said_and_were(db: Database, tmp_path: Path) -> None:
    briefed(db, tmp_path)
    told = _text(mailed(tmp_path, "new"))
    for part in (
        "Dana Miller-Westerhoff, Head of demand planning and distribution",
        "until Tuesday 6 January 2026, 09:00 (Europe/Berlin)",
        "ready: demo_requested is yes",
        "04 Jan 2026: clicked (01-hello): www[.]evil.example",
        "Reply 0: see hxxp://evil.example/x",
        "You had a look at what we sent on 04 Jan 2026. What made you curious?",
        "Budget: EUR 60,000 this year (test, 05 Jan 2026)",
        "Has a say: decides with the CFO, confirmed (call, 18 Dec 2025)",
        "Need: fewer write-offs # and no headings (test, 05 Jan 2026)",
        "Decides: by 30 Sep 2026 (said so, 04 Jan 2026)",
        "Fit A (employees at least 200), score 0.0",
        "Account: Acme Group, prospect, of Ben",
        "01 Jan 2026: Ben gave it back: Not now",
        "Our emails: 9 since 27 Dec 2025, last 00-letter-about-planning (welcome, 04 Jan 2026)",
    ):
        assert part.replace("score 0.0", "score ") in told, part
    for absent in ("robots.txt", "Reply 2", "http://evil", "www.evil"):
        assert absent not in told
    assert told.index("04 Jan 2026: clicked") < told.index("03 Jan 2026: clicked")


def test_each_link_of_a_brief_is_for_one_thing_and_none_is_stored_in_clear(
    sqlite_db: Database, tmp_path: Path
) -> None:
    house, _ = briefed(sqlite_db, tmp_path)
    html = mailed(tmp_path, "html")
    found = {
        part.split("/")[0]: part.split("/")[1][:22] for part in html.split("https://go.example.com/")[1:]
    }
    assert found.keys() == {"a", "r", "g", "l"}
    assert len(set(found.values())) == 4
    purposes = {row[0] for row in rows(house, "SELECT purpose FROM token")}
    assert purposes == {"accept", "reject", "reassign", "later"}
    kept = str(rows(house, "SELECT * FROM token"))
    assert not any(token in kept for token in found.values())


def test_briefs_cost_as_many_statements_for_forty_leads_as_for_two(
    sqlite_db: Database, tmp_path: Path
) -> None:
    house = make_house(sqlite_db, tmp_path)
    ids = [add_lead(house, full_name=f"L{number}", demo_requested=True) for number in range(10)]
    classify(house, START)
    hand_off(house, START)
    assert len(ids) == 10
    few, many = _statements(house, 2), _statements(house, 10)
    assert few == many


def _statements(house: House, count: int) -> int:
    with house.database.write() as connection:
        batch = messages.due(house.database, connection, START, count)
        assert len(batch) == count
        compose_batch.Batch.of(house, connection, batch, START).compose(
            connection
        )  # compiled once, before anything is counted
        with counted(house.database) as seen:
            written = compose_batch.Batch.of(house, connection, batch, START).compose(connection)
        assert len(written.emails) == count
    return len(seen)


@pytest.mark.parametrize(
    ("rule", "opener"),
    [
        ("ready-asked-for-demo", "You asked to see it at work."),
        ("call-back", "You asked to be called about now."),
        ("replied", "Thank you for your answer."),
        ("decides-soon", "You are about to decide."),
        ("engaged", "You had a look at what we sent on 04 Jan 2026."),
    ],
)
def test_the_first_sentence_comes_of_the_rule_and_of_the_newest_deed(
    sqlite_db: Database, tmp_path: Path, rule: str, opener: str
) -> None:
    house, _ = briefed(sqlite_db, tmp_path)
    with house.database.write() as connection:
        connection.exec_driver_sql(f"UPDATE offer SET rule = '{rule}' WHERE state = 'offered'")
        connection.exec_driver_sql("UPDATE message SET state = 'planned' WHERE kind = 'brief'")
        (waiting,) = messages.due(house.database, connection, START, 9)
        (email,) = (
            compose_batch.Batch.of(house, connection, [waiting], START).compose(connection).emails.values()
        )
    assert opener in " ".join(email.text.split())
    assert one(house, "SELECT count(*) FROM offer WHERE state = 'offered'") == 1


def test_deeds_are_told_in_the_words_of_people(sqlite_db: Database, tmp_path: Path) -> None:
    house, _ = briefed(sqlite_db, tmp_path)
    with house.database.write() as connection:
        connection.exec_driver_sql("UPDATE signal SET kind = 'requested_demo' WHERE kind = 'clicked'")
        connection.exec_driver_sql("UPDATE message SET state = 'planned' WHERE kind = 'brief'")
        (waiting,) = messages.due(house.database, connection, START, 9)
        (email,) = (
            compose_batch.Batch.of(house, connection, [waiting], START).compose(connection).emails.values()
        )
    assert "04 Jan 2026: asked for a demo" in " ".join(email.text.split())


def test_nothing_that_a_lead_says_of_itself_is_a_link_in_mail_to_sales(
    sqlite_db: Database, tmp_path: Path
) -> None:
    house = make_house(sqlite_db, tmp_path, MONDAY, laddered())
    house.provider = Mailbox(tmp_path / "mailbox", html_copies=True)
    names = ("first_name", "last_name", "title", "industry", "city", "region", "country", "need", "budget")
    facts = {name: f"https://evil.example/{name}" for name in names}
    lead = add_lead(house, at=MONDAY, company="evil.example/company", demo_requested=True, **facts)
    tick_at(house, *(MONDAY + timedelta(hours=hours) for hours in (0, 2, 4)))
    sent = rows(house, "SELECT send_key, state FROM message WHERE lead_id = :id ORDER BY id", id=lead)
    assert sent == [("brief:1", "accepted"), ("sla:1:1", "accepted"), ("sla:1:2", "accepted")]
    html = [file.read_text() for file in (tmp_path / "mailbox" / "html").iterdir()]
    mails = [file.read_text() for file in (tmp_path / "mailbox" / "new").iterdir()]
    subjects = [str(message_from_string(mail, policy=policy.default)["Subject"]) for mail in mails]
    for said in (*html, *map(_text, mails), *subjects):
        assert "evil" in said
        assert not re.search(r"https?://evil|(?<![/\w])evil\.example", said)
