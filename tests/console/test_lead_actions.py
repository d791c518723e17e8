"""What users do about leads: the use cases of the command line, under the name of the user."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nurture.console.access.users import Role
from nurture.console.actions import Refused
from nurture.db.engine import Database
from nurture.errors import InvalidState, NotFound
from nurture.runtime.context import AppContext
from tests.console.test_actions import log, perform, session_of
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.observe import custody, one


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def _on_track(ctx: AppContext) -> int:
    lead = add_lead(ctx, title="Head of planning")
    run_at(ctx, START)
    assert custody(ctx, lead)[0] == "track"
    return lead


def _newest_reason(ctx: AppContext, lead: int) -> str:
    reason: str = one(ctx, "SELECT reason FROM journal WHERE lead_id = :id ORDER BY id DESC LIMIT 1", id=lead)
    return reason


def test_a_lead_is_paused_moved_and_stopped_under_the_name_of_the_user(ctx: AppContext) -> None:
    lead, session = _on_track(ctx), session_of(ctx, Role.MARKETER)
    perform(ctx, "pause_lead", session, str(lead), until="2026-02-01")
    assert (
        _newest_reason(ctx, lead) == "paused until Sunday 1 February at 00:00 (the lead's time) by marketer (console)"
    )
    perform(ctx, "resume_lead", session, str(lead))
    assert one(ctx, "SELECT paused_until FROM lead") is None
    perform(ctx, "move_lead", session, str(lead), track="keep")
    assert custody(ctx, lead) == ("track", "keep")
    perform(ctx, "stop_lead", session, str(lead))
    assert custody(ctx, lead) == ("queue", "by-hand")
    assert _newest_reason(ctx, lead) == "removed by marketer (console)"
    assert [entry[1] for entry in log(ctx)] == ["stop_lead", "move_lead", "resume_lead", "pause_lead"]


@pytest.mark.parametrize("until", ["soon", "2026-01-05", "2020-01-01", "2999-01-01"])
def test_a_pause_ends_on_a_day_to_come(ctx: AppContext, until: str) -> None:
    lead, session = _on_track(ctx), session_of(ctx, Role.MARKETER)
    with pytest.raises(InvalidState):
        perform(ctx, "pause_lead", session, str(lead), until=until)
    assert one(ctx, "SELECT paused_until FROM lead") is None


def test_a_lead_on_a_track_is_handed_over_to_a_rep_at_once_or_not_at_all(ctx: AppContext) -> None:
    lead, session = _on_track(ctx), session_of(ctx, Role.SALES_MANAGER)
    with pytest.raises(NotFound, match="nobody"):
        perform(ctx, "hand_over_lead", session, str(lead), rep="nobody")
    assert custody(ctx, lead)[0] == "track"
    assert perform(ctx, "hand_over_lead", session, str(lead), rep="ben").endswith("is offered to ben now.")
    assert custody(ctx, lead)[0] == "offer"
    with pytest.raises(InvalidState, match="waits in no queue"):
        perform(ctx, "hand_over_lead", session, str(lead), rep="ana")


def test_consent_is_recorded_with_its_evidence_and_who_entered_it(ctx: AppContext) -> None:
    lead, session = add_lead(ctx, title="Head", consent_basis=None), session_of(ctx, Role.MARKETER)
    run_at(ctx, START)
    assert custody(ctx, lead) == ("queue", "no-consent-basis")
    perform(ctx, "grant_consent", session, str(lead), basis="consent", evidence="At our stand on 3 January, Mia Wong")
    evidence: str = one(ctx, "SELECT evidence FROM consent_statement ORDER BY id DESC LIMIT 1")
    assert evidence == "At our stand on 3 January, Mia Wong (entered by marketer)"
    run_at(ctx, START + timedelta(hours=1))
    assert custody(ctx, lead)[0] == "track"
    with pytest.raises(InvalidState, match="no basis"):
        perform(ctx, "grant_consent", session, str(lead), basis="hope", evidence="At our stand on 3 January")


def test_a_sales_manager_decides_about_a_lead_in_a_queue(ctx: AppContext) -> None:
    session = session_of(ctx, Role.SALES_MANAGER)
    first, second, third = (add_lead(ctx, title="Head", consent_basis=None) for _ in range(3))
    run_at(ctx, START)
    perform(ctx, "assign_waiting", session, str(first), rep="ana")
    perform(ctx, "discard_waiting", session, str(second), reason="A rival")
    assert custody(ctx, first)[0] == "offer"
    assert custody(ctx, second)[0] == "closed"
    assert "sales_manager (console) (operator) decided (A rival)" in _newest_reason(ctx, second)
    perform(ctx, "nurture_waiting", session, str(third), reason="Not now")
    assert custody(ctx, third)[0] != "offer"
    with pytest.raises(Refused):
        perform(ctx, "discard_waiting", session_of(ctx, Role.MARKETER), str(third), reason="x")


def test_a_rep_pauses_an_own_lead_and_no_other(ctx: AppContext) -> None:
    leads = [add_lead(ctx, demo_requested=True, title="x") for _ in range(2)]
    run_at(ctx, START)
    owners = {one(ctx, "SELECT rep FROM offer WHERE lead_id = :id", id=lead): lead for lead in leads}
    session = session_of(ctx, Role.REP, "ana")
    perform(ctx, "pause_lead", session, str(owners["ana"]), until="2026-02-01")
    for target in (str(owners["ben"]), "999", "-1", "\u0661", "1 OR 1=1"):
        with pytest.raises(Refused):
            perform(ctx, "pause_lead", session, target, until="2026-02-01")
    paused = one(ctx, "SELECT count(*) FROM lead WHERE paused_until > :now", now=datetime(2026, 1, 6, tzinfo=UTC))
    assert paused == 1


def test_a_rep_does_not_end_a_pause_of_others_and_an_admin_does(ctx: AppContext) -> None:
    lead = add_lead(ctx, demo_requested=True, title="x")
    run_at(ctx, START)
    rep: str = one(ctx, "SELECT rep FROM offer")
    session = session_of(ctx, Role.REP, rep)
    perform(ctx, "pause_lead", session_of(ctx, Role.MARKETER), str(lead), until="2026-03-01")
    said = perform(ctx, "pause_lead", session, str(lead), until="2026-02-01")
    assert said == "Mail to this lead is paused until 2026-03-01."
    with pytest.raises(InvalidState, match="paused until"):
        perform(ctx, "resume_lead", session, str(lead))
    perform(ctx, "resume_lead", session_of(ctx, Role.ADMIN), str(lead))
    assert one(ctx, "SELECT paused_until FROM lead") is None


def test_a_rep_accepts_works_and_gives_back_an_own_lead_alone(ctx: AppContext) -> None:
    leads = [add_lead(ctx, demo_requested=True, title="x") for _ in range(2)]
    run_at(ctx, START)
    offers = {one(ctx, "SELECT rep FROM offer WHERE lead_id = :id", id=lead): lead for lead in leads}
    own, other = (one(ctx, "SELECT id FROM offer WHERE rep = :rep", rep=rep) for rep in ("ana", "ben"))
    session = session_of(ctx, Role.REP, "ana")
    perform(ctx, "accept_offer", session, str(own))
    assert custody(ctx, offers["ana"]) == ("rep", "ana")
    perform(ctx, "record_contact", session, str(offers["ana"]))
    perform(ctx, "reject_offer", session, str(own), reason="not-now")
    assert custody(ctx, offers["ana"])[0] != "rep"
    for name in ("accept_offer", "reject_offer"):
        for target in (str(other), str(own), "999", ""):
            with pytest.raises(Refused):
                perform(ctx, name, session, target, reason="not-now")
    assert custody(ctx, offers["ben"])[0] == "offer"
