"""Months in the life of a lead, a few lines each."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nurture.domain.planning.calendar import Window, is_open
from nurture.domain.signals import SignalKind
from nurture.errors import ClockWentBackwards, InvalidState
from nurture.journey.handoff import responses
from nurture.journey.intake.import_file import import_file
from nurture.journey.run_once import run_once
from nurture.journey.tracks import manual
from nurture.publishing.publish import publish
from nurture.runtime.context import AppContext
from nurture.simulation import engine
from tests.journey.builders import add_lead, sample_rules
from tests.stories.world import context_in_memory, custodian, does, everything, live, rows, touches

pytestmark = pytest.mark.quick

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
"""A Monday, an hour before the send window opens in London."""

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def ctx() -> Iterator[AppContext]:
    made = context_in_memory(START)
    yield made
    made.database.close()


def test_a_reply_at_night_hands_the_lead_off_at_night(ctx: AppContext) -> None:
    lead = add_lead(ctx, at=START, attended=True)
    night = datetime(2026, 1, 8, 2, 30, tzinfo=UTC)
    live(ctx, START, night + HOUR, (night, does(ctx, lead, SignalKind.REPLIED)))
    (offer,) = rows(ctx, "offer")
    (brief,) = [row for row in rows(ctx, "message") if row.kind == "brief"]
    assert (offer.rule, offer.offered_at, brief.accepted_at) == ("replied", night, night)
    assert custodian(ctx, lead) == ("offer", str(offer.id))


def test_a_stated_date_wakes_the_lead_90_days_before(ctx: AppContext) -> None:
    lead = add_lead(ctx, at=START)
    states = (START + DAY, does(ctx, lead, SignalKind.DECIDING, "2026-09-30"))
    live(ctx, START, datetime(2026, 7, 1, 23, tzinfo=UTC), states)
    assert custodian(ctx, lead) == ("track", "keep-warm")
    assert len(touches(ctx, lead)) > 3
    live(ctx, datetime(2026, 7, 1, 23, tzinfo=UTC), datetime(2026, 7, 3, tzinfo=UTC))
    (offer,) = rows(ctx, "offer")
    nine_in_berlin = datetime(2026, 7, 2, 7, tzinfo=UTC)
    assert (offer.rule, offer.offered_at) == ("decides-soon", nine_in_berlin)


def test_an_unanswered_request_goes_to_other_reps_and_then_to_a_manager_who_hears_of_the_next_one_too(
    ctx: AppContext,
) -> None:
    lead = add_lead(ctx, at=START, attended=True)
    first, again = START + 2 * DAY, START + 30 * DAY
    live(
        ctx,
        START,
        again + HOUR,
        (first, does(ctx, lead, SignalKind.REPLIED)),
        (again, does(ctx, lead, SignalKind.REPLIED)),
    )
    one, two, three = rows(ctx, "offer")
    assert {each.state for each in (one, two, three)} == {"expired"}
    assert first < one.answered_at <= two.offered_at < two.answered_at <= three.offered_at < three.answered_at
    assert len({each.rep for each in (one, two, three)}) == 3
    notified = {row.planned_at for row in rows(ctx, "message") if row.kind == "waiting" and row.rep == "lena"}
    assert {three.answered_at, again} <= notified
    (back,) = [row for row in rows(ctx, "journal") if row.event == "recycled"]
    assert (back.at, back.custody_to, back.ref) == (three.answered_at, "queue", "manager-decision")
    assert not [at for at, _ in touches(ctx, lead) if first <= at]


def test_a_rep_who_says_not_now_starts_a_cool_off_of_30_days(ctx: AppContext) -> None:
    lead = add_lead(ctx, at=START, attended=True)
    replies, rejects = START + 2 * DAY, START + 2 * DAY + HOUR
    live(
        ctx,
        START,
        START + 100 * DAY,
        (replies, does(ctx, lead, SignalKind.REPLIED)),
        (rejects, lambda at: responses.reject(ctx, 1, "not-now", at)),
    )
    sent = [at for at, _ in touches(ctx, lead) if at > replies]
    assert rejects + 30 * DAY <= sent[0] <= rejects + 60 * DAY
    assert custodian(ctx, lead) == ("track", "keep-warm")


def test_a_paused_lead_gets_no_mail_and_then_resumes_where_it_was(ctx: AppContext) -> None:
    paused, other = (add_lead(ctx, at=START, attended=True) for _ in range(2))
    stops, ends = START + 10 * DAY, START + 80 * DAY
    live(ctx, START, START + 200 * DAY, (stops, lambda at: manual.pause(ctx, paused, ends, at)))
    assert not [at for at, _ in touches(ctx, paused) if stops < at < ends]
    assert [at for at, _ in touches(ctx, other) if stops < at < ends]
    of_track = [email for _, email in touches(ctx, other) if email[:2] < "06"][:5]
    assert [email for _, email in touches(ctx, paused)][:5] == of_track


def test_an_unsubscribed_lead_is_never_mailed_again_even_if_imported_again(ctx: AppContext, tmp_path: Path) -> None:
    rows_of_file = [{"Email": "ann@example.com", "Consent": "yes", "Attended": "yes"}]
    import_file(ctx, _file(tmp_path, "first", rows_of_file), START)
    leaves, returns = START + 3 * DAY, START + 60 * DAY
    rows_of_file[0] |= {"Consent Date": "2026-03-01", "Registered On": "2026-03-01"}
    live(
        ctx,
        START,
        START + 400 * DAY,
        (leaves, does(ctx, 1, SignalKind.UNSUBSCRIBED)),
        (returns, lambda at: import_file(ctx, _file(tmp_path, "again", rows_of_file), at)),
    )
    assert [at for at, _ in touches(ctx)] == [datetime(2026, 1, 5, 12, tzinfo=UTC)]
    assert custodian(ctx, 1) == ("queue", "suppressed")


def test_a_discarded_lead_that_registers_again_returns_to_intake(ctx: AppContext, tmp_path: Path) -> None:
    known = {"Email": "kim@example.com", "Consent": "yes", "Company": "Mill", "Job Title": "Student"}
    import_file(ctx, _file(tmp_path, "first", [known]), START)
    live(ctx, START, START + DAY)
    assert custodian(ctx, 1) == ("closed", "discarded")
    now = START + 200 * DAY
    later = known | {"Job Title": "Head of planning", "Registered On": "2026-07-20"}
    live(ctx, START + DAY, now + DAY, (now, lambda at: import_file(ctx, _file(tmp_path, "b", [later]), at)))
    said = [(row.event, row.custody_to) for row in rows(ctx, "journal") if row.at >= now and row.custody_to]
    assert said == [("returned", "intake"), ("classified", "track")]
    assert custodian(ctx, 1) == ("track", "keep-warm")


def test_after_three_weeks_offline_each_lead_gets_one_overdue_touch_in_the_window(ctx: AppContext) -> None:
    leads = [add_lead(ctx, at=START, attended=True) for _ in range(12)]
    late = [add_lead(ctx, at=START, attended=False, company="Mill") for _ in range(12)]
    live(ctx, START, START + 5 * DAY)
    before = len(touches(ctx))
    wakes = START + 26 * DAY  # a Saturday
    live(ctx, wakes, wakes + 40 * DAY)
    monday = [touch for touch in touches(ctx) if wakes <= touch[0] < wakes + 5 * DAY]
    assert before == len(monday) == len(leads) + len(late)
    london = Window(skip_holidays=False)
    assert all(is_open(london, "Europe/London", (), at) for at, _ in touches(ctx))
    for lead in (*leads, *late):
        mine = touches(ctx, lead)
        assert [email[:2] for _, email in mine[:3]] == ["01", "02", "03"]
        assert mine[2][0] - mine[1][0] >= 7 * DAY


def test_a_new_version_of_a_track_moves_its_leads_as_moved_to_says() -> None:
    old = sample_rules()
    path = "tracks/welcome/track.yaml"
    new = old | {path: old[path].replace("wait-for-click", "wait-for-answer")}
    ctx = context_in_memory(START, old)
    lead = add_lead(ctx, at=START, title="Head")
    live(ctx, START, START + 2 * DAY)
    with pytest.raises(InvalidState, match=r"moved_to: \{wait-for-click"):
        publish(ctx, new, START + 2 * DAY)
    new[path] += "moved_to: {wait-for-click: 02-more}\n"
    publish(ctx, new, START + 2 * DAY)
    live(ctx, START + 2 * DAY, START + 12 * DAY)
    assert [email for _, email in touches(ctx, lead)] == ["01-hello", "02-more"]
    versions = [(row.email, row.track_version) for row in rows(ctx, "message")]
    assert versions == [("01-hello", 1), ("02-more", 2)]


def test_a_clock_set_back_is_refused_and_nothing_changes(ctx: AppContext) -> None:
    add_lead(ctx, at=START, attended=True)
    live(ctx, START, START + 8 * DAY)
    before = everything(ctx)
    with pytest.raises(ClockWentBackwards, match="Nothing was done"):
        run_once(ctx, START + DAY)
    assert everything(ctx) == before


def test_a_second_run_at_the_same_time_changes_nothing(ctx: AppContext) -> None:
    leads = [add_lead(ctx, at=START + n * HOUR, attended=n % 2 == 0, company="Mill") for n in range(20)]
    add_lead(ctx, at=START, demo_requested=True)
    steps = 0
    now: datetime | None = START
    while now is not None and now < START + 45 * DAY:
        if steps == 3:
            does(ctx, leads[0], SignalKind.REPLIED)(now)
        for _ in range(engine.MAX_ROUNDS_PER_TIMESTAMP):
            run_once(ctx, now)
            upcoming = engine.find_next_due(ctx)
            if upcoming is None or upcoming > now:
                break
        after_run = everything(ctx)
        run_once(ctx, now)
        assert everything(ctx) == after_run, now
        steps, now = steps + 1, upcoming
    assert steps > 20


def _file(folder: Path, name: str, people: list[dict[str, str]]) -> Path:
    path = folder / f"{name}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(people[0]))
        writer.writeheader()
        writer.writerows(people)
    return path
