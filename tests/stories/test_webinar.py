"""The webinar and the 60 days after it, on the virtual clock."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nurture.domain.lead import Custodian
from nurture.journey.intake.import_file import LeadImportResult, import_file
from nurture.journey.run_once import run_once
from nurture.reporting import tracks, webinar
from nurture.reporting.audit import run_audit
from nurture.runtime.context import AppContext
from nurture.simulation import engine
from nurture.simulation.behavior import BehaviorModel
from tests.reporting.daily_ledger import ledger_by_day
from tests.stories.world import TEMPLATES, context_in_memory, rows

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAYS = 60
CAP, CAP_PER = 2, timedelta(days=7)
WHERE_REJECTED_LEADS_GO = {
    "not-now": "track",
    "no-answer": "track",
    "no-budget": "track",
    "wrong-person": "queue",
    "bad-fit": "closed",
}


@dataclass
class Story:
    """The result of one webinar."""

    ctx: AppContext
    imported: LeadImportResult
    arrived: webinar.WebinarReport
    end: datetime


def play(folder: Path, days: int = DAYS) -> Story:
    ctx = context_in_memory(START)
    bad = folder / "bad-rows.csv"
    file = TEMPLATES / "examples" / "webinar.csv"
    imported = import_file(ctx, file, START, source="webinar", report=bad)
    run_once(ctx, START)
    arrived = webinar.report_webinar(ctx, "webinar")
    model = BehaviorModel(ctx, "may", START)
    until = START + timedelta(days=days)
    end = engine.run_simulation(ctx, START, until, advance_world=model.advance_to, min_step=timedelta(minutes=30))
    return Story(ctx, imported, arrived, end)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    found = play(tmp_path_factory.mktemp("webinar"))
    yield found
    found.ctx.database.close()


def touches(story: Story) -> dict[int, list[datetime]]:
    """Return when each lead was mailed."""
    found = defaultdict(list)
    for row in rows(story.ctx, "message"):
        if row.kind == "touch" and row.accepted_at is not None:
            found[row.lead_id].append(row.accepted_at)
    return {lead_id: sorted(times) for lead_id, times in found.items()}


def test_250_registrants_are_imported_and_two_bad_rows_are_reported(story: Story) -> None:
    assert (story.imported.rows, story.imported.new, story.imported.rejected) == (252, 250, 2)
    assert story.imported.report_path is not None
    assert len(story.imported.report_path.read_text("utf-8").splitlines()) == 3


def test_readiness_sorts_the_registrants_as_documented(story: Story) -> None:
    arrived = story.arrived
    assert (arrived.attended, arrived.missed) == (83, 167)
    came = {kind: arrived.custodian[True, kind] for kind in ("queue", "track", "closed")}
    assert came == {"queue": 21, "track": 42, "closed": 20}
    assert arrived.rules[False, "nurture-good-fit"] == 42
    assert arrived.rules[False, "nurture-possible-fit"] == 83
    assert arrived.custodian[False, "closed"] == 42
    assert arrived.custodian.total() == 250


def test_the_same_seed_gives_the_same_story(story: Story, tmp_path: Path) -> None:
    again = play(tmp_path, days=20)
    before = [row for row in rows(story.ctx, "journal") if row.at <= again.end]
    assert rows(again.ctx, "journal") == before
    assert len({row.event for row in before}) > 8


def test_the_ledger_balances_every_day(story: Story) -> None:
    days = ledger_by_day(story.ctx, START.date(), (START + timedelta(days=DAYS)).date())
    assert len(days) == DAYS + 1
    assert {(one.leads, one.residual, sum(one.custody.values())) for one in days} == {(250, 0, 250)}


def test_in_the_end_every_invariant_holds(story: Story) -> None:
    books = run_audit(story.ctx, story.end)
    assert books.ok, books.findings


def test_every_hand_off_says_why_now_why_this_rep_and_under_which_policy(story: Story) -> None:
    offers = tracks.report_handoffs(story.ctx)
    assert len(offers) > 40
    assert len({one.rule for one in offers}) > 3
    for one in offers:
        assert one.policy_version == 1
        assert one.handoff_reason.startswith((one.rule, "opened the planning calendar")), one
        assert one.routing_reason


def test_no_rep_gets_more_in_a_day_than_their_capacity(story: Story) -> None:
    with story.ctx.database.read() as tx:
        reps = story.ctx.definitions.current(tx).policy.reps
    room = {rep.id: rep.capacity for rep in reps}
    got = Counter((one.rep, one.offered_at.date()) for one in tracks.report_handoffs(story.ctx))
    assert {rep for rep, _ in got} == set(room)
    assert max(got.values()) >= 7, "the first day's rush ought to fill them"
    assert all(number <= room[rep] for (rep, _), number in got.items())


def test_what_reps_reject_goes_where_the_policy_says(story: Story) -> None:
    rejected = [one for one in tracks.report_handoffs(story.ctx) if one.state == "rejected"]
    went = {
        (row.lead_id, row.at): row.custody_to
        for row in rows(story.ctx, "journal")
        if row.event in ("recycled", "resumed") and row.reason.find(" rejected: ") > 0
    }
    assert len(rejected) > 10
    for one in rejected:
        assert one.answered_at is not None
        assert one.reason is not None
        assert went[one.lead_id, one.answered_at] == WHERE_REJECTED_LEADS_GO[one.reason]


def test_an_expired_hand_off_comes_back_to_marketing_or_waits_for_a_person(story: Story) -> None:
    made = tracks.report_handoffs(story.ctx)
    expired = [one for one in made if one.state == "expired"]
    again = {(one.lead_id, one.offered_at) for one in made}
    back = {
        (row.lead_id, row.at): (row.custody_to, row.ref if row.custody_to == "queue" else "", row.reason)
        for row in rows(story.ctx, "journal")
        if row.event in ("recycled", "resumed") and row.reason.startswith(("expired", "no rep is left"))
    }
    requests = ("asked-for-demo", "replied", "decides-soon", "call-back")
    assert expired
    for one in expired:
        assert one.answered_at is not None
        to, queue, reason = back.get((one.lead_id, one.answered_at), (None, "", ""))
        to_the_next_rep = any(lead == one.lead_id and at >= one.answered_at for lead, at in again)
        if to == "queue":
            assert queue == "manager-decision"
            assert reason.partition("; ")[2].startswith(("it is hot", *(f"{name}: " for name in requests)))
        else:
            assert to == "track" or (to is None and to_the_next_rep)


def test_a_suppressed_lead_is_never_mailed_again(story: Story) -> None:
    lead_of = {row.address_id: row.id for row in rows(story.ctx, "lead")}
    stopped = {lead_of[row.address_id]: row.recorded_at for row in rows(story.ctx, "suppression")}
    assert len(stopped) > 1
    sent = touches(story)
    assert any(sent.get(lead_id) for lead_id in stopped), "somebody ought to have had mail before"
    assert not [(lead_id, at) for lead_id, since in stopped.items() for at in sent.get(lead_id, ()) if at > since]


def test_only_leads_on_a_track_are_mailed(story: Story) -> None:
    kept = defaultdict(list)
    for row in rows(story.ctx, "journal"):
        if row.custody_to is not None:
            kept[row.lead_id].append((row.at, row.custody_to))
    by: Counter[str] = Counter()
    for lead_id, sent_at in touches(story).items():
        times = [at for at, _ in kept[lead_id]]
        assert times == sorted(times)
        by.update(kept[lead_id][bisect_right(times, at) - 1][1] for at in sent_at)
    assert set(by) == {Custodian.TRACK.value}
    assert by.total() > 500


def test_no_lead_gets_more_than_the_cap(story: Story) -> None:
    crowded = [
        (lead_id, first, last)
        for lead_id, times in touches(story).items()
        for first, last in zip(times, times[CAP:], strict=False)
        if last - first < CAP_PER
    ]
    assert not crowded
