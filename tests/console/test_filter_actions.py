"""What users do about all leads of a filter: a dry run first, then in sets, and the filters that they save."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.clock import RealClock
from nurture.console import actions, filter_actions, filter_queries
from nurture.console.access import sessions, users
from nurture.console.access.sessions import User
from nurture.console.access.users import Role
from nurture.console.action_list import ACTIONS
from nurture.console.actions import Call, Refused, SignedOut
from nurture.db.engine import Database
from nurture.errors import InvalidState, NotFound
from nurture.journey.tracks.bulk import ChosenLeads, pause_chosen
from nurture.runtime.context import AppContext
from tests.console.test_actions import log, perform, session_of
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.observe import add_leads, custody, one, recorded_statements, rows

HOUR = timedelta(hours=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def preview(ctx: AppContext, name: str, session: str, target: str, **values: str) -> str:
    return actions.preview(ctx, ACTIONS[name], session, target, values, START, START)


def test_a_dry_run_says_how_many_and_why_some_are_left_out_and_changes_nothing(ctx: AppContext) -> None:
    add_leads(ctx, 3, title="Head", city="Kiel")
    add_lead(ctx, title="Head", city="Kiel", demo_requested=True)
    add_lead(ctx, title="Head", city="Kiel", consent_basis=None)
    add_lead(ctx, title="Head", city="Ulm")
    run_at(ctx, START, START + HOUR)
    session, before = session_of(ctx, Role.MARKETER), rows(ctx, "SELECT * FROM custody ORDER BY lead_id")
    said = preview(ctx, "move_leads", session, "find=city:kiel", track="keep")
    assert said == ("3 leads would enter keep: 3 from welcome. 2 leads would not: 1 with sales, 1 may not be mailed.")
    assert rows(ctx, "SELECT * FROM custody ORDER BY lead_id") == before
    assert log(ctx) == []
    assert perform(ctx, "move_leads", session, "find=city:kiel", track="keep").startswith("3 leads entered keep")
    assert len(rows(ctx, "SELECT * FROM custody WHERE ref = 'keep'")) == 3
    assert [entry[1:] for entry in log(ctx)] == [
        ("move_leads", "find=...", "done"),
        ("move_leads", "find=...", "started"),
    ]
    assert one(ctx, "SELECT count(*) FROM journal WHERE reason = 'enrolled by marketer (console)'") == 3
    assert "3 on it already" in preview(ctx, "move_leads", session, "find=city:kiel", track="keep")


def test_a_pause_of_a_filter_keeps_longer_pauses_and_says_so(ctx: AppContext) -> None:
    first, *_ = add_leads(ctx, 3, title="Head")
    run_at(ctx, START)
    session = session_of(ctx, Role.MARKETER)
    perform(ctx, "pause_lead", session, str(first), until="2026-06-01")
    said = perform(ctx, "pause_leads", session, "track=welcome", until="2026-02-01")
    assert said == "2 leads are paused until 2026-02-01. 1 lead is not: 1 paused for as long already."
    assert rows(ctx, "SELECT count(*) FROM lead WHERE paused_until is not null") == [(3,)]
    assert one(ctx, "SELECT count(*) FROM journal WHERE event = 'paused'") == 3


def test_leads_that_wait_for_nobody_in_sales_leave_their_queue_by_a_move_alone(ctx: AppContext) -> None:
    lead, session = add_lead(ctx, title="Head"), session_of(ctx, Role.MARKETER)
    run_at(ctx, START)
    perform(ctx, "stop_lead", session, str(lead))
    assert "1 in the queue by-hand" in preview(ctx, "enroll_leads", session, "", track="keep")
    perform(ctx, "move_leads", session, "", track="keep")
    assert custody(ctx, lead) == ("track", "keep")


@pytest.mark.parametrize("target", ["trck=welcome", "track", "x" * 1_000, "since=soon", "quiet_days=0"])
def test_a_filter_that_no_list_has_changes_nobody(ctx: AppContext, target: str) -> None:
    add_leads(ctx, 2, title="Head")
    run_at(ctx, START)
    with pytest.raises((NotFound, Refused)):
        perform(ctx, "pause_leads", session_of(ctx, Role.ADMIN), target, until="2026-02-01")
    assert one(ctx, "SELECT count(*) FROM lead WHERE paused_until is not null") == 0


def test_the_words_of_a_filter_are_not_logged(ctx: AppContext) -> None:
    add_lead(ctx, title="Head", full_name="Ada Low")
    perform(ctx, "pause_leads", session_of(ctx, Role.ADMIN), "find=ada+low&source=test", until="2026-02-01")
    assert {entry[2] for entry in log(ctx)} == {"find=...&source=test"}


def test_a_filter_without_leads_says_so(ctx: AppContext) -> None:
    with pytest.raises(InvalidState, match="No lead"):
        preview(ctx, "pause_leads", session_of(ctx, Role.ADMIN), "", until="2026-02-01")


def test_an_action_in_batches_ends_with_the_session_and_keeps_what_it_did(ctx: AppContext) -> None:
    ids, session = add_leads(ctx, 4, title="Head"), session_of(ctx, Role.ADMIN)
    run_at(ctx, START)
    ctx.batch_size, checks = 2, []

    def check() -> None:
        checks.append(1)
        if len(checks) == 2:
            raise SignedOut

    with pytest.raises(SignedOut):
        pause_chosen(ctx, ChosenLeads(ids, "ada", check), START + 24 * HOUR, START)
    assert rows(ctx, "SELECT id FROM lead WHERE paused_until is not null ORDER BY id") == [(one,) for one in ids[:2]]
    users.end_sessions(ctx.database, "admin", START)
    with pytest.raises(SignedOut):
        perform(ctx, "pause_leads", session, "", until="2026-02-01")


def test_the_statements_of_an_action_on_a_filter_do_not_grow_with_its_leads(ctx: AppContext) -> None:
    session = session_of(ctx, Role.ADMIN)
    add_leads(ctx, 5, title="Head", city="few")
    add_leads(ctx, 150, title="Head", city="many")
    run_at(ctx, START, START + HOUR)
    for name, values in (("pause_leads", {"until": "2026-02-01"}), ("enroll_leads", {"track": "keep"})):
        counts = []
        for city in ("few", "many"):
            with recorded_statements(ctx.database) as found:
                perform(ctx, name, session, f"find=city:{city}", **values)
            counts.append(len(found))
        assert counts[0] == counts[1], name


def test_a_saved_filter_is_listed_for_its_user_and_for_others_if_it_is_shared(ctx: AppContext) -> None:
    marketer, manager = session_of(ctx, Role.MARKETER), session_of(ctx, Role.SALES_MANAGER)
    perform(ctx, "save_filter", marketer, "track=welcome", name="On welcome", who="only me")
    perform(ctx, "save_filter", marketer, "country=de&quiet_days=90", name="Quiet", who="everybody")
    perform(ctx, "save_filter", marketer, "source=fair", name="On welcome", who="only me")

    def listed(session: str) -> list[tuple[str, str]]:
        with ctx.database.read() as tx:
            user = sessions.find_user(tx, session, START)
            assert user is not None
            return [(found.name, found.query) for found in filter_queries.list_filters(tx, user.id)]

    assert listed(marketer) == [("On welcome", "source=fair"), ("Quiet", "country=DE&quiet_days=90")]
    assert listed(manager) == [("Quiet", "country=DE&quiet_days=90")]
    ids = dict(rows(ctx, "SELECT name, id FROM console_filter"))
    with pytest.raises(Refused):
        perform(ctx, "delete_filter", manager, str(ids["Quiet"]))
    perform(ctx, "delete_filter", session_of(ctx, Role.ADMIN), str(ids["Quiet"]))
    perform(ctx, "delete_filter", marketer, str(ids["On welcome"]))
    assert listed(marketer) == []


def test_a_rep_acts_on_no_filter(ctx: AppContext) -> None:
    session = session_of(ctx, Role.REP, "ana")
    for name in ("pause_leads", "enroll_leads", "export_leads", "save_filter"):
        with pytest.raises(Refused):
            perform(ctx, name, session, "", until="2026-02-01", track="keep", name="x", who="only me")


def test_more_leads_than_one_action_changes_are_refused(ctx: AppContext) -> None:
    with ctx.database.write() as tx:
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <= 20000) "
        columns = "source, fields, zone, country, engagement, readiness, first_contact_at, created_at, updated_at"
        times = "'2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00'"
        values = f"SELECT 'big', '{{}}', '', '', 0, '', {times} FROM n"
        tx.exec_driver_sql(
            f"INSERT INTO lead ({columns}) {numbers}{values}"
            if tx.is_sqlite
            else f"{numbers}INSERT INTO lead ({columns}) {values}"
        )
    user = User(1, "admin", "admin", "", "")
    call = Call(ctx, user, "source=big", {"until": "2026-02-01"}, START, RealClock().now(), "")
    with pytest.raises(InvalidState, match="More than 20,000 leads"):
        filter_actions.FILTER_ACTIONS[0].run(call)
