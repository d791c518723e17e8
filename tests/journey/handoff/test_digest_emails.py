"""A manager gets one email a day about what is late, and one with a link at once about each hot lead."""

from __future__ import annotations

import re
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path

from nurture.db.engine import Database
from nurture.journey.handoff import responses, workspace_links
from nurture.runtime.context import AppContext
from tests.journey.builders import add_lead, make_context, run_at
from tests.journey.handoff.test_sla_sweep import DAY, HOUR, MONDAY, PEOPLE, escalation_rules
from tests.journey.observe import rows

WITH_DIGEST = PEOPLE.replace("email: lena@house.example}", "email: lena@house.example, digest: yes}")


def _context(db: Database, tmp_path: Path, more: str = "") -> AppContext:
    return make_context(db, tmp_path, MONDAY, escalation_rules(WITH_DIGEST + more))


def _mails(tmp_path: Path) -> list[tuple[str, str]]:
    found = []
    for file in sorted((tmp_path / "maildir" / "new").iterdir(), key=lambda one: one.stat().st_mtime_ns):
        mail = message_from_bytes(file.read_bytes(), policy=policy.default)
        body = mail.get_body(("plain",))
        if body is not None and "lena@" in str(mail["To"]):
            found.append((str(mail["Subject"]), body.get_content()))
    return found


def test_what_is_late_comes_in_one_email_on_the_next_business_day(db: Database, tmp_path: Path) -> None:
    ctx = _context(db, tmp_path)
    for name in ("Dana Miller", "Erik Holm", "Kim Park"):
        add_lead(ctx, demo_requested=True, full_name=name, at=MONDAY)
    run_at(ctx, MONDAY, MONDAY + 2 * HOUR, MONDAY + 4 * HOUR, MONDAY + 5 * HOUR)
    assert _mails(tmp_path) == []
    responses.accept(ctx, 1, MONDAY + 6 * HOUR)
    morning = MONDAY + DAY - HOUR  # Tuesday 09:00, before the offers are taken back at 10:00
    run_at(ctx, morning, morning + timedelta(minutes=1))
    ((subject, text),) = _mails(tmp_path)
    assert subject == "Late leads of your team: 2"
    assert "Dana Miller" not in text
    assert "Erik Holm: Ben, answer overdue, escalated" in " ".join(text.replace("*", "").split())
    assert "hand-off 2" in text
    assert rows(ctx, "SELECT kind, count(*) FROM message WHERE rep = 'lena' GROUP BY kind") == [("digest", 1)]


def test_a_digest_links_to_the_page_of_the_team(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = _context(sqlite_db, tmp_path)
    ctx.base_url = "https://go.example.com"
    add_lead(ctx, demo_requested=True, full_name="Dana Miller", at=MONDAY)
    morning = MONDAY + DAY - HOUR
    run_at(ctx, MONDAY, MONDAY + 4 * HOUR, MONDAY + 5 * HOUR, morning)
    text = next(text for subject, text in _mails(tmp_path) if subject.startswith("Late leads"))
    token = re.search(r"https://go[.]example[.]com/i/([\w-]+)", text)
    assert token is not None
    assert workspace_links.find_rep(ctx, token[1], morning) == "lena"


def test_a_hot_lead_is_escalated_at_once_with_a_link_to_its_page(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = _context(sqlite_db, tmp_path, "priority: {hot: [ready]}\n")
    ctx.base_url = "https://go.example.com"
    add_lead(ctx, demo_requested=True, full_name="Dana Miller", at=MONDAY)
    run_at(ctx, MONDAY, MONDAY + 2 * HOUR, MONDAY + 4 * HOUR)
    ((subject, text),) = _mails(tmp_path)
    assert subject.startswith("Ana has not answered: Dana Miller")
    assert "nurture handoffs" not in text
    page = re.search(r"https://go[.]example[.]com/i/([\w-]+)/1\)", text)
    assert page is not None
    assert workspace_links.find_rep(ctx, page[1], MONDAY + 4 * HOUR) == "lena"


def test_a_digest_of_what_was_done_meanwhile_says_so(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = _context(sqlite_db, tmp_path)
    add_lead(ctx, demo_requested=True, full_name="Dana Miller", at=MONDAY)
    run_at(ctx, MONDAY, MONDAY + 2 * HOUR, MONDAY + 4 * HOUR)
    responses.accept(ctx, 1, MONDAY + 5 * HOUR)
    run_at(ctx, MONDAY + DAY - HOUR, MONDAY + DAY)
    assert [subject for subject, _ in _mails(tmp_path)] == ["Your team is on time again"]
