"""Test the brief: all that a rep needs on one page, and nothing that strangers could misuse."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from email import message_from_string, policy
from pathlib import Path

import pytest

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.domain.delivery.receipts import Accepted
from nurture.domain.signals import SignalKind
from nurture.formats.lead_item import ItemReader
from nurture.journey.delivery import claim
from nurture.journey.delivery.run import deliver
from nurture.journey.handoff import responses
from nurture.journey.handoff.offer_page import load_offer_details
from nurture.journey.handoff.sweep import hand_off
from nurture.journey.intake.import_file import import_rows
from nurture.journey.tracks.enroll import classify
from nurture.mail.providers.maildir.provider import MaildirProvider
from nurture.mail.rendering.render import ComposedEmail
from nurture.outbox import messages
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.handoff.briefing import briefed, mailed
from tests.journey.handoff.test_sla_sweep import MONDAY, escalation_rules
from tests.journey.observe import RecordingProvider, one, record_signal, recorded_statements, rows


def _text(mail: str) -> str:
    body = message_from_string(mail, policy=policy.default).get_body(("plain",))
    assert body is not None
    return " ".join(str(body.get_content()).split())


def test_a_brief_shows_reason_activities_replies_and_profile(db: Database, tmp_path: Path) -> None:
    briefed(db, tmp_path)
    body_text = _text(mailed(tmp_path, "new"))
    for part in (
        "Dana Miller-Westerhoff, Head of demand planning and distribution",
        "until Tuesday 6 January 2026, 09:00 (Europe/Berlin)",
        "ready: demo_requested is yes",
        "04 Jan 2026: clicked (hello): www[.]evil.example",
        "Reply 0: see hxxp://evil.example/x",
        "You looked at what we sent on 04 Jan 2026. What caught your interest?",
        "Budget: EUR 60,000 this year (test, 05 Jan 2026)",
        "Authority: decides with the CFO, confirmed (call, 18 Dec 2025)",
        "Need: fewer write-offs # and no headings (test, 05 Jan 2026)",
        "Decides: by 30 Sep 2026 (stated, 04 Jan 2026)",
        "Fit A (employees at least 200), score 0.0",
        "Account: Acme Group, prospect, of Ben",
        "01 Jan 2026: Ben gave it back: Not now. Noted: Ask Jo; see hxxp://evil.example",
        "Our emails: 9 since 27 Dec 2025, last letter about planning (04 Jan 2026)",
    ):
        assert part.replace("score 0.0", "score ") in body_text, part
    for absent in ("robots.txt", "Reply 2", "http://evil", "www.evil"):
        assert absent not in body_text
    assert body_text.index("04 Jan 2026: clicked") < body_text.index("03 Jan 2026: clicked")


def test_each_link_of_a_brief_is_for_one_thing_and_none_is_stored_in_clear(sqlite_db: Database, tmp_path: Path) -> None:
    ctx, _ = briefed(sqlite_db, tmp_path)
    html = mailed(tmp_path, "html")
    found = {part.split("/")[0]: part.split("/")[1][:22] for part in html.split("https://go.example.com/")[1:]}
    assert found.keys() == {"a", "r", "g", "l"}
    assert len(set(found.values())) == 4
    purposes = {row[0] for row in rows(ctx, "SELECT purpose FROM link_token")}
    assert purposes == {"accept", "reject", "reassign", "call_back_later"}
    stored = str(rows(ctx, "SELECT * FROM link_token"))
    assert not any(token in stored for token in found.values())


def test_briefs_cost_as_many_statements_for_forty_leads_as_for_two(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_context(sqlite_db, tmp_path)
    ids = [add_lead(ctx, full_name=f"L{number}", demo_requested=True) for number in range(10)]
    classify(ctx, START)
    hand_off(ctx, START)
    assert len(ids) == 10
    few, many = _statements(ctx, 2), _statements(ctx, 10)
    assert few == many


def _statements(ctx: AppContext, count: int) -> int:
    with ctx.database.write() as tx:
        batch = messages.lock_due(tx, START, count)
        assert len(batch) == count
        claim.CompositionBatch.load(ctx, tx, batch, START).compose(tx)  # compiled once, before statements are counted
        with recorded_statements(ctx.database) as seen:
            written = claim.CompositionBatch.load(ctx, tx, batch, START).compose(tx)
        assert len(written.messages) == count
    return len(seen)


@pytest.mark.parametrize(
    ("rule", "opener"),
    [
        ("ready-asked-for-demo", "You asked for a demo."),
        ("call-back", "You asked to be called about now."),
        ("replied", "Thank you for your reply."),
        ("decides-soon", "You plan to decide soon."),
        ("engaged", "You looked at what we sent on 04 Jan 2026."),
    ],
)
def test_the_first_sentence_depends_on_the_rule_and_the_newest_activity(
    sqlite_db: Database, tmp_path: Path, rule: str, opener: str
) -> None:
    ctx, _ = briefed(sqlite_db, tmp_path)
    with ctx.database.write() as tx:
        tx.exec_driver_sql(f"UPDATE offer SET rule = '{rule}' WHERE state = 'offered'")
        tx.exec_driver_sql("UPDATE message SET state = 'planned' WHERE kind = 'brief'")
        (waiting,) = messages.lock_due(tx, START, 9)
        (composed,) = claim.CompositionBatch.load(ctx, tx, [waiting], START).compose(tx).messages.values()
    assert opener in " ".join(composed.email.text.split())
    assert one(ctx, "SELECT count(*) FROM offer WHERE state = 'offered'") == 1


def test_activities_have_readable_descriptions(sqlite_db: Database, tmp_path: Path) -> None:
    ctx, _ = briefed(sqlite_db, tmp_path)
    with ctx.database.write() as tx:
        tx.exec_driver_sql("UPDATE signal SET kind = 'requested_demo' WHERE kind = 'clicked'")
        tx.exec_driver_sql("UPDATE message SET state = 'planned' WHERE kind = 'brief'")
        (waiting,) = messages.lock_due(tx, START, 9)
        (composed,) = claim.CompositionBatch.load(ctx, tx, [waiting], START).compose(tx).messages.values()
    assert "04 Jan 2026: asked for a demo" in " ".join(composed.email.text.split())


def test_email_to_reps_comes_from_the_sender_of_the_defaults_whatever_the_tracks_say(
    sqlite_db: Database, tmp_path: Path
) -> None:
    rules = sample_rules()
    for name in [path for path in rules if path.endswith("track.yaml")]:
        rules[name] += "sender: {name: Bo, email: bo@second.example}\n"
    ctx = make_context(sqlite_db, tmp_path, rules=rules)
    senders: list[str] = []

    def accept(email: ComposedEmail, _now: datetime) -> Accepted:
        senders.append(email.sender.email)
        return Accepted(email.ref)

    ctx.provider = RecordingProvider(accept)
    add_lead(ctx, demo_requested=True)
    run_at(ctx, START)
    assert senders == ["ada@house.example"]


def test_nothing_that_a_lead_says_of_itself_is_a_link_in_mail_to_sales(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_context(sqlite_db, tmp_path, MONDAY, escalation_rules())
    ctx.provider = MaildirProvider(tmp_path / "maildir", html_copies=True)
    names = ("first_name", "last_name", "title", "industry", "city", "region", "country", "need", "budget")
    fields = {name: f"https://evil.example/{name}" for name in names}
    lead = add_lead(ctx, at=MONDAY, company="evil.example/company", demo_requested=True, **fields)
    run_at(ctx, *(MONDAY + timedelta(hours=hours) for hours in (0, 2, 4)))
    sent = rows(ctx, "SELECT send_key, state FROM message WHERE lead_id = :id ORDER BY id", id=lead)
    assert sent == [("brief:1", "accepted"), ("sla:1:1", "accepted"), ("sla:1:2", "accepted")]
    html = [file.read_text() for file in (tmp_path / "maildir" / "html").iterdir()]
    mails = [file.read_text() for file in (tmp_path / "maildir" / "new").iterdir()]
    subjects = [str(message_from_string(mail, policy=policy.default)["Subject"]) for mail in mails]
    for shown in (*html, *map(_text, mails), *subjects):
        assert "evil" in shown
        assert not re.search(r"https?://evil|(?<![/\w])evil\.example", shown)


def test_a_brief_shows_every_field_and_nothing_for_a_missing_one(sqlite_db: Database, tmp_path: Path) -> None:
    rules = sample_rules() | {"fields.yaml": "booth_rating: {fallback: unrated}\n"}
    rules["handoff/brief.md"] += "\nStand: {{ lead.booth_rating }}; {{ lead.note_of_mara }}; {{ lead.zebra }}.\n"
    ctx = make_context(sqlite_db, tmp_path, rules=rules)
    add_lead(ctx, demo_requested=True, booth_rating="hot", note_of_mara="see www.evil.example")
    classify(ctx, START)
    hand_off(ctx, START)
    deliver(ctx, VirtualClock(START))
    assert "Stand: hot; see www[.]evil.example; ." in _text(mailed(tmp_path, "new"))


def test_a_brief_names_the_country_of_the_lead_and_of_the_rule(sqlite_db: Database, tmp_path: Path) -> None:
    rules = sample_rules()
    alps = "routing:\n  - {name: account, to: account owner}\n"
    alps += "  - {name: alps, when: {field: country, is: [AT, CH]}, to: {rep: ana}}\n"
    alps += "  - {name: rest, when: always, to: {pool: everyone}}\n"
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace("reps:\n", f"{alps}reps:\n", 1)
    ctx = make_context(sqlite_db, tmp_path, rules=rules)
    item = {"email": "ana@example.com", "consent_basis": "consent", "demo_requested": True, "country": "AT"}
    import_rows(ctx, [ItemReader("crm", {}).read(1, item)], "API batch", START)
    run_at(ctx, START)
    brief = _text(mailed(tmp_path, "new"))
    assert "city not known, Austria" in brief
    assert "Why you: country is Austria" in brief


def test_a_brief_says_when_the_lead_decides_and_why_this_rep_in_words(sqlite_db: Database, tmp_path: Path) -> None:
    rules = sample_rules()
    soon = "name: decides-soon\n"
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace(soon, f"{soon}    label: decides soon\n")
    ctx = make_context(sqlite_db, tmp_path, rules=rules)
    lead = add_lead(ctx, title="Head", full_name="Dana Miller")
    run_at(ctx, START)
    record_signal(ctx, lead, SignalKind.DECIDING, START + timedelta(hours=1), "2026-02-20")
    run_at(ctx, START + timedelta(hours=1))
    responses.reject(ctx, one(ctx, "SELECT id FROM offer"), "wrong-person", START + timedelta(hours=2))
    record_signal(ctx, lead, SignalKind.DECIDING, START + timedelta(days=9), "2026-02-21")
    run_at(ctx, START + timedelta(days=9))
    newest = one(ctx, "SELECT max(id) FROM offer")
    details = load_offer_details(ctx, newest, START + timedelta(days=9))
    assert details.why_now == "Decides soon: by 21 February 2026"
    assert details.why_this_rep.startswith("pool everyone, Ana declined it or did not answer, round robin: Ben is next")
    activities = [one["description"] for one in details.profile["activities"]]  # type: ignore[index, union-attr]
    assert activities[0] == "said when they decide: by 21 Feb 2026"
