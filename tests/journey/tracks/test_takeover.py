"""Test that the audience of a track with a higher priority takes leads over, and that they return to their step."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations
from pathlib import Path

import pytest
from sqlalchemy import select

from nurture.db.engine import Database
from nurture.db.tables.leads import journal
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.formats.lead_item import ItemReader
from nurture.journey.delivery import claim, stopping
from nurture.journey.intake.import_file import import_rows
from nurture.journey.leads import enrollment_queries
from nurture.journey.tracks import advance, manual
from nurture.reporting import audit
from nurture.reporting.explain import explain
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, close_lead, make_context, run_at, sample_rules
from tests.journey.observe import RecordingProvider, custody, due_at, events, messages, one, record_signal, rows

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OPEN = START + HOUR
_TRIAL = """
name: trial
goal: Use it once
audience: {field: lead_source, is: Trial}
priority: 30
re_entry: after 90 days
steps:
  - email: 01-start
    after: 1 hour
  - email: 02-next
    after: 2 days
finally: previous
"""


def rules() -> dict[str, str]:
    """Return the sample rules with a track that interrupts `keep` and `welcome`."""
    sources = sample_rules()
    email = sources["tracks/keep/01-news.md"]
    return sources | {
        "tracks/trial/track.yaml": _TRIAL,
        "tracks/trial/01-start.md": email.replace("News", "Start"),
        "tracks/trial/02-next.md": email.replace("News", "Next"),
    }


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    made = make_context(db, tmp_path, rules=rules())
    made.provider = RecordingProvider()
    return made


def starts_trial(ctx: AppContext, email: str, at: datetime, source: str = "Trial") -> int:
    item = {"external_id": email, "email": email, "lead_source": source, "consent_basis": "consent"}
    import_rows(ctx, [ItemReader("crm", {}).read(1, item)], "API batch", at)
    return int(one(ctx, "SELECT lead_id FROM identity WHERE external_id = :email", email=email))


def days(ctx: AppContext, first: int, last: int) -> None:
    run_at(ctx, *(OPEN + day * DAY for day in range(first, last + 1)))


def stays(ctx: AppContext, lead: int) -> list[tuple[str, str, str]]:
    """Return (track, step, state or end reason) of every stay, in the order of entering."""
    state = (
        "CASE WHEN end_reason IS NOT NULL THEN end_reason WHEN suspended_at IS NULL THEN 'active' ELSE 'suspended' END"
    )
    query = f"SELECT track, step, {state} FROM enrollment WHERE lead_id = :id ORDER BY id"
    return rows(ctx, query, id=lead)  # type: ignore[return-value]


def test_a_changed_field_moves_a_known_lead_and_it_returns_to_its_step(ctx: AppContext) -> None:
    lead = starts_trial(ctx, "ana@example.com", START, "Website")
    days(ctx, 0, 14)
    assert [step for _, step, _, _ in messages(ctx)] == ["01-news"]
    starts_trial(ctx, "ana@example.com", OPEN + 14 * DAY)
    days(ctx, 14, 16)
    assert stays(ctx, lead) == [("keep", "go-round", "suspended"), ("trial", "02-next", "active")]
    reason = one(ctx, "SELECT reason FROM journal WHERE event = 'taken_over'")
    assert reason == ("takes over from keep (priority 0): audience of trial (priority 30): lead_source is Trial")
    days(ctx, 17, 50)
    assert stays(ctx, lead) == [("keep", "go-round", "active"), ("trial", "finally", "moved to keep")]
    sent = [step for _, step, state, _ in messages(ctx) if state == "accepted"]
    assert sent == ["01-news", "01-start", "02-next", "01-news"]
    assert custody(ctx, lead) == ("track", "keep")
    assert audit.run_audit(ctx, OPEN + 50 * DAY).ok


def test_planned_mail_of_the_old_track_is_superseded_and_sent_after_the_return(ctx: AppContext) -> None:
    lead = starts_trial(ctx, "ana@example.com", START, "Website")
    days(ctx, 0, 0)
    advance.advance(ctx, OPEN + 10 * DAY)
    assert [(step, state) for _, step, state, _ in messages(ctx)] == [("01-news", "planned")]
    starts_trial(ctx, "ana@example.com", OPEN + 10 * DAY)
    advance.advance(ctx, OPEN + 10 * DAY)
    assert messages(ctx) == [(lead, "01-news", "cancelled", "superseded_by_track")]
    days(ctx, 10, 21)
    assert messages(ctx)[1:] == [(lead, step, "accepted", "") for step in ("01-start", "02-next")]
    assert stays(ctx, lead)[0] == ("keep", "01-news", "active"), "its delay of ten days begins again with the return"
    days(ctx, 22, 24)
    assert messages(ctx) == [(lead, step, "accepted", "") for step in ("01-news", "01-start", "02-next")]
    sent = rows(ctx, "SELECT step FROM message ORDER BY accepted_at")
    assert sent == [("01-start",), ("02-next",), ("01-news",)]
    assert custody(ctx, lead) == ("track", "keep")


def test_mail_that_is_claimed_is_waited_for(ctx: AppContext) -> None:
    lead = starts_trial(ctx, "ana@example.com", START, "Website")
    days(ctx, 0, 0)
    now = OPEN + 10 * DAY
    advance.advance(ctx, now)
    claim.claim_batch(ctx, now, 10)
    starts_trial(ctx, "ana@example.com", now)
    advance.advance(ctx, now)
    assert custody(ctx, lead) == ("track", "keep")
    held = one(ctx, "SELECT reason FROM journal WHERE event = 'in_flight'")
    assert held.startswith("01-news is in flight; then trial takes over from keep")
    days(ctx, 11, 12)
    assert custody(ctx, lead) == ("track", "trial")
    assert [state for _, step, state, _ in messages(ctx) if step == "01-news"] == ["accepted"]


def test_no_lead_is_taken_over_from_sales_or_while_its_mail_is_stopped(ctx: AppContext) -> None:
    offered, stopped = (starts_trial(ctx, f"{name}@example.com", START, "Website") for name in ("ana", "ben"))
    days(ctx, 0, 0)
    record_signal(ctx, offered, SignalKind.REPLIED, OPEN)
    stopping.stop(ctx, "trial", "wrong price", "Mara", OPEN)
    for name in ("ana", "ben"):
        starts_trial(ctx, f"{name}@example.com", OPEN)
    days(ctx, 0, 0)
    assert [custody(ctx, one_)[0] for one_ in (offered, stopped)] == ["offer", "track"]
    assert custody(ctx, stopped) == ("track", "keep")
    stopping.start(ctx, "trial", "", "Mara", OPEN + HOUR)
    days(ctx, 1, 1)
    assert custody(ctx, stopped) == ("track", "trial")


def test_the_start_of_a_track_makes_the_leads_due_that_it_takes_over_and_no_others(ctx: AppContext) -> None:
    fits, excluded, other = (
        starts_trial(ctx, f"{name}@example.com", START, "Website") for name in ("ana", "ben", "kim")
    )
    days(ctx, 0, 0)
    stopping.stop(ctx, "trial", "wrong price", "Mara", OPEN)
    for name in ("ana", "ben"):
        starts_trial(ctx, f"{name}@example.com", OPEN)
    with ctx.database.write() as tx:
        enrollment_queries.exclude(tx, [(excluded, "trial", OPEN)])
    days(ctx, 0, 0)
    waiting = [due_at(ctx, lead) for lead in (excluded, other)]
    stopping.start(ctx, "trial", "", "Mara", OPEN + HOUR)
    assert [due_at(ctx, lead) for lead in (fits, excluded, other)] == [OPEN + HOUR, *waiting]
    run_at(ctx, OPEN + HOUR)
    assert [custody(ctx, lead)[1] for lead in (fits, excluded, other)] == ["trial", "keep", "keep"]


def test_a_suspended_stay_ends_when_the_lead_leaves_for_good(ctx: AppContext) -> None:
    left, won = (starts_trial(ctx, f"{name}@example.com", START, "Website") for name in ("ana", "ben"))
    days(ctx, 0, 0)
    for name in ("ana", "ben"):
        starts_trial(ctx, f"{name}@example.com", OPEN)
    days(ctx, 0, 0)
    manual.remove_from_track(ctx, left, "needs-a-look", OPEN + HOUR)
    close_lead(ctx, won, Closing.WON, OPEN + HOUR)
    assert stays(ctx, left) == [("keep", "01-news", "interrupted"), ("trial", "01-start", "queue needs-a-look")]
    assert stays(ctx, won) == [("keep", "01-news", "interrupted"), ("trial", "01-start", "won")]
    assert audit.run_audit(ctx, OPEN + HOUR).ok


def test_a_retired_track_is_skipped_on_the_way_back(ctx: AppContext) -> None:
    lead = starts_trial(ctx, "ana@example.com", START, "Website")
    days(ctx, 0, 0)
    starts_trial(ctx, "ana@example.com", OPEN)
    days(ctx, 0, 0)
    stopping.retire(ctx, "keep", "welcome", "", "Mara", OPEN + HOUR)
    days(ctx, 1, 5)
    assert stays(ctx, lead)[0] == ("keep", "01-news", "interrupted")
    assert custody(ctx, lead) == ("resting", "no-track")


def test_an_enrollment_by_hand_continues_a_suspended_stay(ctx: AppContext) -> None:
    lead = starts_trial(ctx, "ana@example.com", START, "Website")
    days(ctx, 0, 12)
    starts_trial(ctx, "ana@example.com", OPEN + 12 * DAY)
    days(ctx, 12, 12)
    manual.enroll(ctx, lead, "keep", OPEN + 13 * DAY)
    assert stays(ctx, lead) == [("keep", "go-round", "active"), ("trial", "01-start", "moved to keep")]
    assert events(ctx, lead)[-1] == "enrolled"


def test_silence_makes_a_lead_due_on_the_day_on_which_an_audience_begins_to_fit(db: Database, tmp_path: Path) -> None:
    sources = rules()
    silent = "{not: {did: clicked, within: 20 days}}"
    sources["tracks/trial/track.yaml"] = _TRIAL.replace("{field: lead_source, is: Trial}", silent)
    ctx = make_context(db, tmp_path, rules=sources)
    ctx.provider = RecordingProvider()
    lead = add_lead(ctx)
    record_signal(ctx, lead, SignalKind.CLICKED, START)
    run_at(ctx, START)
    run_at(ctx, OPEN)
    assert custody(ctx, lead) == ("track", "keep")
    run_at(ctx, OPEN + 10 * DAY, OPEN + 10 * DAY + HOUR)
    wakes = due_at(ctx, lead)
    assert wakes == START + 20 * DAY + timedelta(microseconds=1)
    run_at(ctx, wakes)
    assert custody(ctx, lead) == ("track", "trial")


def test_a_goal_brings_the_lead_back_to_the_track_before(db: Database, tmp_path: Path) -> None:
    sources = rules()
    sources["tracks/trial/track.yaml"] += "until: {did: clicked}\n"
    ctx = make_context(db, tmp_path, rules=sources)
    ctx.provider = RecordingProvider()
    lead = starts_trial(ctx, "ana@example.com", START, "Website")
    days(ctx, 0, 0)
    starts_trial(ctx, "ana@example.com", OPEN)
    days(ctx, 0, 1)
    assert explain(ctx, lead, OPEN + DAY).suspended == ("keep, step 01-news, interrupted on 2026-01-05",)
    record_signal(ctx, lead, SignalKind.CLICKED, OPEN + 2 * DAY)
    days(ctx, 2, 2)
    assert stays(ctx, lead) == [("keep", "01-news", "active"), ("trial", "01-start", "goal")]
    assert explain(ctx, lead, OPEN + 2 * DAY).suspended == ()


def test_the_order_in_which_fields_and_signals_arrive_within_a_sweep_changes_nothing(
    db: Database, tmp_path: Path
) -> None:
    sources = rules()
    both = "{all: [{field: lead_source, is: Trial}, {did: visited}]}"
    sources["tracks/trial/track.yaml"] = _TRIAL.replace("{field: lead_source, is: Trial}", both)
    ctx = make_context(db, tmp_path, rules=sources)
    ctx.provider = RecordingProvider()
    orders = list(permutations(("field", "visit", "click")))
    leads = [starts_trial(ctx, f"lead{number}@example.com", START, "Website") for number in range(len(orders))]
    days(ctx, 0, 0)
    for number, (lead, order) in enumerate(zip(leads, orders, strict=True)):
        for arrives in order:
            if arrives == "field":
                starts_trial(ctx, f"lead{number}@example.com", OPEN)
            else:
                kind = SignalKind.VISITED if arrives == "visit" else SignalKind.CLICKED
                record_signal(ctx, lead, kind, OPEN)
    days(ctx, 0, 18)
    seen = [(stays(ctx, lead), events(ctx, lead).count("taken_over"), due_at(ctx, lead)) for lead in leads]
    assert seen[0][:2] == ([("keep", "go-round", "active"), ("trial", "finally", "moved to keep")], 1)
    assert seen == seen[:1] * len(leads)


def test_the_journal_rebuilds_every_stay(ctx: AppContext) -> None:
    lead = starts_trial(ctx, "ana@example.com", START, "Website")
    days(ctx, 0, 14)
    starts_trial(ctx, "ana@example.com", OPEN + 14 * DAY)
    for first, last in ((14, 15), (16, 17), (18, 19), (20, 40)):
        days(ctx, first, last)
        assert _replay(ctx, lead) == {track: (step, state) for track, step, state in stays(ctx, lead)}


def _replay(ctx: AppContext, lead: int) -> dict[str, tuple[str, str]]:
    """Return the step and the state of the stay on each track, from the decisions in the journal alone."""
    found: dict[str, tuple[str, str]] = {}
    track = ""
    with ctx.database.read() as tx:
        query = select(journal.c.event, journal.c.ref, journal.c.detail).where(journal.c.lead_id == lead)
        for event, ref, detail in tx.execute(query.order_by(journal.c.id)):
            position = (detail or {}).get("position")
            if track and position is not None:
                found[track] = (position[0], "active")
            if event in ("classified", "taken_over", "left"):
                if track:
                    found[track] = (found[track][0], "suspended" if event == "taken_over" else f"moved to {ref}")
                track = ref
                found[track] = (found[track][0] if track in found else _first_step(ctx, track), "active")
    return found


def _first_step(ctx: AppContext, track: str) -> str:
    with ctx.database.read() as tx:
        return ctx.definitions.current(tx).programs[track].first_step
