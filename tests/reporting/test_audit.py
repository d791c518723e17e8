"""The audit finds every kind of inconsistency, and nothing in a consistent database."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.journey.engagement import signals
from nurture.journey.handoff import responses
from nurture.journey.intake.api import batches
from nurture.journey.leads.signal_queries import NewSignal
from nurture.reporting.audit import AuditReport, run_audit
from nurture.reporting.tracks import report_handoffs
from nurture.runtime.context import AppContext
from nurture.simulation import engine
from tests.journey.builders import START, add_lead, close_lead, make_context, run_at
from tests.journey.intake.lead_files import import_leads, row
from tests.journey.observe import recorded_statements
from tests.reporting.daily_ledger import ledger_by_day

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def _write(ctx: AppContext, statement: str, **values: Any) -> None:
    """Bypass the guards of the database, as somebody with its password could."""
    with ctx.database.write() as tx:
        if tx.is_sqlite:
            for guard in ("custody_version_guard", "journal_no_delete"):
                tx.execute(text(f"DROP TRIGGER IF EXISTS {guard}"))
        else:
            tx.execute(text("SET LOCAL session_replication_role = replica"))
        tx.execute(text(statement), values)


def _kinds(seen: AuditReport) -> dict[str, tuple[int, ...]]:
    return {one.kind: one.lead_ids for one in seen.findings}


def _reply(lead_id: int, at: datetime) -> NewSignal:
    return NewSignal(lead_id, "replied", at, at, f"reply-{lead_id}-{at}", "test")


def _busy(ctx: AppContext) -> datetime:
    """Run leads of two sources through every kind of custody, over some weeks."""
    for number in range(4):
        add_lead(ctx, title="Head", source="fair" if number % 2 else "webinar")
    add_lead(ctx, title="student")
    add_lead(ctx, email=None)
    add_lead(ctx, consent_basis=None)
    ready = [add_lead(ctx, demo_requested=True) for _ in range(4)]
    run_at(ctx, START, START + 2 * HOUR)
    responses.accept(ctx, 1, START + 3 * HOUR)
    responses.reject(ctx, 2, "not-now", START + 4 * HOUR)
    responses.reject(ctx, 3, "bad-fit", START + 4 * HOUR)
    close_lead(ctx, ready[0], Closing.WON, START + 5 * HOUR)
    late = add_lead(ctx, at=START + 2 * DAY, title="Clerk", source="fair")
    now = engine.run_simulation(ctx, START + 2 * DAY, START + 20 * DAY)
    signals.record(ctx, [_reply(late, now)], now)
    run_at(ctx, now)
    return now


def test_after_weeks_of_work_the_ledger_closes_in_both_ways_of_counting(ctx: AppContext) -> None:
    seen = run_audit(ctx, _busy(ctx))
    assert seen.ok, seen
    assert seen.total.leads == 12
    assert seen.total.residual == seen.total.journal_residual == 0
    assert seen.total.custody == seen.total.journal
    assert {one.name: one.leads for one in seen.by_source} == {"fair": 3, "test": 7, "webinar": 2}
    assert {one.name: one.leads for one in seen.by_day} == {"2026-01-05": 11, "2026-01-07": 1}
    assert seen.to_dict()["ok"] is True


def test_a_queue_that_nobody_looks_at_is_reported_and_is_no_violation(ctx: AppContext) -> None:
    lead = add_lead(ctx, email=None)
    run_at(ctx, START)
    assert run_audit(ctx, START + 7 * DAY).findings == ()
    seen = run_audit(ctx, START + 9 * DAY)
    assert _kinds(seen) == {"manual-action-overdue": (lead,)}
    assert seen.ok


def test_a_lead_without_custody_is_named_and_leaves_a_residual(ctx: AppContext) -> None:
    lead = add_lead(ctx, source="fair")
    add_lead(ctx)
    run_at(ctx, START)
    _write(ctx, "DELETE FROM custody WHERE lead_id = :lead", lead=lead)
    seen = run_audit(ctx, START)
    assert not seen.ok
    assert seen.total.residual == 1
    assert seen.total.journal_residual == 0
    assert [one.is_balanced for one in seen.by_source] == [False, True]
    assert _kinds(seen)["no-custodian"] == (lead,)


def test_a_journal_that_lost_a_line_does_not_agree_with_custody(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    run_at(ctx, START)
    _write(ctx, "DELETE FROM journal WHERE lead_id = :lead AND custody_from = 'intake'", lead=lead)
    seen = run_audit(ctx, START)
    assert _kinds(seen) == {"custody-differs-from-journal": (lead,)}
    assert seen.total.residual == seen.total.journal_residual == 0
    assert not seen.total.is_balanced


def test_a_hand_off_that_nobody_takes_back_in_time_is_found(ctx: AppContext) -> None:
    lead = add_lead(ctx, demo_requested=True)
    run_at(ctx, START)
    [offered] = report_handoffs(ctx)
    assert "offer-overdue" not in _kinds(run_audit(ctx, offered.expires_at + HOUR))
    late = run_audit(ctx, offered.expires_at + 2 * HOUR)
    assert _kinds(late)["offer-overdue"] == (lead,)
    assert not late.ok


TRACK = "UPDATE custody SET kind = 'queue', ref = 'looked-at' WHERE lead_id = :lead"
CORRUPTIONS = {
    "track-without-enrollment": "UPDATE enrollment SET ended_at = entered_at WHERE lead_id = :lead",
    "enrollment-without-track": TRACK,
    "touch-off-track": TRACK,
    "delivery-unknown": "UPDATE message SET state = 'unknown' WHERE lead_id = :lead",
}


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_lead_that_half_left_its_track_is_found(ctx: AppContext, kind: str) -> None:
    lead, _ = add_lead(ctx, title="Head"), add_lead(ctx, title="Head")
    run_at(ctx, START, START + HOUR - timedelta(seconds=1))
    _plan_touch(ctx, lead)
    assert run_audit(ctx, START + HOUR).findings == ()
    _write(ctx, CORRUPTIONS[kind], lead=lead)
    assert _kinds(run_audit(ctx, START + HOUR))[kind] == (lead,)


def _plan_touch(ctx: AppContext, lead: int) -> None:
    _write(
        ctx,
        "INSERT INTO message (send_key, kind, recipient, lead_id, enrollment_id, track, step, visit, email, "
        "planned_at, send_at, expires_at, state, state_at, attempts) SELECT 'planned', 'touch', 'lead', lead_id, id, "
        "track, step, 1, '01-hello', entered_at, entered_at, entered_at, 'planned', entered_at, 0 FROM enrollment "
        "WHERE lead_id = :lead",
        lead=lead,
    )


def test_an_enrollment_on_another_track_than_custody_says_is_found(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START)
    _write(ctx, "UPDATE enrollment SET track = 'keep' WHERE lead_id = :lead", lead=lead)
    assert _kinds(run_audit(ctx, START)) == {"track-without-enrollment": (lead,)}


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("UPDATE offer SET state = 'withdrawn' WHERE lead_id = :lead", "custody-without-offer"),
        ("UPDATE custody SET ref = '999' WHERE lead_id = :lead", "custody-without-offer"),
        ("UPDATE custody SET kind = 'rep', ref = 'ana' WHERE lead_id = :lead", "offer-without-custody"),
    ],
)
def test_offers_and_custody_that_disagree_are_found(ctx: AppContext, statement: str, kind: str) -> None:
    lead, _ = add_lead(ctx, demo_requested=True), add_lead(ctx, demo_requested=True)
    run_at(ctx, START)
    assert run_audit(ctx, START).ok
    _write(ctx, statement, lead=lead)
    seen = run_audit(ctx, START)
    assert _kinds(seen)[kind] == (lead,)
    assert not seen.ok


def test_a_second_active_enrollment_is_found_once_the_index_is_gone(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    run_at(ctx, START)
    _write(ctx, "DROP INDEX uq_enrollment_active")
    _write(
        ctx,
        "INSERT INTO enrollment (lead_id, track, track_version, entered_at, step, visit, anchor_at, reached_at) "
        "SELECT lead_id, track, track_version, entered_at, step, visit, anchor_at, reached_at FROM enrollment",
    )
    assert _kinds(run_audit(ctx, START)) == {"two-enrollments": (lead,)}


def test_a_suspended_enrollment_that_nothing_interrupts_is_found(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    run_at(ctx, START)
    _write(ctx, "UPDATE enrollment SET suspended_at = entered_at")
    assert _kinds(run_audit(ctx, START)) == {"enrollment-without-track": (lead,), "track-without-enrollment": (lead,)}


def test_sweeps_that_stand_still_for_more_than_a_day_are_a_violation(ctx: AppContext) -> None:
    new, ready = add_lead(ctx), add_lead(ctx, demo_requested=True)
    run_at(ctx, START)
    _write(ctx, "UPDATE custody SET kind = 'intake', due_at = since WHERE lead_id = :lead", lead=new)
    assert "sweep-stuck" not in _kinds(run_audit(ctx, START + DAY))
    assert _kinds(run_audit(ctx, START + DAY + HOUR))["sweep-stuck"] == (new,)
    assert _kinds(run_audit(ctx, START + 2 * DAY + HOUR))["sweep-stuck"] == (new, ready)


def test_mail_and_signals_that_lie_for_more_than_a_day_are_found(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START)
    _plan_touch(ctx, lead)
    _write(ctx, "UPDATE custody SET due_at = :later", later=_stored(ctx, START + 30 * DAY))
    _write(
        ctx,
        "INSERT INTO signal (lead_id, kind, occurred_at, recorded_at, natural_key, verdict, verdict_reason, "
        "source) SELECT lead_id, 'clicked', since, since, 'a', 'human', '', 'test' FROM custody",
    )
    assert run_audit(ctx, START + DAY).findings == ()
    assert _kinds(run_audit(ctx, START + DAY + HOUR)) == {"mail-stuck": (lead,), "signal-stuck": (lead,)}


def _stored(ctx: AppContext, at: datetime) -> Any:
    return f"{at:%Y-%m-%d %H:%M:%S.%fZ}" if ctx.database.is_sqlite else at


def test_a_lead_without_a_touch_for_longer_than_the_policy_allows_is_named(ctx: AppContext) -> None:
    touched, silent = add_lead(ctx, title="Head"), add_lead(ctx, title="Head")
    run_at(ctx, START, START + HOUR)
    later = _stored(ctx, START + 400 * DAY)
    _write(ctx, "UPDATE custody SET due_at = :later", later=later)
    never = "UPDATE message SET accepted_at = NULL, state = 'cancelled' WHERE lead_id = :lead"
    _write(ctx, never, lead=silent)
    assert run_audit(ctx, START + 60 * DAY).findings == ()
    assert _kinds(run_audit(ctx, START + 60 * DAY + HOUR)) == {"no-recent-touch": (silent,)}
    assert _kinds(run_audit(ctx, START + 60 * DAY + 2 * HOUR)) == {"no-recent-touch": (touched, silent)}
    _write(ctx, "UPDATE lead SET paused_until = :later WHERE id = :lead", later=later, lead=silent)
    assert _kinds(run_audit(ctx, START + 61 * DAY)) == {"no-recent-touch": (touched,)}
    _write(ctx, "UPDATE lead SET touch_interval_days = 60 WHERE id = :lead", lead=touched)
    assert run_audit(ctx, START + 61 * DAY).findings == ()
    assert _kinds(run_audit(ctx, START + 121 * DAY)) == {"no-recent-touch": (touched,)}
    _write(ctx, "UPDATE enrollment SET reached_at = :later WHERE lead_id = :lead", later=later, lead=touched)
    assert run_audit(ctx, START + 121 * DAY).findings == (), "its rep gave it a cool-off that is longer"


def test_a_lead_back_from_sales_has_a_recent_touch_though_the_rep_had_it_for_long(ctx: AppContext) -> None:
    lead = add_lead(ctx, demo_requested=True)
    run_at(ctx, START)
    back = START + 100 * DAY
    _write(ctx, "UPDATE custody SET due_at = :later", later=_stored(ctx, back + DAY))
    responses.reject(ctx, 1, "not-now", back)
    assert run_audit(ctx, back + 30 * DAY).findings == ()
    assert _kinds(run_audit(ctx, back + 91 * DAY))["no-recent-touch"] == (lead,)


def test_at_most_twenty_leads_are_named_and_all_are_counted(ctx: AppContext) -> None:
    leads = [add_lead(ctx) for _ in range(25)]
    _write(ctx, "DELETE FROM custody")
    finding = run_audit(ctx, START).findings[0]
    assert (finding.kind, finding.count, finding.lead_ids) == ("no-custodian", 25, tuple(leads[:20]))


def test_an_empty_database_is_in_order_even_without_rules(db: Database, tmp_path: Path) -> None:
    from nurture.mail.providers.maildir.provider import MaildirProvider

    empty = AppContext(db, MaildirProvider(tmp_path / "maildir"))
    seen = run_audit(empty, START)
    assert seen.ok
    assert (seen.total.leads, seen.findings) == (0, ())
    assert ledger_by_day(empty) == []


def test_an_audit_costs_the_same_number_of_statements_however_many_leads(ctx: AppContext) -> None:
    add_lead(ctx)
    run_at(ctx, START)
    run_audit(ctx, START)
    with recorded_statements(ctx.database) as few:
        run_audit(ctx, START)
    for _ in range(30):
        add_lead(ctx, title="Head")
    run_at(ctx, START)
    with recorded_statements(ctx.database) as many:
        assert run_audit(ctx, START).ok
    assert len(many) == len(few) <= 25


def test_the_ledger_of_each_day_counts_the_custodians_of_that_day(ctx: AppContext) -> None:
    now = _busy(ctx)
    days = ledger_by_day(ctx)
    assert all(one.residual == 0 for one in days)
    assert [one.day for one in days][:3] == [date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 7)]
    assert days[-1].day == now.astimezone(UTC).date()
    first, second, third = days[:3]
    assert (first.leads, first.new_leads, second.new_leads, third.leads) == (11, 11, 0, 12)
    assert first.custody == {"intake": 0, "track": 5, "queue": 2, "offer": 1, "rep": 0, "resting": 1, "closed": 2}
    assert ledger_by_day(ctx, date(2026, 1, 7), date(2026, 1, 8)) == days[2:4]
    assert days[-1].custody == run_audit(ctx, now).total.custody


def test_a_person_who_vanished_after_an_import_is_found(ctx: AppContext, tmp_path: Path) -> None:
    add_lead(ctx)
    import_leads(ctx, tmp_path, row("a@example.com", Lead_ID="1"), row("b@example.com", Lead_ID="2"), now=START)
    import_leads(ctx, tmp_path, row("c@example.com", Lead_ID="1"), now=START)  # it changed its address
    rejected = row("no@example.com", Consent="no", Attended="perhaps")
    assert import_leads(ctx, tmp_path, rejected, now=START).rejected == 1  # what it refuses is recorded
    assert run_audit(ctx, START).ok
    _write(ctx, "UPDATE lead SET address_id = NULL WHERE id = 3")
    seen = run_audit(ctx, START)
    assert (seen.ok, list(_kinds(seen)), [one.count for one in seen.findings]) == (False, ["address-vanished"], [1])
    for table in ("identity", "journal", "custody", "lead"):
        _write(ctx, f"DELETE FROM {table} WHERE {'id' if table == 'lead' else 'lead_id'} IN (2, 3)")
    seen = run_audit(ctx, START)
    assert {one.kind: one.count for one in seen.findings} == {"lead-vanished": 2, "address-vanished": 3}


def test_leads_of_the_api_hide_nobody_of_a_file_who_vanished(ctx: AppContext, tmp_path: Path) -> None:
    import_leads(ctx, tmp_path, row("a@example.com", Lead_ID="1"), row("b@example.com", Lead_ID="2"), now=START)
    posted = batches.post_leads(ctx, "site", [{"email": "c@example.com"}, {"external_id": "4"}], "site", START)
    assert posted.accepted == 2
    assert run_audit(ctx, START).ok
    for table in ("identity", "journal", "custody", "lead"):
        _write(ctx, f"DELETE FROM {table} WHERE {'id' if table == 'lead' else 'lead_id'} IN (1, 3)")
    (found,) = [one for one in run_audit(ctx, START).findings if one.kind == "lead-vanished"]
    assert (found.count, found.description) == (2, "leads that were created and are missing, of crm, site")
