"""Test that mail which hangs on a date of the lead goes on its day, moves with the date, and is never sent twice."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.formats.lead_item import ItemReader
from nurture.journey.delivery import claim, send
from nurture.journey.delivery.run import deliver
from nurture.journey.intake.import_file import import_rows
from nurture.journey.tracks import advance, manual
from nurture.publishing import publish
from nurture.runtime.context import AppContext
from nurture.simulation.engine import run_simulation
from tests.journey.builders import START, make_context, run_at, sample_rules
from tests.journey.observe import RecordingProvider, due_at, messages, one, recorded_statements, rows, write

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TRIAL = """
name: welcome
goal: Turn a trial into a customer
audience: {field: title, contains: [head]}
priority: 10
steps:
  - email: 01-hello
  - email: 02-more
    after: 1 day before trial_ends at 10:00
finally: {close: unreachable}
"""
ENDS = START.date() + 14 * DAY  # a Monday: the day before is a Sunday


@pytest.fixture
def rules() -> dict[str, str]:
    return sample_rules() | {"tracks/welcome/track.yaml": TRIAL, "fields.yaml": "trial_ends: {type: date}\n"}


@pytest.fixture
def ctx(db: Database, tmp_path: Path, rules: dict[str, str]) -> AppContext:
    made = make_context(db, tmp_path, rules=rules)
    made.provider = RecordingProvider()
    return made


def receive(ctx: AppContext, name: str, ends: date | str, at: datetime) -> int:
    """Import a lead whose trial ends on a day; return its id."""
    with ctx.database.read() as tx:
        declared = ctx.definitions.declared_fields(tx)
    custom = {"trial_ends": str(ends)}
    item = {"external_id": name, "email": f"{name}@example.com", "title": "Head", "custom": custom}
    import_rows(ctx, [ItemReader("crm", declared).read(1, item | {"consent_basis": "consent"})], "API batch", at)
    return int(one(ctx, "SELECT lead_id FROM identity WHERE external_id = :name", name=name))


def sent_on(ctx: AppContext, lead: int, step: str = "02-more") -> list[str]:
    """Return when the mail of *step* was accepted, to the hour."""
    query = "SELECT accepted_at FROM message WHERE lead_id = :lead AND step = :step AND state = 'accepted'"
    return [str(at)[:13].replace("T", " ") for (at,) in rows(ctx, query, lead=lead, step=step)]


def steps(ctx: AppContext, event: str) -> list[tuple[str, str]]:
    """Return the step and the reason of each entry of *event* in the journal."""
    query = "SELECT step, reason FROM journal WHERE event = :event ORDER BY id"
    return rows(ctx, query, event=event)  # type: ignore[return-value]


def test_ends_tomorrow_arrives_the_day_before_or_on_the_last_sending_day_before_it(ctx: AppContext) -> None:
    leads = {weekday: receive(ctx, f"lead{weekday}", ENDS + weekday * DAY, START) for weekday in range(7)}
    run_simulation(ctx, START, START + 30 * DAY)
    arrived = {weekday: sent_on(ctx, lead) for weekday, lead in leads.items()}
    last_days = [-3, 0, 1, 2, 3, 4, 4]  # Monday's is Friday; Sunday's too, as nothing goes on Saturday
    assert arrived == {weekday: [f"{ENDS + days * DAY} 10"] for weekday, days in enumerate(last_days)}


def test_a_trial_that_is_extended_moves_its_mail_and_shortened_moves_it_back(ctx: AppContext) -> None:
    lead, other = receive(ctx, "ana", ENDS + DAY, START), receive(ctx, "bo", ENDS + DAY, START)
    run_at(ctx, START, START + HOUR, START + 2 * HOUR)
    receive(ctx, "ana", ENDS + 9 * DAY, START + 2 * DAY)
    receive(ctx, "bo", ENDS - 3 * DAY, START + 2 * DAY)
    assert due_at(ctx, lead) == due_at(ctx, other) == START + 2 * DAY
    run_simulation(ctx, START + 2 * DAY, START + 40 * DAY)
    assert sent_on(ctx, lead) == [f"{ENDS + 8 * DAY} 10"]
    assert sent_on(ctx, other) == [f"{ENDS - 4 * DAY} 10"]


def plan(ctx: AppContext, name: str) -> tuple[int, datetime]:
    """Import a lead, and plan the mail before its trial's end without sending it; return when."""
    lead = receive(ctx, name, ENDS + DAY, START)
    run_at(ctx, START, START + HOUR)
    at = datetime.combine(ENDS, datetime.min.time(), START.tzinfo) + 10 * HOUR
    run_at(ctx, at - DAY)
    advance.advance(ctx, at)
    assert (lead, "02-more", "planned", "") in messages(ctx)
    return lead, at


def test_planned_mail_whose_date_moved_is_recalled_and_goes_once_on_the_new_day(ctx: AppContext) -> None:
    lead, at = plan(ctx, "ana")
    receive(ctx, "ana", ENDS + 9 * DAY, at)
    advance.advance(ctx, at)
    assert (lead, "02-more", "cancelled", "date_moved") in messages(ctx)
    assert steps(ctx, "recalled") == [("02-more", "02-more is recalled: 1 day before trial_ends moved")]
    run_at(ctx, at, at + HOUR)
    assert sent_on(ctx, lead) == []
    run_simulation(ctx, at + HOUR, at + 40 * DAY)
    assert sent_on(ctx, lead) == [f"{ENDS + 8 * DAY} 10"]
    assert one(ctx, "SELECT count(*) FROM message WHERE step = '02-more'") == 1


def test_mail_whose_date_moved_waits_in_the_outbox_until_its_track_recalls_it(ctx: AppContext) -> None:
    lead, at = plan(ctx, "ana")
    receive(ctx, "ana", ENDS + 9 * DAY, at)
    deliver(ctx, VirtualClock(at))
    assert (lead, "02-more", "planned", "held: its date moved") in messages(ctx)
    run_simulation(ctx, at, at + 40 * DAY)
    assert sent_on(ctx, lead) == [f"{ENDS + 8 * DAY} 10"]


def test_mail_that_a_worker_has_claimed_when_its_date_moves_goes_at_most_once(ctx: AppContext) -> None:
    lead, at = plan(ctx, "ana")
    batch = claim.claim_batch(ctx, at, 10)
    receive(ctx, "ana", ENDS + 9 * DAY, at)
    advance.advance(ctx, at)
    assert (lead, "02-more", "claimed", "") in messages(ctx)
    send.send_claimed(ctx, batch, VirtualClock(at))
    run_simulation(ctx, at, at + 40 * DAY)
    assert len(sent_on(ctx, lead)) == 1
    assert one(ctx, "SELECT count(*) FROM message WHERE step = '02-more'") == 1


def test_mail_that_was_given_to_the_provider_is_not_recalled(ctx: AppContext) -> None:
    lead, at = plan(ctx, "ana")
    run_at(ctx, at)
    receive(ctx, "ana", ENDS + 9 * DAY, at + HOUR)
    run_simulation(ctx, at + HOUR, at + 40 * DAY)
    assert sent_on(ctx, lead) == [f"{ENDS} 10"]


def test_planned_mail_that_makes_no_sense_any_more_is_never_sent(ctx: AppContext) -> None:
    lead, at = plan(ctx, "ana")
    receive(ctx, "ana", ENDS, at)  # the trial ends today
    run_simulation(ctx, at, at + 10 * DAY)
    assert (lead, "02-more", "cancelled", "too_late") in messages(ctx)
    assert sent_on(ctx, lead) == []


@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        ("", "02-more is skipped: 1 day before trial_ends is not known"),
        (START.date() - 3 * DAY, "02-more is skipped: it was due on Thursday 1 January, and is too late now"),
    ],
)
def test_a_step_is_skipped_without_its_date_or_after_it(ctx: AppContext, ends: date | str, reason: str) -> None:
    lead = receive(ctx, "ana", ends, START)
    run_at(ctx, START, START + HOUR)
    run_simulation(ctx, START + HOUR, START + 30 * DAY)
    assert sent_on(ctx, lead) == []
    assert steps(ctx, "skipped") == [("02-more", reason)]


def test_six_months_since_first_contact_count_from_the_date_of_the_source(
    ctx: AppContext, rules: dict[str, str]
) -> None:
    track = TRIAL.replace("1 day before trial_ends at 10:00", "6 months since first_contact")
    publish.publish(ctx, rules | {"tracks/welcome/track.yaml": track}, START)
    item = {"external_id": "ana", "email": "ana@example.com", "title": "Head", "consent_basis": "consent"}
    created = {"created_at": f"{START.date() - 150 * DAY}"}
    import_rows(ctx, [ItemReader("crm", {}).read(1, item | created)], "API batch", START)
    run_simulation(ctx, START, START + 60 * DAY)
    assert sent_on(ctx, 1) == [f"{START.date() + 30 * DAY} 09"]


def test_a_step_after_its_last_day_is_skipped(ctx: AppContext, rules: dict[str, str]) -> None:
    track = TRIAL.replace("after: 1 day before trial_ends at 10:00", "after: 3 days\n    not_after: trial_ends")
    publish.publish(ctx, rules | {"tracks/welcome/track.yaml": track}, START)
    late, early = receive(ctx, "ana", START.date() + 2 * DAY, START), receive(ctx, "bo", ENDS, START)
    run_simulation(ctx, START, START + 20 * DAY)
    assert sent_on(ctx, late) == []
    assert sent_on(ctx, early) == [f"{START.date() + 3 * DAY} 09"]
    assert [step for step, _ in steps(ctx, "skipped")] == ["02-more"]


LAST_DAY = TRIAL.replace("after: 1 day before trial_ends at 10:00", "after: 3 days\n    not_after: trial_ends")


def plan_until(ctx: AppContext, rules: dict[str, str], ends: date) -> tuple[int, datetime]:
    """Import a lead, and plan without sending it a mail that makes no sense after its trial; return when."""
    publish.publish(ctx, rules | {"tracks/welcome/track.yaml": LAST_DAY}, START)
    lead = receive(ctx, "ana", ends, START)
    run_at(ctx, START, START + HOUR, START + 2 * HOUR)
    at = due_at(ctx, lead)
    assert at is not None
    advance.advance(ctx, at)
    assert (lead, "02-more", "planned", "") in messages(ctx)
    return lead, at


def test_planned_mail_whose_last_day_moves_later_is_still_sent_once(ctx: AppContext, rules: dict[str, str]) -> None:
    lead, at = plan_until(ctx, rules, START.date() + 3 * DAY)
    receive(ctx, "ana", ENDS, at)
    run_at(ctx, at + DAY)
    assert sent_on(ctx, lead) == [f"{at + DAY}"[:13]]
    run_simulation(ctx, at + DAY, at + 40 * DAY)
    assert one(ctx, "SELECT count(*) FROM message WHERE step = '02-more'") == 1
    assert steps(ctx, "skipped") == steps(ctx, "recalled") == []


def test_mail_that_waits_for_a_limit_goes_after_its_old_last_day_once_that_moved(
    ctx: AppContext, rules: dict[str, str]
) -> None:
    lead, at = plan_until(ctx, rules, START.date() + 3 * DAY)
    receive(ctx, "ana", ENDS, at)
    manual.pause(ctx, lead, at + DAY, at)
    deliver(ctx, VirtualClock(at))
    ((_, _, state, reason),) = (found for found in messages(ctx) if found[1] == "02-more")
    assert (state, "the lead is paused" in reason) == ("planned", True)
    run_simulation(ctx, at, at + 40 * DAY)
    assert len(sent_on(ctx, lead)) == 1


def test_planned_mail_whose_last_day_moves_before_its_time_is_skipped_at_once(
    ctx: AppContext, rules: dict[str, str]
) -> None:
    lead, at = plan_until(ctx, rules, ENDS)
    write(ctx, "UPDATE message SET send_at = expires_at WHERE step = '02-more'")  # as a cap defers it
    receive(ctx, "ana", at.date(), at)
    advance.advance(ctx, at)
    assert (lead, "02-more", "cancelled", "date_moved") in messages(ctx)
    run_simulation(ctx, at, at + 40 * DAY)
    assert sent_on(ctx, lead) == []
    assert [step for step, _ in steps(ctx, "skipped")] == ["02-more"]


def test_a_lead_enters_and_leaves_by_a_date_and_by_inactivity_without_anybody_asking(
    ctx: AppContext, rules: dict[str, str]
) -> None:
    track = TRIAL.replace("1 day before trial_ends at 10:00", "200 days").replace(
        "{close: unreachable}", "{close: unreachable}\nexit_when: {when: {date: trial_ends, ago: 10 days}, then: keep}"
    )
    publish.publish(ctx, rules | {"tracks/welcome/track.yaml": track}, START)
    lead = receive(ctx, "ana", ENDS, START)
    run_at(ctx, START, START + HOUR, START + 2 * HOUR)
    ends = datetime.combine(ENDS, datetime.min.time(), START.tzinfo)
    assert due_at(ctx, lead) == ends + 10 * DAY
    run_at(ctx, ends + 10 * DAY)
    assert one(ctx, "SELECT reason FROM journal WHERE event = 'exit'") == (
        "leaves of welcome: trial_ends at least 10 days ago"
    )


def test_moving_many_dates_costs_as_many_statements_as_moving_few(ctx: AppContext) -> None:
    groups = [["a", "b"], [f"lead{number}" for number in range(40)]]
    for name in groups[0][1:] + groups[1]:
        receive(ctx, name, ENDS + DAY, START)
    _, at = plan(ctx, groups[0][0])
    numbers = []
    for days, names in enumerate(groups):
        for name in names:
            receive(ctx, name, ENDS + (9 + days) * DAY, at)
        with recorded_statements(ctx.database) as recalled:
            advance.advance(ctx, at)
        numbers.append([len(recalled)])
    for days, count in enumerate(numbers):
        with recorded_statements(ctx.database) as replanned:
            advance.advance(ctx, at + (8 + days) * DAY)
        count.append(len(replanned))
        deliver(ctx, VirtualClock(at + (8 + days) * DAY))
        advance.advance(ctx, at + (8 + days) * DAY)  # they end, so that the others are alone
    assert one(ctx, "SELECT count(*) FROM message WHERE step = '02-more' AND state = 'accepted'") == 42
    assert numbers[0] == numbers[1]
