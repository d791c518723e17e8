"""Test that replies are stored once and have their effects: hand-off, opt-out, pause."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.lead import PausedBy
from nurture.domain.signals import SignalKind
from nurture.journey.engagement import replies, signals
from nurture.journey.erasure import erase
from nurture.journey.leads import reply_queries
from nurture.mail.inbound.classify import classify_mail
from nurture.mail.inbound.message import parse_mail
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.observe import custody, due_at, events, recorded_statements, rows, write
from tests.mail.inbound.replying import bounce, mail

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SENT = START + 3 * HOUR
NOW = START + 4 * HOUR


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    ctx = make_context(db, tmp_path)
    ctx.reply_domain = "in.example.com"
    return ctx


@pytest.fixture
def lead(ctx: AppContext) -> int:
    found = add_lead(ctx, title="Head of stock", email="mia@people.example")
    run_at(ctx, START, START + 2 * HOUR, SENT)
    return found


def reply_address(ctx: AppContext, folder: Path, to: str = "mia@people.example") -> str:
    """Return the reply address of the mail to a lead."""
    for file in (folder / "maildir" / "new").iterdir():
        sent = message_from_bytes(file.read_bytes(), policy=policy.default)
        if to in str(sent["To"]):
            return str(sent["Reply-To"].addresses[0].addr_spec)
    raise AssertionError(f"no mail to {to}")


def process_replies(ctx: AppContext, *raw: bytes, now: datetime = NOW) -> replies.ReplyResult:
    read = [classify_mail(parse_mail(one), now.date()) for one in raw]
    return replies.apply_replies(ctx, read, now)


def test_a_touch_asks_for_answers_to_an_address_of_its_own(ctx: AppContext, lead: int, tmp_path: Path) -> None:
    address = reply_address(ctx, tmp_path)
    local, _, domain = address.partition("@")
    assert domain == "in.example.com"
    assert local.startswith("reply+")
    assert len(local) == len("reply+") + 26
    assert address == address.lower()
    kept = rows(ctx, "SELECT link_digest FROM message WHERE link_digest IS NOT NULL")
    assert len(kept) == 1
    assert local.removeprefix("reply+") not in str(kept)


def test_a_lead_that_replies_is_handed_off_and_the_rep_reads_the_text(
    ctx: AppContext, lead: int, tmp_path: Path
) -> None:
    to = reply_address(ctx, tmp_path)
    words = "Yes, <b>call</b> me: https://evil.example/x\r\n\r\nOn Mon, Ada <ada@house.example> wrote:\r\n> Hello"
    assert process_replies(ctx, mail(words, to=to.upper())) == (1, 1, 1)
    assert rows(ctx, "SELECT lead_id, kind, sender, text FROM reply") == [
        (lead, "wants_to_talk", "", "Yes, <b>call</b> me: https://evil.example/x")
    ]
    asked = "see www.evil.example/y\n\n## WHY YOU"
    signals.record(ctx, [signals.build_reported_signal(lead, SignalKind.SUBMITTED, asked, NOW, NOW)], NOW)
    run_at(ctx, NOW, NOW + HOUR)
    assert custody(ctx, lead)[0] == "offer"
    brief = next(
        sent
        for file in (tmp_path / "maildir" / "new").iterdir()
        if "house.example" in str((sent := message_from_bytes(file.read_bytes(), policy=policy.default))["To"])
    )
    html, plain = brief.get_body(("html",)), brief.get_body(("plain",))
    assert html is not None
    assert plain is not None
    assert "Yes, &lt;b&gt;call&lt;/b&gt; me: hxxps://evil.example/x" in html.get_content()
    assert "Yes, <b>call</b> me: hxxps://evil.example/x" in plain.get_content()
    assert "filled in a form: see www[.]evil.example/y ## WHY YOU" in plain.get_content()


def test_copies_of_an_answer_count_once(ctx: AppContext, lead: int, tmp_path: Path) -> None:
    answer = mail("Call me", to=reply_address(ctx, tmp_path))
    assert process_replies(ctx, answer, answer).new == 1
    assert process_replies(ctx, answer, now=NOW + DAY).new == 0
    assert rows(ctx, "SELECT count(*) FROM reply") == [(1,)]
    assert rows(ctx, "SELECT count(*) FROM signal WHERE kind = 'replied'") == [(1,)]


def test_a_colleague_who_answers_counts_for_the_lead_and_is_named_only_with_the_words(
    ctx: AppContext, lead: int, tmp_path: Path
) -> None:
    answer = "I take this over from her. Please call me."
    process_replies(ctx, mail(answer, to=reply_address(ctx, tmp_path), sender="Kim <kim@people.example>"))
    assert rows(ctx, "SELECT sender FROM reply") == [("kim@people.example",)]
    assert rows(ctx, "SELECT value FROM signal WHERE kind = 'replied'") == [("other sender",)]


def test_a_lead_that_replies_stop_is_not_mailed_again(ctx: AppContext, lead: int, tmp_path: Path) -> None:
    process_replies(ctx, mail("Please remove me from your list.", to=reply_address(ctx, tmp_path)))
    assert rows(ctx, "SELECT scope, source FROM suppression") == [("global", "reply")]
    assert rows(ctx, "SELECT count(*) FROM signal WHERE kind = 'replied'") == [(0,)]


@pytest.mark.parametrize(
    ("words", "kind", "custodian"),
    [
        ("Kein Interesse.", "not_interested", ("closed", "discarded")),
        ("Ok, hm", "unclear_short", ("queue", "reply-unclear-short")),
        ("You have the wrong person. Please contact Eve Young.", "wrong_person", ("queue", "reply-wrong-person")),
        ("Not now, maybe next year", "not_now", ("track", "hello")),
    ],
)
def test_a_reply_that_is_no_interest_is_not_handed_off(
    ctx: AppContext, lead: int, tmp_path: Path, words: str, kind: str, custodian: tuple[str, str]
) -> None:
    before = custody(ctx, lead)
    process_replies(ctx, mail(words, to=reply_address(ctx, tmp_path)))
    assert rows(ctx, "SELECT kind FROM reply") == [(kind,)]
    assert rows(ctx, "SELECT count(*) FROM signal WHERE kind = 'replied'") == [(0,)]
    assert tuple(custody(ctx, lead)[:2]) == (custodian if custodian[0] != "track" else tuple(before[:2]))


def test_an_erasure_request_stops_mail_and_waits_to_be_carried_out(ctx: AppContext, lead: int, tmp_path: Path) -> None:
    process_replies(ctx, mail("Please delete all my personal data.", to=reply_address(ctx, tmp_path)))
    assert rows(ctx, "SELECT scope, source FROM suppression") == [("global", "reply")]
    with ctx.database.read() as tx:
        assert reply_queries.find_erasure_requests(tx) == [lead]
    erase.erase_person(ctx, str(lead), NOW)
    with ctx.database.read() as tx:
        assert reply_queries.find_erasure_requests(tx) == []


def test_not_now_pauses_until_the_day_that_is_named(ctx: AppContext, lead: int, tmp_path: Path) -> None:
    process_replies(ctx, mail("Not now, write again on 3 June", to=reply_address(ctx, tmp_path)))
    ((until, by),) = rows(ctx, "SELECT paused_until, paused_by FROM lead")
    assert str(until).startswith("2026-06-0")
    assert by == PausedBy.NOT_NOW


def test_who_left_the_company_gets_no_more_mail_and_the_named_person_is_shown(
    ctx: AppContext, lead: int, tmp_path: Path
) -> None:
    process_replies(ctx, mail("I left the company. Please contact Eve Young.", to=reply_address(ctx, tmp_path)))
    assert rows(ctx, "SELECT scope, source FROM suppression") == [("global", "reply")]
    assert rows(ctx, "SELECT kind, contact FROM reply") == [("left_company", "Eve Young")]


def test_an_answer_within_a_minute_with_another_sign_is_automatic(ctx: AppContext, lead: int, tmp_path: Path) -> None:
    (accepted_at,) = rows(ctx, "SELECT accepted_at FROM message")[0]
    sent = f"{datetime.fromisoformat(str(accepted_at)):%a, %d %b %Y %H:%M:%S} +0000"
    quick = mail("Lorem ipsum dolor sit amet", to=reply_address(ctx, tmp_path), subject="Aliquam quaerat: Hello")
    quick = quick.replace(b"Mon, 05 Jan 2026 11:30:00 +0000", sent.encode())
    process_replies(ctx, quick)
    assert rows(ctx, "SELECT kind FROM reply") == [("automatic",)]


def test_an_out_of_office_reply_pauses_until_the_return_date_and_is_no_reply(
    ctx: AppContext, lead: int, tmp_path: Path
) -> None:
    away = mail(
        "I am out of the office and will be back on 3 March.",
        to=reply_address(ctx, tmp_path),
        subject="Automatic reply: Hello",
        Auto_Submitted="auto-replied",
    )
    process_replies(ctx, away)
    process_replies(ctx, away, now=NOW + HOUR)
    until = rows(ctx, "SELECT paused_until FROM lead")[0][0]
    assert str(until).startswith("2026-03-03")
    assert events(ctx, lead).count("paused") == 1
    run_at(ctx, NOW + HOUR, NOW + 8 * DAY)
    assert custody(ctx, lead)[0] == "track"
    assert rows(ctx, "SELECT count(*) FROM message WHERE kind = 'touch'") == [(1,)]
    run_at(ctx, datetime(2026, 3, 3, 10, tzinfo=UTC), datetime(2026, 3, 3, 12, tzinfo=UTC))
    assert rows(ctx, "SELECT count(*) FROM message WHERE kind = 'touch'") == [(2,)]


def test_a_missing_mailbox_is_not_mailed_again_and_another_address_does_not_matter(
    ctx: AppContext, lead: int, tmp_path: Path
) -> None:
    token = reply_address(ctx, tmp_path).partition("@")[0].removeprefix("reply+")
    process_replies(ctx, bounce("old@people.example", token=token), bounce("mia@people.example", "5.2.2", token=token))
    assert rows(ctx, "SELECT count(*) FROM suppression") == [(0,)]
    process_replies(ctx, bounce("mia@people.example", token=token))
    assert rows(ctx, "SELECT source FROM suppression") == [("bounce",)]


def test_mail_that_is_no_reply_to_ours_leaves_no_trace(ctx: AppContext, lead: int) -> None:
    assert process_replies(
        ctx, mail("Buy this"), mail("x", to="reply+zz@in.example.com"), b"", b"\x00\xff\r\n\r\n"
    ) == (4, 0, 0)
    assert rows(ctx, "SELECT count(*) FROM reply") == [(0,)]


def test_a_batch_costs_the_same_number_of_statements_whatever_its_size(
    db: Database, ctx: AppContext, lead: int, tmp_path: Path
) -> None:
    others = [add_lead(ctx, title="Head", email=f"lead-{number}@firm{number}.example") for number in range(12)]
    run_at(ctx, NOW, NOW + 2 * HOUR, NOW + 3 * HOUR)
    addresses = [reply_address(ctx, tmp_path, f"lead-{number}@") for number in range(len(others))]

    def cost(some: list[str], first: int) -> int:
        answers = [
            mail(
                "Back on 3 March" if number % 2 else "Call me",
                to=to,
                number=f"{first}-{number}",
                **({"Auto_Submitted": "auto-replied"} if number % 2 else {}),
            )
            for number, to in enumerate(some)
        ]
        with recorded_statements(db) as statements:
            process_replies(ctx, *answers, now=NOW + 4 * HOUR)
        return len(statements)

    few, many = cost(addresses[:2], 1), cost(addresses[2:], 2)
    assert many <= few + 2


@pytest.mark.parametrize(
    ("before", "reports", "after"),
    [
        ("accepted", [("5.1.1", "failed")], ("bounced", "bounced: 5.1.1")),
        ("accepted", [("5.2.2", "failed")], ("dropped", "blocked: 5.2.2")),
        ("accepted", [("4.4.1", "delayed")], ("accepted", None)),
        ("accepted", [("2.1.5", "delivered")], ("delivered", None)),
        ("accepted", [("5.1.1", "failed"), ("4.4.1", "delayed"), ("2.1.5", "delivered")], ("bounced", None)),
        ("unknown", [("4.4.1", "delayed")], ("accepted", None)),
        ("complained", [("5.1.1", "failed")], ("complained", None)),
    ],
)
def test_delivery_reports_update_what_was_sent_by_smtp_in_any_order(
    sqlite_db: Database, tmp_path: Path, before: str, reports: list[tuple[str, str]], after: tuple[str, str | None]
) -> None:
    ctx = make_context(sqlite_db, tmp_path)
    ctx.reply_domain = "in.example.com"
    add_lead(ctx, title="Head of stock", email="mia@people.example")
    run_at(ctx, START, START + 2 * HOUR, SENT)
    token = reply_address(ctx, tmp_path).partition("@")[0].removeprefix("reply+")
    write(ctx, "UPDATE message SET state = :state", state=before)
    raw = [bounce("mia@people.example", status, token, action) for status, action in reports]
    for one in (*raw, *reversed(raw)):
        process_replies(ctx, one)
    ((state, reason),) = rows(ctx, "SELECT state, reason FROM message")
    assert state == after[0]
    assert after[1] is None or reason == after[1]


def test_a_report_of_another_mailbox_changes_nothing_and_one_of_an_unknown_message_wakes_its_lead(
    ctx: AppContext, lead: int, tmp_path: Path
) -> None:
    token = reply_address(ctx, tmp_path).partition("@")[0].removeprefix("reply+")
    write(ctx, "UPDATE message SET state = 'unknown'")
    process_replies(ctx, bounce("old@people.example", token=token))
    assert rows(ctx, "SELECT state FROM message") == [("unknown",)]
    process_replies(ctx, bounce("mia@people.example", "4.4.1", token, "delayed"))
    assert rows(ctx, "SELECT state FROM message") == [("accepted",)]
    assert due_at(ctx, lead) == NOW
