"""Recipe: wake up the silent, then let them go; a sign of life brings a lead back to where it stood."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.reporting.audit import run_audit
from nurture.runtime.context import AppContext
from tests.stories.recipes.recipe import mailed, publish_recipe, receive
from tests.stories.world import Happening, custodian, does, live, rows, touches

START = datetime(2026, 2, 2, 10, tzinfo=UTC)
"""A Monday, in the send window."""

DAY = timedelta(days=1)
SILENCE = 180 * DAY
LEADS, END = 100, START + 200 * DAY
TRACK, BEFORE = "wake-up", "keep-warm"
WAKING = ["01-what-changed", "02-choose-what-you-get", "03-shall-we-stop"]


@pytest.fixture
def ctx(db: Database) -> AppContext:
    return publish_recipe(db, TRACK, START)


def arrive(ctx: AppContext, number: int) -> list[int]:
    return [receive(ctx, f"lead{one}", START) for one in range(number)]


def entries(ctx: AppContext) -> dict[int, date]:
    """Return on which day each lead entered the track."""
    return {
        row.lead_id: row.at.date() for row in rows(ctx, "journal") if row.event == "taken_over" and row.ref == TRACK
    }


def position(ctx: AppContext, lead: int) -> tuple[str, int]:
    """Return the step of a lead on the track before, and how many rounds of it the lead has had."""
    (stay,) = [row for row in rows(ctx, "enrollment") if row.lead_id == lead and row.track == BEFORE]
    return stay.step, len(mailed(ctx, BEFORE).get(lead, []))


def test_of_100_those_silent_for_180_days_enter_on_that_day_and_nobody_else(ctx: AppContext) -> None:
    leads = arrive(ctx, LEADS)
    happenings: list[Happening] = []
    enters: dict[int, date] = {}
    for number, lead in enumerate(leads):
        days = [0] if number < 30 else [3 + number % 30] if number < 60 else list(range(number % 50, 200, 50))
        happenings += [(START + day * DAY, does(ctx, lead, SignalKind.CLICKED)) for day in days if day]
        if days[-1] * DAY + SILENCE <= END - START:
            enters[lead] = (START + days[-1] * DAY + SILENCE).date()
    live(ctx, START, END, *happenings)
    assert entries(ctx) == enters
    assert len(enters) == 48
    assert len(set(enters.values())) == 19
    assert set(mailed(ctx, TRACK)) <= set(enters)
    for lead in set(leads) - set(enters):
        assert custodian(ctx, lead) == ("track", BEFORE)
    assert run_audit(ctx, END).ok


def test_a_click_puts_a_lead_back_where_it_stood(ctx: AppContext) -> None:
    lead, silent = arrive(ctx, 2)
    entered, clicks = START + SILENCE, START + SILENCE + 20 * DAY
    live(ctx, START, entered - DAY)
    stood = position(ctx, lead)
    live(ctx, entered - DAY, clicks)
    assert custodian(ctx, lead) == ("track", TRACK)
    assert position(ctx, lead) == stood
    live(ctx, clicks, clicks + timedelta(minutes=5), (clicks, does(ctx, lead, SignalKind.CLICKED)))
    assert custodian(ctx, lead) == ("track", BEFORE)
    assert position(ctx, lead) == stood
    live(ctx, clicks + timedelta(minutes=5), clicks + 150 * DAY)
    assert [email for _, email in mailed(ctx, TRACK)[lead]] == WAKING[:2]
    assert custodian(ctx, lead) == ("track", BEFORE)
    news = [email for _, email in mailed(ctx, BEFORE)[lead]]
    assert len(news) > stood[1] + 1
    assert len(set(news[:6])) == 6
    assert custodian(ctx, silent)[0] == "closed"


def test_the_silent_get_three_mails_in_five_weeks_and_no_more_and_keep_their_consent(ctx: AppContext) -> None:
    lead, asks = arrive(ctx, 2)
    entered, over = START + SILENCE, START + SILENCE + 60 * DAY
    live(ctx, START, over)
    for one in (lead, asks):
        found = mailed(ctx, TRACK)[one]
        assert [email for _, email in found] == WAKING
        assert entered.date() <= found[0][0]
        assert found[-1][0] <= entered.date() + 35 * DAY
    live(ctx, over, over + 200 * DAY, (over, does(ctx, asks, SignalKind.REPLIED)))
    assert [at for at, _ in touches(ctx) if at > entered + 40 * DAY] == []
    assert rows(ctx, "suppression") == []
    assert {row.consent_basis for row in rows(ctx, "lead")} == {"consent"}
    assert custodian(ctx, lead) == ("closed", "unreachable")
    assert {(offer.lead_id, offer.rule) for offer in rows(ctx, "offer")} == {(asks, "replied")}
    assert run_audit(ctx, over + 200 * DAY).ok
