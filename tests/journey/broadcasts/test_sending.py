"""Test sending a broadcast under all rules: caps, windows, stops, calls to action, one email at a time, expiry."""

from datetime import datetime
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.journey.broadcasts import plan, release
from nurture.journey.delivery import stopping
from nurture.journey.erasure import erase
from nurture.journey.tracks import manual
from nurture.reporting import broadcasts as reporting
from nurture.reporting.audit import run_audit
from nurture.runtime.context import AppContext
from tests.journey.broadcasts.world import (
    DAY,
    HOUR,
    NAME,
    TEN,
    broadcast_rules,
    make_broadcast,
    recipients,
    republish,
    send,
    states,
)
from tests.journey.builders import START, add_lead, run_at
from tests.journey.observe import RecordingProvider, add_leads, rows, write

TRACK = f"broadcasts/{NAME}"
END = datetime.fromisoformat("2026-01-07T12:00:00+00:00")


def sent(ctx: AppContext) -> list[str]:
    """Return the kinds of the emails in the order in which they were sent."""
    return [
        kind for (kind,) in rows(ctx, "SELECT kind FROM message WHERE accepted_at IS NOT NULL ORDER BY accepted_at")
    ]


def with_priority(priority: int, cap: str = "{touches: 1, per: 1 days}") -> dict[str, str]:
    rules = broadcast_rules(f"priority: {priority}\n")
    rules["defaults.yaml"] = rules["defaults.yaml"].replace("{touches: 2, per: 7 days}", cap)
    return rules


@pytest.mark.parametrize(("priority", "order"), [(20, ["broadcast", "touch"]), (0, ["touch", "broadcast"])])
def test_of_emails_due_together_a_cap_moves_that_of_lower_priority(
    db: Database, tmp_path: Path, priority: int, order: list[str]
) -> None:
    ctx = make_broadcast(db, tmp_path, with_priority(priority))
    lead = add_lead(ctx, city="Kiel", title="Head", at=TEN - HOUR)  # its first touch is due at TEN
    run_at(ctx, TEN - HOUR)
    send(ctx)
    run_at(ctx, TEN, TEN + DAY, TEN + DAY + HOUR)
    assert sent(ctx) == order
    assert recipients(ctx) == {lead: 1}


def test_an_email_of_the_track_and_a_broadcast_never_go_together(db: Database, tmp_path: Path) -> None:
    ctx = make_broadcast(db, tmp_path, with_priority(20, cap="{touches: 5, per: 1 days}"))
    add_lead(ctx, city="Kiel", title="Head", at=TEN - HOUR)
    run_at(ctx, TEN - HOUR)
    send(ctx)
    run_at(ctx, TEN)
    assert sent(ctx) == ["broadcast"]
    run_at(ctx, TEN + HOUR / 4)
    assert sent(ctx) == ["broadcast", "touch"]


def test_what_a_cap_holds_until_it_is_too_late_expires_and_is_counted(db: Database, tmp_path: Path) -> None:
    ctx = make_broadcast(db, tmp_path, with_priority(0, cap="{touches: 1, per: 7 days}"))
    lead = add_lead(ctx, city="Kiel", title="Head")  # its first touch is due at START + HOUR
    run_at(ctx, START, START + HOUR)
    assert release.preview(ctx, NAME, START + HOUR).expiring == {"already 1 email in 7 days": 1}
    send(ctx)
    run_at(ctx, TEN)
    assert states(ctx)[lead] == "cancelled too_late: already 1 email in 7 days"
    found = reporting.report_broadcast(ctx, NAME, TEN)
    assert (found.state, found.sent, found.expired) == ("done", 0, {"already 1 email in 7 days": 1})
    assert run_audit(ctx, TEN).ok


def test_a_cap_that_frees_in_time_only_delays_it(db: Database, tmp_path: Path) -> None:
    ctx = make_broadcast(db, tmp_path, with_priority(0))
    lead = add_lead(ctx, city="Kiel", title="Head")
    run_at(ctx, START, START + HOUR)
    expected = release.preview(ctx, NAME, START + HOUR)
    assert (expected.recipients, expected.delayed) == (1, {"already 1 email in 1 day": 1})
    send(ctx)
    run_at(ctx, TEN)
    assert recipients(ctx) == {}
    assert reporting.report_broadcast(ctx, NAME, TEN).held.total() == 1
    run_at(ctx, START + HOUR + DAY)
    assert recipients(ctx) == {lead: 1}
    assert expected.first_at == START + HOUR + DAY


def test_a_paused_lead_gets_it_when_the_pause_ends_in_time(db: Database, tmp_path: Path) -> None:
    ctx = make_broadcast(db, tmp_path)
    soon, later, by_night = (add_lead(ctx, city="Kiel", title="Buyer") for _ in range(3))
    run_at(ctx, START)
    manual.pause(ctx, soon, TEN + DAY, START)
    manual.pause(ctx, later, END + HOUR, START)
    manual.pause(ctx, by_night, END + 12 * HOUR, START)  # then the send window is closed, too
    expected = release.preview(ctx, NAME, START)
    assert (expected.delayed, expected.expiring) == ({"the lead is paused": 1}, {"the lead is paused": 2})
    send(ctx)
    run_at(ctx, TEN, TEN + DAY)
    assert recipients(ctx) == {soon: 1}
    assert {states(ctx)[one] for one in (later, by_night)} == {"cancelled too_late: the lead is paused"}


def test_a_stop_holds_it_and_a_start_sends_the_corrected_version(db: Database, tmp_path: Path) -> None:
    ctx = make_broadcast(db, tmp_path)
    lead = add_lead(ctx, city="Kiel", title="Buyer")
    run_at(ctx, START)
    send(ctx)
    stopping.stop(ctx, TRACK, "wrong date in the text", "mara", START)
    run_at(ctx, TEN, TEN + HOUR)
    assert recipients(ctx) == {}
    corrected = broadcast_rules()
    corrected["broadcasts/spring/invitation.md"] = corrected["broadcasts/spring/invitation.md"].replace("Spring", "May")
    republish(ctx, corrected)
    stopping.start(ctx, TRACK, "", "mara", TEN + DAY)
    run_at(ctx, TEN + DAY)
    assert recipients(ctx) == {lead: 1}
    assert isinstance(ctx.provider, RecordingProvider)
    assert [subject for _, _, subject in ctx.provider.sent] == ["May"]


@pytest.mark.parametrize("stopped", [TRACK, ""])
def test_what_is_stopped_until_it_is_too_late_expires_as_stopped(db: Database, tmp_path: Path, stopped: str) -> None:
    ctx = make_broadcast(db, tmp_path)
    lead = add_lead(ctx, city="Kiel", title="Buyer")
    run_at(ctx, START)
    send(ctx)
    stopping.stop(ctx, stopped, "wrong list", "mara", START)
    run_at(ctx, TEN, END)
    assert states(ctx)[lead].startswith("planned stopped: ")
    run_at(ctx, END + HOUR)
    assert states(ctx)[lead] == "cancelled too_late: stopped"
    stopping.start(ctx, stopped, "", "mara", END + HOUR)
    run_at(ctx, END + DAY)
    assert recipients(ctx) == {}


def test_a_call_to_action_waits_while_sales_talks_to_a_colleague(db: Database, tmp_path: Path) -> None:
    rules = broadcast_rules(front="call_to_action: yes\n")
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace("one_rep_per_company: no\n", "")
    ctx = make_broadcast(db, tmp_path, rules)
    lead = add_lead(ctx, city="Kiel", title="Buyer", email="a@firm.example")
    add_lead(ctx, city="Ulm", email="b@firm.example", demo_requested=True)
    alone = add_lead(ctx, city="Kiel", title="Buyer")
    run_at(ctx, START)
    expected = release.preview(ctx, NAME, START)
    assert expected.delayed == {"a colleague is with sales": 1}
    send(ctx)
    run_at(ctx, TEN)
    assert recipients(ctx) == {alone: 1}
    assert states(ctx)[lead] == "planned held: a colleague is with sales"


def test_the_ceiling_of_emails_per_hour_holds_for_a_broadcast(db: Database, tmp_path: Path) -> None:
    ctx = make_broadcast(db, tmp_path, broadcast_rules("per_hour: 3\n"))
    add_leads(ctx, 8, city="Kiel")
    run_at(ctx, START)
    send(ctx)
    run_at(ctx, *(TEN + minutes * HOUR / 6 for minutes in range(30)))
    by_hour = rows(ctx, "SELECT count(*) FROM message WHERE kind = 'broadcast' AND accepted_at IS NOT NULL "
                        "GROUP BY substr(CAST(accepted_at AS text), 1, 13)")  # fmt: skip
    assert max(count for (count,) in by_hour) <= 3
    assert recipients(ctx).total() == 8


def test_erasing_a_lead_cancels_its_broadcast(db: Database, tmp_path: Path) -> None:
    ctx = make_broadcast(db, tmp_path)
    lead = add_lead(ctx, city="Kiel", email="gone@people.example")
    run_at(ctx, START)
    send(ctx)
    plan.plan_due(ctx, TEN)
    erase.erase_person(ctx, "gone@people.example", START)
    run_at(ctx, TEN)
    assert recipients(ctx) == {}
    assert states(ctx)[lead].startswith("cancelled")


def test_a_broadcast_whose_delivery_is_unknown_is_not_planned_again(db: Database, tmp_path: Path) -> None:
    ctx = make_broadcast(db, tmp_path)
    lead = add_lead(ctx, city="Kiel", title="Buyer")
    run_at(ctx, START)
    send(ctx)
    plan.plan_due(ctx, TEN)
    write(ctx, "UPDATE message SET state = 'unknown', attempts = 1 WHERE kind = 'broadcast'")
    assert send(ctx).is_new
    run_at(ctx, TEN, TEN + HOUR)
    assert recipients(ctx) == {}
    assert states(ctx)[lead] == "unknown"
    assert release.preview(ctx, NAME, TEN + HOUR).finished == 1
