"""Caps of topics and exempt emails, on both databases: what the database keeps of an email decides about the next."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path

from nurture.db.engine import Database
from nurture.journey.tracks.advance import advance
from nurture.reporting.explain import explain
from nurture.reporting.tracks import report_tracks
from nurture.simulation.engine import run_simulation
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import rows, write

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WELCOME, KEEP = "tracks/welcome/track.yaml", "tracks/keep/track.yaml"
CAP = "cap: {touches: 2, per: 7 days}"


def capped(cap: str, **more: str) -> dict[str, str]:
    """Return the sample rules with this cap, and lines added to tracks."""
    rules = sample_rules()
    rules["defaults.yaml"] = rules["defaults.yaml"].replace(CAP, f"cap: {cap}")
    return rules | {path: rules[path] + f"\n{more[name]}\n" for name, path in _FILES.items() if name in more}


_FILES = {"welcome": WELCOME, "keep": KEEP}


def test_emails_of_another_track_on_a_topic_count_for_its_cap(db: Database, tmp_path: Path) -> None:
    of_topic = "{touches: 9, per: 7 days, topics: {News: {touches: 2, per: 60 days}}}"
    ctx = make_context(db, tmp_path, rules=capped(of_topic, welcome="topic: News", keep="topic: news"))
    lead = add_lead(ctx, title="Head")
    end = run_simulation(ctx, START, START + 40 * DAY)
    sent = rows(ctx, "SELECT step, topic, accepted_at FROM message WHERE kind = 'touch' ORDER BY id")
    assert [row[:2] for row in sent] == [("01-hello", "news"), ("02-more", "news")]
    hold = explain(ctx, lead, end).hold
    assert hold.guard == "frequency_cap"
    assert "already 2 emails on news in 60 days" in hold.reason
    run_simulation(ctx, end, START + 70 * DAY)
    sent = rows(ctx, "SELECT accepted_at FROM message WHERE kind = 'touch' ORDER BY id")
    assert len(sent) == 3


def test_an_exempt_email_is_sent_past_the_cap_and_counted(db: Database, tmp_path: Path) -> None:
    rules = capped("{touches: 1, per: 30 days}")
    exempt = "email: 02-more\n    cap: {exempt: they asked for it}"
    rules[WELCOME] = rules[WELCOME].replace("email: 02-more", exempt)
    ctx = make_context(db, tmp_path, rules=rules)
    add_lead(ctx, title="Head")
    run_simulation(ctx, START, START + 35 * DAY)
    found = {one.step: (one.sent, one.past_cap) for one in report_tracks(ctx) if one.is_email}
    assert found == {"01-hello": (1, 0), "02-more": (1, 1), "01-news": (0, 0)}
    run_simulation(ctx, START + 35 * DAY, START + 60 * DAY)  # the exempt email counts for the cap of the next
    assert {one.step: one.past_cap for one in report_tracks(ctx)}["01-news"] == 0


def test_a_run_counts_the_emails_that_it_moves_by_day_and_cause(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path, rules=capped("{touches: 1, per: 30 days}"))
    for _ in range(3):
        add_lead(ctx, title="Head")
    moved = Counter[str]()
    run_simulation(ctx, START, START + 9 * DAY, on_round=lambda _, done: moved.update(done.advanced.moved))
    assert list(moved.values()) == [3]
    assert next(iter(moved)).endswith(": already 1 email in 30 days")


def test_a_due_email_that_no_longer_fits_the_cap_is_moved_with_the_reason_and_sent_once(
    db: Database, tmp_path: Path
) -> None:
    ctx = make_context(db, tmp_path, rules=capped("{touches: 1, per: 2 days}"))
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START)
    advance(ctx, START + HOUR)  # planned by the lead's track, while another email leaves
    write(
        ctx,
        "INSERT INTO message (send_key, kind, recipient, lead_id, step, visit, email, planned_at, "
        "send_at, expires_at, state, state_at, attempts) "
        "SELECT 'question:x', 'question', 'lead', lead_id, 'country', 1, 'question', planned_at, "
        "send_at, expires_at, 'accepted', send_at, 1 FROM message WHERE lead_id = :id",
        id=lead,
    )
    run_at(ctx, START + HOUR)
    ((state, reason),) = rows(ctx, "SELECT state, reason FROM message WHERE kind = 'touch'")
    assert state == "planned"
    assert ": already 1 email in 2 days" in reason
    run_simulation(ctx, START + HOUR, START + 4 * DAY)
    assert rows(ctx, "SELECT step, state, attempts FROM message WHERE kind = 'touch'") == [("01-hello", "accepted", 1)]
