"""Test that a reply of a lead reaches the rep who has the lead, once and as harmless text."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.journey.engagement import replies
from nurture.journey.handoff import responses
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.engagement.test_replies import DAY, HOUR, NOW, SENT, process_replies, reply_address
from tests.journey.observe import custody, events, one, rows, write
from tests.mail.inbound.replying import mail

WORDS = "Does it do <b>batches</b>? See https://evil.example/x\r\n\r\nOn Mon, Ada <ada@house.example> wrote:\r\n> Hi"


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    ctx = make_context(db, tmp_path)
    ctx.reply_domain = "in.example.com"
    return ctx


@pytest.fixture
def offered(ctx: AppContext, tmp_path: Path) -> tuple[int, str]:
    """A lead that was mailed, replied, and is offered to a rep; with its reply address."""
    lead = add_lead(ctx, title="Head of stock", email="mia@people.example", full_name="Mia Holm")
    run_at(ctx, START, START + 2 * HOUR, SENT)
    to = reply_address(ctx, tmp_path)
    process_replies(ctx, mail("Call me", to=to, number="first"))
    run_at(ctx, NOW)
    assert custody(ctx, lead)[0] == "offer"
    return lead, to


def to_reps(folder: Path) -> list[EmailMessage]:
    """Return the forwarded replies."""
    found = []
    for file in (folder / "maildir" / "new").iterdir():
        sent = message_from_bytes(file.read_bytes(), policy=policy.default)
        assert isinstance(sent, EmailMessage)
        if "replied" in str(sent["Subject"]):
            found.append(sent)
    return found


def forwarded(ctx: AppContext) -> list[tuple[str, str, str]]:
    found = "SELECT rep, state, coalesce(reason, '') FROM message WHERE kind = 'forwarded_reply' ORDER BY id"
    return rows(ctx, found)  # type: ignore[return-value]


def accept(ctx: AppContext) -> str:
    """Let the rep accept; return the rep's id."""
    offer: int = one(ctx, "SELECT max(id) FROM offer")
    return responses.accept(ctx, offer, NOW).rep


def test_a_reply_is_forwarded_once_as_plain_text_and_the_rep_can_reply_to_the_lead(
    ctx: AppContext, offered: tuple[int, str], tmp_path: Path
) -> None:
    lead, to = offered
    rep = accept(ctx)
    answer = mail(WORDS, to=to, number="second")
    process_replies(ctx, answer, answer, now=NOW + HOUR)
    process_replies(ctx, answer, now=NOW + 2 * HOUR)
    run_at(ctx, NOW + 2 * HOUR, NOW + 3 * HOUR)
    assert forwarded(ctx) == [(rep, "accepted", "")]
    (sent,) = to_reps(tmp_path)
    assert (sent["To"].addresses[0].addr_spec, sent["Subject"]) == (f"{rep}@house.example", "Mia Holm replied")
    assert sent["Reply-To"].addresses[0].addr_spec == "mia@people.example"
    assert sent["Auto-Submitted"] == "auto-generated"
    assert sent["List-Unsubscribe"] is None
    html, plain = sent.get_body(("html",)), sent.get_body(("plain",))
    assert html is not None
    assert plain is not None
    assert "Does it do &lt;b&gt;batches&lt;/b&gt;? See hxxps://evil.example/x" in html.get_content()
    assert "Does it do <b>batches</b>? See hxxps://evil.example/x" in plain.get_content()
    assert "Call me" not in plain.get_content()
    assert "reply_received" in events(ctx, lead)
    assert custody(ctx, lead) == ("rep", rep)
    listed = replies.list_replies(ctx, lead, 10)
    assert [(each.text, each.forward_state) for each in listed][1:] == [("Call me", None)]
    assert (listed[0].rep, listed[0].forward_state) == (rep, "accepted")


def test_replies_after_the_brief_are_forwarded_to_the_rep_with_the_offer(
    ctx: AppContext, offered: tuple[int, str]
) -> None:
    process_replies(ctx, mail(WORDS, to=offered[1], number="second"), now=NOW + HOUR)
    run_at(ctx, NOW + HOUR)
    assert [state for _, state, _ in forwarded(ctx)] == ["accepted"]


def test_replies_that_the_brief_will_show_are_not_forwarded_as_well(ctx: AppContext, tmp_path: Path) -> None:
    lead = add_lead(ctx, title="Head of stock", email="mia@people.example")
    run_at(ctx, START, START + 2 * HOUR, SENT)
    to = reply_address(ctx, tmp_path)
    process_replies(ctx, mail("Call me", to=to, number="first"))
    run_at(ctx, NOW)
    write(ctx, "UPDATE message SET state = 'planned', accepted_at = NULL WHERE kind = 'brief'")
    process_replies(ctx, mail("Or write", to=to, number="second"), now=NOW + HOUR)
    assert forwarded(ctx) == []
    assert len(replies.list_replies(ctx, lead, 10)) == 2


def test_a_reply_of_a_lead_that_was_given_back_is_left_to_the_next_brief(
    ctx: AppContext, offered: tuple[int, str]
) -> None:
    process_replies(ctx, mail(WORDS, to=offered[1], number="second"), now=NOW + HOUR)
    responses.reject(ctx, one(ctx, "SELECT max(id) FROM offer"), "wrong-person", NOW + HOUR)
    run_at(ctx, NOW + HOUR)
    assert [found[1:] for found in forwarded(ctx)] == [("cancelled", "superseded")]


def test_the_journal_names_an_owner_who_is_not_in_the_policy(ctx: AppContext, offered: tuple[int, str]) -> None:
    lead, to = offered
    accept(ctx)
    write(ctx, "UPDATE custody SET ref = 'Zoe', version = version + 1 WHERE lead_id = :id", id=lead)
    process_replies(ctx, mail(WORDS, to=to, number="second"), now=NOW + HOUR)
    assert forwarded(ctx) == []
    received = rows(ctx, "SELECT ref, reason FROM journal WHERE event = 'reply_received'")
    assert [ref for ref, _ in received] == ["Zoe"]
    assert "is not in the policy" in received[0][1]


def test_neither_out_of_office_replies_nor_answers_on_a_track_are_forwarded(ctx: AppContext, tmp_path: Path) -> None:
    add_lead(ctx, title="Head of stock", email="mia@people.example")
    run_at(ctx, START, START + 2 * HOUR, SENT)
    to = reply_address(ctx, tmp_path)
    process_replies(ctx, mail("Call me", to=to, number="first"))
    run_at(ctx, NOW)
    accept(ctx)
    away = mail("I am out of the office.", to=to, number="away", Auto_Submitted="auto-replied")
    process_replies(ctx, away, now=NOW + DAY)
    assert forwarded(ctx) == []


def test_the_rep_sees_the_names_of_attached_files_as_harmless_text(
    ctx: AppContext, offered: tuple[int, str], tmp_path: Path
) -> None:
    accept(ctx)
    parts = (
        "--B\r\nContent-Type: text/plain\r\n\r\nHere is our order.\r\n"
        "--B\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; "
        "filename*=utf-8''Auftr%C3%A4ge%20%3Cb%3E%20www.evil.example.pdf\r\n\r\nJVBERi0=\r\n"
        "--B\r\nContent-Type: text/csv\r\nContent-Disposition: attachment\r\n\r\na;b\r\n--B--\r\n"
    )
    process_replies(ctx, mail(parts, to=offered[1], number="files", kind="multipart/mixed; boundary=B"), now=NOW + HOUR)
    run_at(ctx, NOW + HOUR)
    (sent,) = to_reps(tmp_path)
    html, plain = sent.get_body(("html",)), sent.get_body(("plain",))
    assert html is not None
    assert plain is not None
    shown = "(attached, and not kept: Aufträge {} www[.]evil.example.pdf, unnamed)"
    assert shown.format("<b>") in " ".join(plain.get_content().split())
    assert shown.format("&lt;b&gt;") in " ".join(html.get_content().split())
