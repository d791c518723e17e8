"""The audit finds every way in which a lead could fall between, and nothing where none did."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.journey.engagement import signals
from nurture.journey.handoff import sweep
from nurture.journey.leads.signal_queries import Recorded
from nurture.journey.outcomes import close
from nurture.reporting.audit import Audit, audit, ledger_by_day
from nurture.reporting.tracks import handoffs_report
from nurture.runtime.context import House
from nurture.simulation import engine
from tests.journey.builders import START, add_lead, make_house, statements, tick_at

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    return make_house(db, tmp_path)


def _write(house: House, statement: str, **values: Any) -> None:
    """Write past the guards of the database, as somebody with its password could."""
    with house.database.write() as connection:
        if house.database.is_sqlite:
            for guard in ("custody_moves", "journal_refuses_delete"):
                connection.execute(text(f"DROP TRIGGER IF EXISTS {guard}"))
        else:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(statement), values)


def _kinds(seen: Audit) -> dict[str, tuple[int, ...]]:
    return {one.kind: one.lead_ids for one in seen.findings}


def _reply(lead_id: int, at: datetime) -> Recorded:
    return Recorded(lead_id, "replied", at, at, f"reply-{lead_id}-{at}", "test")


def _busy(house: House) -> datetime:
    """Let leads of two sources go every way that there is, over some weeks."""
    for number in range(4):
        add_lead(house, title="Head", source="fair" if number % 2 else "webinar")
    add_lead(house, title="student")
    add_lead(house, email=None)
    add_lead(house, basis=None)
    ready = [add_lead(house, demo_requested=True) for _ in range(4)]
    tick_at(house, START, START + 2 * HOUR)
    sweep.accept(house, 1, START + 3 * HOUR)
    sweep.reject(house, 2, "not-now", START + 4 * HOUR)
    sweep.reject(house, 3, "bad-fit", START + 4 * HOUR)
    close.close(house, ready[0], Closing.WON, START + 5 * HOUR)
    late = add_lead(house, at=START + 2 * DAY, title="Clerk", source="fair")
    now = engine.run(house, START + 2 * DAY, START + 20 * DAY)
    signals.record(house, [_reply(late, now)], now)
    tick_at(house, now)
    return now


def test_after_weeks_of_work_the_ledger_closes_in_both_ways_of_counting(house: House) -> None:
    seen = audit(house, _busy(house))
    assert seen.ok, seen
    assert seen.total.leads == 12
    assert seen.total.residual == seen.total.journal_residual == 0
    assert seen.total.custody == seen.total.journal
    assert {one.name: one.leads for one in seen.by_source} == {"fair": 3, "test": 7, "webinar": 2}
    assert {one.name: one.leads for one in seen.by_day} == {"2026-01-05": 11, "2026-01-07": 1}
    assert seen.plain()["ok"] is True


def test_a_queue_that_nobody_looks_at_is_told_without_breaking_the_promise(house: House) -> None:
    lead = add_lead(house, email=None)
    tick_at(house, START)
    assert audit(house, START + 7 * DAY).findings == ()
    seen = audit(house, START + 9 * DAY)
    assert _kinds(seen) == {"person-overdue": (lead,)}
    assert seen.ok


def test_a_lead_without_custody_is_named_and_leaves_a_residual(house: House) -> None:
    lead = add_lead(house, source="fair")
    add_lead(house)
    tick_at(house, START)
    _write(house, "DELETE FROM custody WHERE lead_id = :lead", lead=lead)
    seen = audit(house, START)
    assert not seen.ok
    assert seen.total.residual == 1
    assert seen.total.journal_residual == 0
    assert [one.closes for one in seen.by_source] == [False, True]
    assert _kinds(seen)["no-custodian"] == (lead,)


def test_a_journal_that_lost_a_line_does_not_agree_with_custody(house: House) -> None:
    lead = add_lead(house)
    tick_at(house, START)
    _write(house, "DELETE FROM journal WHERE lead_id = :lead AND custody_from = 'intake'", lead=lead)
    seen = audit(house, START)
    assert _kinds(seen) == {"custody-differs-from-journal": (lead,)}
    assert seen.total.residual == seen.total.journal_residual == 0
    assert not seen.total.closes


def test_a_hand_off_that_nobody_takes_back_in_time_is_found(house: House) -> None:
    lead = add_lead(house, demo_requested=True)
    tick_at(house, START)
    [offered] = handoffs_report(house)
    assert "offer-overdue" not in _kinds(audit(house, offered.expires_at + HOUR))
    late = audit(house, offered.expires_at + 2 * HOUR)
    assert _kinds(late)["offer-overdue"] == (lead,)
    assert not late.ok


TRACK = "UPDATE custody SET kind = 'queue', ref = 'looked-at' WHERE lead_id = :lead"
CORRUPTIONS = {
    "track-without-enrollment": "UPDATE enrollment SET ended_at = entered_at WHERE lead_id = :lead",
    "enrollment-without-track": TRACK,
    "stray-touch": TRACK,
    "in-doubt": "UPDATE message SET state = 'in_doubt' WHERE lead_id = :lead",
}


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_lead_that_half_left_its_track_is_found(house: House, kind: str) -> None:
    lead, _ = add_lead(house, title="Head"), add_lead(house, title="Head")
    tick_at(house, START, START + HOUR - timedelta(seconds=1))
    _plan_touch(house, lead)
    assert audit(house, START + HOUR).findings == ()
    _write(house, CORRUPTIONS[kind], lead=lead)
    assert _kinds(audit(house, START + HOUR))[kind] == (lead,)


def _plan_touch(house: House, lead: int) -> None:
    _write(
        house,
        "INSERT INTO message (send_key, kind, lead_id, enrollment_id, track, step, visit, email, planned_at, "
        "send_at, expires_at, state, state_at, attempts) SELECT 'planned', 'touch', lead_id, id, track, "
        "step, 1, '01-hello', entered_at, entered_at, entered_at, 'planned', entered_at, 0 FROM enrollment "
        "WHERE lead_id = :lead",
        lead=lead,
    )


def test_an_enrollment_on_another_track_than_custody_says_is_found(house: House) -> None:
    lead = add_lead(house, title="Head")
    tick_at(house, START)
    _write(house, "UPDATE enrollment SET track = 'keep' WHERE lead_id = :lead", lead=lead)
    assert _kinds(audit(house, START)) == {"track-without-enrollment": (lead,)}


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("UPDATE offer SET state = 'withdrawn' WHERE lead_id = :lead", "custody-without-offer"),
        ("UPDATE custody SET ref = '999' WHERE lead_id = :lead", "custody-without-offer"),
        ("UPDATE custody SET kind = 'rep', ref = 'ana' WHERE lead_id = :lead", "offer-without-custody"),
    ],
)
def test_offers_and_custody_that_disagree_are_found(house: House, statement: str, kind: str) -> None:
    lead, _ = add_lead(house, demo_requested=True), add_lead(house, demo_requested=True)
    tick_at(house, START)
    assert audit(house, START).ok
    _write(house, statement, lead=lead)
    seen = audit(house, START)
    assert _kinds(seen)[kind] == (lead,)
    assert not seen.ok


def test_a_second_open_enrollment_is_found_once_the_index_is_gone(house: House) -> None:
    lead = add_lead(house)
    tick_at(house, START)
    _write(house, "DROP INDEX uq_enrollment_open")
    _write(
        house,
        "INSERT INTO enrollment (lead_id, track, entered_at, step, visit, anchor_at, reached_at) "
        "SELECT lead_id, track, entered_at, step, visit, anchor_at, reached_at FROM enrollment",
    )
    assert _kinds(audit(house, START)) == {"two-enrollments": (lead,)}


def test_sweeps_that_stand_still_for_more_than_a_day_are_a_breach(house: House) -> None:
    new, ready = add_lead(house), add_lead(house, demo_requested=True)
    tick_at(house, START)
    _write(house, "UPDATE custody SET kind = 'intake', due_at = since WHERE lead_id = :lead", lead=new)
    assert "sweep-stuck" not in _kinds(audit(house, START + DAY))
    assert _kinds(audit(house, START + DAY + HOUR))["sweep-stuck"] == (new,)
    assert _kinds(audit(house, START + 2 * DAY + HOUR))["sweep-stuck"] == (new, ready)


def test_mail_and_signals_that_lie_for_more_than_a_day_are_found(house: House) -> None:
    lead = add_lead(house, title="Head")
    tick_at(house, START)
    _plan_touch(house, lead)
    _write(house, "UPDATE custody SET due_at = :later", later=_stored(house, START + 30 * DAY))
    _write(
        house,
        "INSERT INTO signal (lead_id, kind, occurred_at, recorded_at, natural_key, verdict, verdict_because, "
        "source) SELECT lead_id, 'clicked', since, since, 'a', 'human', '', 'test' FROM custody",
    )
    assert audit(house, START + DAY).findings == ()
    assert _kinds(audit(house, START + DAY + HOUR)) == {"mail-stuck": (lead,), "signal-stuck": (lead,)}


def _stored(house: House, moment: datetime) -> Any:
    return f"{moment:%Y-%m-%d %H:%M:%S.%fZ}" if house.database.is_sqlite else moment


def test_a_lead_that_hears_nothing_for_longer_than_the_policy_allows_is_named(house: House) -> None:
    touched, silent = add_lead(house, title="Head"), add_lead(house, title="Head")
    tick_at(house, START, START + HOUR)
    later = _stored(house, START + 400 * DAY)
    _write(house, "UPDATE custody SET due_at = :later", later=later)
    never = "UPDATE message SET accepted_at = NULL, state = 'cancelled' WHERE lead_id = :lead"
    _write(house, never, lead=silent)
    assert audit(house, START + 60 * DAY).findings == ()
    assert _kinds(audit(house, START + 60 * DAY + HOUR)) == {"silent": (silent,)}
    assert _kinds(audit(house, START + 60 * DAY + 2 * HOUR)) == {"silent": (touched, silent)}
    _write(house, "UPDATE lead SET paused_until = :later WHERE id = :lead", later=later, lead=silent)
    assert _kinds(audit(house, START + 61 * DAY)) == {"silent": (touched,)}
    _write(house, "UPDATE lead SET pace_days = 60 WHERE id = :lead", lead=touched)
    assert audit(house, START + 61 * DAY).findings == ()
    assert _kinds(audit(house, START + 121 * DAY)) == {"silent": (touched,)}


def test_a_lead_back_from_sales_is_not_silent_because_the_rep_had_it_for_long(house: House) -> None:
    lead = add_lead(house, demo_requested=True)
    tick_at(house, START)
    back = START + 100 * DAY
    _write(house, "UPDATE custody SET due_at = :later", later=_stored(house, back + DAY))
    sweep.reject(house, 1, "not-now", back)
    assert audit(house, back + 30 * DAY).findings == ()
    assert _kinds(audit(house, back + 91 * DAY))["silent"] == (lead,)


def test_at_most_twenty_leads_are_named_and_all_are_counted(house: House) -> None:
    leads = [add_lead(house) for _ in range(25)]
    _write(house, "DELETE FROM custody")
    finding = audit(house, START).findings[0]
    assert (finding.kind, finding.count, finding.lead_ids) == ("no-custodian", 25, tuple(leads[:20]))


def test_an_empty_house_is_in_order_even_without_rules(db: Database, tmp_path: Path) -> None:
    from nurture.mail.providers.maildir import Mailbox

    empty = House(db, Mailbox(tmp_path / "mailbox"))
    seen = audit(empty, START)
    assert seen.ok
    assert (seen.total.leads, seen.findings) == (0, ())
    assert ledger_by_day(empty) == []


def test_an_audit_costs_the_same_number_of_statements_however_many_leads(house: House) -> None:
    add_lead(house)
    tick_at(house, START)
    audit(house, START)
    with statements(house.database) as few:
        audit(house, START)
    for _ in range(30):
        add_lead(house, title="Head")
    tick_at(house, START)
    with statements(house.database) as many:
        assert audit(house, START).ok
    assert len(many) == len(few) <= 20


def test_the_ledger_of_each_day_tells_who_kept_the_leads_then(house: House) -> None:
    now = _busy(house)
    days = ledger_by_day(house)
    assert all(one.residual == 0 for one in days)
    assert [one.day for one in days][:3] == [date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 7)]
    assert days[-1].day == now.astimezone(UTC).date()
    first, second, third = days[:3]
    assert (first.leads, first.came_in, second.came_in, third.leads) == (11, 11, 0, 12)
    assert first.custody == {"intake": 0, "track": 5, "queue": 2, "offer": 1, "rep": 0, "closed": 3}
    assert ledger_by_day(house, date(2026, 1, 7), date(2026, 1, 8)) == days[2:4]
    assert days[-1].custody == audit(house, now).total.custody
