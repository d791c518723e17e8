"""Test what a rep does with an accepted lead: contacts, next steps, giving it back, no mail, silence."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import InvalidState
from nurture.journey.handoff import follow_up, responses, roster
from nurture.runtime.context import AppContext
from tests.journey.builders import add_lead, make_context, run_at
from tests.journey.handoff.test_sla_sweep import DAY, HOUR, MONDAY, PEOPLE, escalation_rules
from tests.journey.observe import custody, due_at, events, one, recorded_statements, rows

STAGES = 'next_touch_within: {"followed up": 7 days, "in talks": 14 days}\n'


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path, MONDAY, escalation_rules(PEOPLE + STAGES))


def _accepted(ctx: AppContext) -> tuple[int, int]:
    """Return a lead that its rep accepted on Monday, and the offer."""
    lead = add_lead(ctx, title="Head", demo_requested=True, at=MONDAY)
    run_at(ctx, MONDAY)
    offer: int = one(ctx, "SELECT id FROM offer WHERE lead_id = :id", id=lead)
    responses.accept(ctx, offer, MONDAY)
    return lead, offer


def _mails(ctx: AppContext) -> list[tuple[str, str]]:
    return [(rep, email) for rep, email in rows(ctx, "SELECT rep, email FROM message WHERE kind = 'sla' ORDER BY id")]


def _days(first: int, last: int) -> list[object]:
    return [MONDAY + day * DAY for day in range(first, last + 1)]


def test_the_rep_of_a_silent_lead_is_asked_then_the_manager_is_notified_then_it_is_recycled(ctx: AppContext) -> None:
    lead, offer = _accepted(ctx)
    follow_up.record_follow_up(ctx, lead, "call", MONDAY + HOUR)
    assert due_at(ctx, lead) == MONDAY + 7 * DAY + 2 * HOUR  # an hour of working time after the silence
    run_at(ctx, *_days(1, 8))  # type: ignore[arg-type]
    assert _mails(ctx) == [("ana", "remind")]
    assert custody(ctx, lead) == ("rep", "ana")
    run_at(ctx, *_days(9, 10))  # type: ignore[arg-type]
    assert _mails(ctx) == [("ana", "remind"), ("lena", "escalate")]
    run_at(ctx, *_days(11, 13))  # type: ignore[arg-type]
    assert custody(ctx, lead)[0] == "track"
    assert rows(ctx, "SELECT state, ended_at IS NOT NULL FROM offer") == [("lapsed", True)]
    assert offer == 1  # it went to no other rep


def test_each_contact_begins_the_silence_anew(ctx: AppContext) -> None:
    lead, offer = _accepted(ctx)
    for week in range(3):
        at = MONDAY + 7 * week * DAY + (3 * DAY if week else timedelta())
        follow_up.record_follow_up(ctx, lead, "call", at + HOUR)
        run_at(ctx, at + 7 * DAY + 4 * HOUR)
    assert [rep for rep, _ in _mails(ctx)] == ["ana", "ana", "ana"]
    follow_up.record_follow_up(ctx, lead, "call", MONDAY + 27 * DAY)
    assert rows(ctx, "SELECT asked_at, escalation_level FROM offer") == [(None, 4)]
    assert due_at(ctx, lead) > MONDAY + 34 * DAY
    assert one(ctx, "SELECT count(*) FROM journal WHERE event = 'followed_up' AND lead_id = :id", id=lead) == 4
    assert one(ctx, "SELECT state FROM offer WHERE id = :id", id=offer) == "accepted"


def test_the_rep_is_asked_the_day_after_an_agreed_next_step_and_a_stage_has_its_own_time(ctx: AppContext) -> None:
    lead, _ = _accepted(ctx)
    follow_up.record_follow_up(ctx, lead, "call", MONDAY + HOUR, next_step_on=date(2026, 2, 2))
    assert str(due_at(ctx, lead)).startswith("2026-02-03 10:00")
    follow_up.record_follow_up(ctx, lead, "call", MONDAY + 2 * HOUR, stage="in talks")
    assert due_at(ctx, lead) == MONDAY + 14 * DAY + 3 * HOUR
    assert rows(ctx, "SELECT stage, next_step_on FROM offer") == [("in talks", None)]
    with pytest.raises(InvalidState, match="Choose a day"):
        follow_up.record_follow_up(ctx, lead, "call", MONDAY, next_step_on=date(2028, 1, 1))


def test_a_rep_on_leave_is_asked_once_back(ctx: AppContext) -> None:
    lead, _ = _accepted(ctx)
    follow_up.record_follow_up(ctx, lead, "call", MONDAY + HOUR)
    roster.add_leave(ctx, "ana", date(2026, 1, 7), date(2026, 1, 20), None, MONDAY + HOUR)
    run_at(ctx, *_days(2, 15))  # type: ignore[arg-type]
    assert _mails(ctx) == []
    run_at(ctx, *_days(16, 17))  # type: ignore[arg-type]
    assert _mails(ctx) == [("ana", "remind")]
    assert custody(ctx, lead) == ("rep", "ana")


def test_an_accepted_lead_is_given_back_with_a_reason_at_any_time(ctx: AppContext) -> None:
    lead, offer = _accepted(ctx)
    follow_up.record_follow_up(ctx, lead, "call", MONDAY + HOUR)
    responses.reject(ctx, offer, "not-now", MONDAY + DAY)
    assert custody(ctx, lead) == ("track", "keep")
    assert rows(ctx, "SELECT state, reason FROM offer") == [("rejected", "not-now")]
    with pytest.raises(InvalidState, match="already rejected on 2026-01-06"):
        responses.reject(ctx, offer, "not-now", MONDAY + DAY)
    assert events(ctx, lead)[-1] == "recycled"


def test_a_lead_that_left_its_rep_cannot_be_given_back_by_the_old_hand_off(ctx: AppContext) -> None:
    lead, offer = _accepted(ctx)
    responses.reject(ctx, offer, "not-now", MONDAY + DAY)
    with pytest.raises(InvalidState, match="nothing was changed"):
        responses.stop_mail(ctx, offer, MONDAY + DAY)
    assert custody(ctx, lead) == ("track", "keep")


def test_a_lead_that_wants_no_mail_stays_with_its_rep_and_gets_none(ctx: AppContext) -> None:
    lead, offer = _accepted(ctx)
    assert responses.stop_mail(ctx, offer, MONDAY + HOUR)
    assert not responses.stop_mail(ctx, offer, MONDAY + 2 * HOUR)
    assert custody(ctx, lead) == ("rep", "ana")
    assert rows(ctx, "SELECT source, evidence FROM suppression") == [("admin", "stated to ana")]
    responses.reject(ctx, offer, "not-now", MONDAY + DAY)
    assert custody(ctx, lead) == ("queue", "suppressed")


def test_contacts_cost_as_many_statements_for_five_leads_as_for_one(ctx: AppContext) -> None:
    def cost(count: int) -> int:
        leads = [_accepted(ctx)[0] for _ in range(count)]
        contacts = [follow_up.FollowUp(lead, "call", MONDAY + HOUR) for lead in leads]
        with ctx.database.write() as tx, recorded_statements(ctx.database) as executed:
            assert follow_up.record_follow_ups(ctx, tx, contacts, MONDAY + HOUR) == count
        return len(executed)

    assert cost(1) == cost(5)
