"""What a lead answers that is with a rep reaches this rep: once, and in harmless words."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.journey.engagement import replies
from nurture.journey.handoff import sweep
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at
from tests.journey.engagement.test_replies import DAY, HOUR, NOW, SENT, reply_address, take
from tests.journey.observe import custody, events, one, rows, write
from tests.mail.inbound.replying import mail

WORDS = (
    "Does it do <b>batches</b>? See https://evil.example/x\r\n\r\n"
    "On Mon, Ada <ada@house.example> wrote:\r\n> Hi"
)


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    house = make_house(db, tmp_path)
    house.reply_domain = "in.example.com"
    return house


@pytest.fixture
def offered(house: House, tmp_path: Path) -> tuple[int, str]:
    """A lead that was mailed, answered, and is offered to a rep; and where it answers."""
    lead = add_lead(house, title="Head of stock", email="mia@people.example", full_name="Mia Holm")
    tick_at(house, START, START + 2 * HOUR, SENT)
    to = reply_address(house, tmp_path)
    take(house, mail("Call me", to=to, number="first"))
    tick_at(house, NOW)
    assert custody(house, lead)[0] == "offer"
    return lead, to


def to_reps(folder: Path) -> list[EmailMessage]:
    """Return the mails that pass an answer on."""
    found = []
    for file in (folder / "mailbox" / "new").iterdir():
        sent = message_from_bytes(file.read_bytes(), policy=policy.default)
        assert isinstance(sent, EmailMessage)
        if "answered" in str(sent["Subject"]):
            found.append(sent)
    return found


def passed_on(house: House) -> list[tuple[str, str, str]]:
    found = "SELECT rep, state, coalesce(reason, '') FROM message WHERE email = 'reply' ORDER BY id"
    return rows(house, found)  # type: ignore[return-value]


def accept(house: House) -> str:
    """Let the rep accept; return which one it is."""
    offer: int = one(house, "SELECT max(id) FROM offer")
    return sweep.accept(house, offer, NOW).rep


def test_the_rep_of_a_lead_gets_its_answer_once_in_plain_words_and_can_write_back(
    house: House, offered: tuple[int, str], tmp_path: Path
) -> None:
    lead, to = offered
    rep = accept(house)
    answer = mail(WORDS, to=to, number="second")
    take(house, answer, answer, now=NOW + HOUR)
    take(house, answer, now=NOW + 2 * HOUR)
    tick_at(house, NOW + 2 * HOUR, NOW + 3 * HOUR)
    assert passed_on(house) == [(rep, "accepted", "")]
    (sent,) = to_reps(tmp_path)
    assert (sent["To"].addresses[0].addr_spec, sent["Subject"]) == (
        f"{rep}@house.example",
        "Mia Holm answered",
    )
    assert sent["Reply-To"].addresses[0].addr_spec == "mia@people.example"
    assert sent["Auto-Submitted"] == "auto-generated"
    assert sent["List-Unsubscribe"] is None
    html, plain = sent.get_body(("html",)), sent.get_body(("plain",))
    assert html is not None
    assert plain is not None
    assert "Does it do &lt;b&gt;batches&lt;/b&gt;? See hxxps://evil.example/x" in html.get_content()
    assert "Does it do <b>batches</b>? See hxxps://evil.example/x" in plain.get_content()
    assert "Call me" not in plain.get_content()
    assert "answered" in events(house, lead)
    assert custody(house, lead) == ("rep", rep)
    listed = replies.list_replies(house, lead, 10)
    assert [(each.text, each.passed_on) for each in listed][1:] == [("Call me", None)]
    assert (listed[0].rep, listed[0].passed_on) == (rep, "accepted")


def test_who_was_offered_a_lead_hears_what_it_says_after_the_brief_went(
    house: House, offered: tuple[int, str]
) -> None:
    take(house, mail(WORDS, to=offered[1], number="second"), now=NOW + HOUR)
    tick_at(house, NOW + HOUR)
    assert [state for _, state, _ in passed_on(house)] == ["accepted"]


def test_what_the_brief_will_say_is_not_passed_on_as_well(house: House, tmp_path: Path) -> None:
    lead = add_lead(house, title="Head of stock", email="mia@people.example")
    tick_at(house, START, START + 2 * HOUR, SENT)
    to = reply_address(house, tmp_path)
    take(house, mail("Call me", to=to, number="first"))
    tick_at(house, NOW)
    write(house, "UPDATE message SET state = 'planned', accepted_at = NULL WHERE kind = 'brief'")
    take(house, mail("Or write", to=to, number="second"), now=NOW + HOUR)
    assert passed_on(house) == []
    assert len(replies.list_replies(house, lead, 10)) == 2


def test_an_answer_of_a_lead_that_was_given_back_meanwhile_is_left_to_the_next_brief(
    house: House, offered: tuple[int, str]
) -> None:
    take(house, mail(WORDS, to=offered[1], number="second"), now=NOW + HOUR)
    sweep.reject(house, one(house, "SELECT max(id) FROM offer"), "wrong-person", NOW + HOUR)
    tick_at(house, NOW + HOUR)
    assert [found[1:] for found in passed_on(house)] == [("cancelled", "superseded")]


def test_of_an_owner_who_is_no_rep_of_the_policy_the_journal_tells(
    house: House, offered: tuple[int, str]
) -> None:
    lead, to = offered
    accept(house)
    write(house, "UPDATE custody SET ref = 'Zoe', version = version + 1 WHERE lead_id = :id", id=lead)
    take(house, mail(WORDS, to=to, number="second"), now=NOW + HOUR)
    assert passed_on(house) == []
    told = rows(house, "SELECT ref, because FROM journal WHERE event = 'answered'")
    assert [ref for ref, _ in told] == ["Zoe"]
    assert "no rep of the policy" in told[0][1]


def test_neither_absences_nor_answers_on_a_track_are_passed_on(house: House, tmp_path: Path) -> None:
    add_lead(house, title="Head of stock", email="mia@people.example")
    tick_at(house, START, START + 2 * HOUR, SENT)
    to = reply_address(house, tmp_path)
    take(house, mail("Call me", to=to, number="first"))
    tick_at(house, NOW)
    accept(house)
    away = mail("I am out of the office.", to=to, number="away", Auto_Submitted="auto-replied")
    take(house, away, now=NOW + DAY)
    assert passed_on(house) == []
