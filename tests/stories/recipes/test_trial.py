"""Recipe: free trial to paid. Its mail hangs on the day on which the trial ends, and stops when the plan is paid."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.reporting.audit import run_audit
from nurture.runtime.context import AppContext
from tests.stories.recipes.recipe import mailed, publish_recipe, receive, receives
from tests.stories.world import custodian, does, live, rows, touches

START = datetime(2026, 2, 2, 10, tzinfo=UTC)
"""A Monday, in the send window."""

DAY, LENGTH = timedelta(days=1), timedelta(days=14)
ENDS_TOMORROW = "05-ends-tomorrow"
FRIDAY = 4


@pytest.fixture
def ctx(db: Database) -> AppContext:
    return publish_recipe(db, "trial", START - DAY)


def starts(ctx: AppContext, name: str, at: datetime) -> int:
    return receive(ctx, name, at, plan="trial", trial_ends=at.date() + LENGTH)


def last_sending_day(day: date) -> date:
    """Return *day*, or the Friday before it if it is on a weekend."""
    return day - max(0, day.weekday() - FRIDAY) * DAY


def test_ends_tomorrow_comes_on_day_13_or_the_last_sending_day_before_whenever_the_trial_began(
    ctx: AppContext,
) -> None:
    begins = {f"week{number}": START + number * DAY for number in range(7)}
    live(
        ctx,
        START - DAY,
        START + 60 * DAY,
        *((at, lambda at, n=name: starts(ctx, n, at)) for name, at in begins.items()),
    )
    found = mailed(ctx, "trial")
    assert len(found) == 7
    for lead, at in zip(sorted(found), begins.values(), strict=True):
        day_13 = last_sending_day(at.date() + 13 * DAY)
        assert [day for day, email in found[lead] if email == ENDS_TOMORROW] == [day_13]
        emails = [email for _, email in found[lead]]
        assert emails == [
            "01-first-step",
            "02-help",
            "03-what-a-peer-did",
            ENDS_TOMORROW,
            "06-what-was-missing",
            "07-come-back",
        ]
        assert custodian(ctx, lead) == ("track", "keep-warm")
    assert run_audit(ctx, START + 60 * DAY).ok


def test_who_pays_on_day_3_leaves_at_once_and_gets_nothing_more_of_it(ctx: AppContext) -> None:
    pays, stays = (starts(ctx, name, START) for name in ("ann", "ben"))
    paid_at = START + 3 * DAY + timedelta(minutes=7)
    happenings = [(START + DAY, does(ctx, lead, SignalKind.USED)) for lead in (pays, stays)]
    live(ctx, START, paid_at, *happenings, (paid_at, receives(ctx, "ann", plan="paid")))
    live(ctx, paid_at, paid_at + timedelta(minutes=1))
    assert custodian(ctx, pays) == ("resting", "customer")
    (left,) = [row for row in rows(ctx, "enrollment") if row.lead_id == pays and row.track == "trial"]
    assert (left.end_reason, left.ended_at) == ("goal", paid_at)
    live(ctx, paid_at, START + 60 * DAY)
    found = mailed(ctx, "trial")
    assert [email for _, email in found[pays]] == ["01-first-step", "02-next-win"]
    assert len(found[stays]) > 5
    assert [at for at, _ in touches(ctx, pays) if at > paid_at] == []
    assert custodian(ctx, pays) == ("resting", "customer")


def test_plans_and_price_come_in_days_7_to_10_to_those_only_who_use_the_product(ctx: AppContext) -> None:
    active, late, silent = (starts(ctx, name, START) for name in ("ann", "ben", "kim"))
    live(
        ctx,
        START,
        START + 20 * DAY,
        (START + DAY, does(ctx, active, SignalKind.USED)),
        (START + 6 * DAY, does(ctx, active, SignalKind.USED)),
        (START + 7 * DAY, does(ctx, late, SignalKind.USED)),
    )
    found = mailed(ctx, "trial")
    second = {lead: found[lead][1] for lead in (active, late, silent)}
    on_day_2 = (START + 2 * DAY).date()
    assert second[active] == (on_day_2, "02-next-win")
    assert second[late] == second[silent] == (on_day_2, "02-help")
    price = {lead: [day for day, email in found[lead] if email == "04-plans-and-price"] for lead in found}
    assert price == {active: [(START + 9 * DAY).date()], late: [(START + 9 * DAY).date()], silent: []}


def test_an_extended_trial_moves_what_hangs_on_its_end(ctx: AppContext) -> None:
    extended, again = (starts(ctx, name, START) for name in ("ann", "ben"))
    later = START.date() + LENGTH + 10 * DAY
    live(
        ctx,
        START,
        START + 75 * DAY,
        (START + 10 * DAY, receives(ctx, "ann", plan="trial", trial_ends=later)),
        (START + 13 * DAY, receives(ctx, "ben", plan="trial", trial_ends=later)),
    )
    found = mailed(ctx, "trial")
    on_old_end, on_new_end = (last_sending_day(day - DAY) for day in (START.date() + LENGTH, later))
    for lead, day in ((extended, on_new_end), (again, on_old_end)):  # for ben it was sent before his trial moved
        assert [on for on, email in found[lead] if email == ENDS_TOMORROW] == [day]
        assert [on for on, email in found[lead] if email.startswith("06")] == [later + 7 * DAY]
