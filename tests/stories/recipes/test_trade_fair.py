"""Recipe: a trade fair in tiers. The rating at the stand decides how soon a lead hears from us, and from whom."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Final

import pytest

from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.journey.run_once import run_once
from nurture.reporting.audit import run_audit
from nurture.runtime.context import AppContext
from tests.stories.recipes.recipe import mailed, publish_recipe, receive
from tests.stories.world import custodian, does, live, rows, touches

START = datetime(2026, 2, 3, 9, tzinfo=UTC)
"""The morning of the fair's first day, a Tuesday."""

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TIERS: Final = ("hot", "warm", "cold", "cold")
SCANS: Final = 40
FIRST: Final = {"hot": "01-your-question", "warm": "01-good-to-talk", "cold": "01-slides"}
REASON: Final = "asked for a price, a demo or a date at the stand"


@pytest.fixture
def ctx(db: Database) -> AppContext:
    return publish_recipe(db, "trade-fair", START - HOUR)


def scan(ctx: AppContext, number: int, at: datetime, rating: str) -> int:
    return receive(ctx, f"badge{number}", at, booth_rating=rating, talked_about="safety stock")


def scan_time(number: int) -> datetime:
    """Return when a badge is scanned: in the hours of the stand, on three days."""
    return START + (number % 3) * DAY + (number * 13) * timedelta(minutes=1)


def first_touch(ctx: AppContext, lead: int) -> tuple[datetime, str]:
    return touches(ctx, lead)[0]


def offer_deadline(scanned: datetime) -> datetime:
    """Return an hour later, or when sales opens again: it works until 17:00 in Berlin, and from 09:00 on."""
    closes = scanned.replace(hour=16, minute=0)
    return scanned + HOUR if scanned < closes else closes + 16 * HOUR


def next_working_day(day: date) -> date:
    following = day + DAY
    return following + max(0, 7 - following.weekday()) * DAY if following.weekday() > 4 else following


def test_40_scans_in_three_tiers_get_their_first_mail_and_their_offer_in_time_even_if_no_rep_answers(
    ctx: AppContext,
) -> None:
    scanned: dict[int, tuple[str, datetime]] = {}

    def scans(number: int) -> None:
        at, tier = scan_time(number), TIERS[number % len(TIERS)]
        scanned[scan(ctx, number, at, tier)] = tier, at

    live(ctx, START - HOUR, START + 8 * DAY, *((scan_time(n), lambda _, n=n: scans(n)) for n in range(SCANS)))
    offered: dict[int, datetime] = {}
    for offer in rows(ctx, "offer"):
        assert offer.handoff_reason == REASON
        offered.setdefault(offer.lead_id, offer.offered_at)
    assert len(scanned) == SCANS
    assert set(offered) == {lead for lead, (tier, _) in scanned.items() if tier == "hot"}
    for lead, (tier, at) in scanned.items():
        sent_at, email = first_touch(ctx, lead)
        assert email == FIRST[tier]
        if tier == "cold":
            assert sent_at.date() == next_working_day(at.date())
        else:
            assert at <= sent_at <= at + 4 * HOUR
        if tier == "hot":
            assert at <= offered[lead] <= offer_deadline(at)
    assert run_audit(ctx, START + 8 * DAY).ok


def test_a_warm_lead_gets_what_was_promised_on_day_2_and_a_goodbye_on_day_19_and_then_one_letter_a_quarter(
    ctx: AppContext,
) -> None:
    lead = scan(ctx, 1, START, "warm")
    live(ctx, START, START + 100 * DAY)
    days = [((at - START).days, email) for at, email in touches(ctx, lead)]
    assert days[:4] == [(0, "01-good-to-talk"), (2, "02-as-promised"), (7, "03-another-angle"), (19, "04-goodbye")]
    assert [email for _, email in days[4:]] == ["01-quarter"]
    assert custodian(ctx, lead) == ("track", "quarterly")


def test_a_cold_lead_gets_a_letter_a_month_and_then_one_a_quarter(ctx: AppContext) -> None:
    lead = scan(ctx, 1, START, "cold")
    live(ctx, START, START + 190 * DAY)
    emails = [email for _, email in touches(ctx, lead)]
    assert emails == ["01-slides", "02-letter-list", "03-letter-story", "04-letter-checklist", "01-quarter"]
    letters = [at for at, email in touches(ctx, lead) if email in emails[:4]]
    assert all(28 * DAY <= later - one <= 33 * DAY for one, later in pairwise(letters))


def test_from_cold_to_hot_moves_a_lead_within_a_run(ctx: AppContext) -> None:
    lead = scan(ctx, 1, START, "cold")
    corrected = START + 2 * DAY + HOUR
    live(ctx, START, corrected)
    assert custodian(ctx, lead) == ("track", "fair-cold")
    scan(ctx, 1, corrected, "hot")
    run_once(ctx, corrected)
    taken = [row for row in rows(ctx, "journal") if row.event == "taken_over"]
    assert [(row.at, row.lead_id, row.ref) for row in taken] == [(corrected, lead, "fair-hot")]
    live(ctx, corrected, corrected + 20 * DAY)
    (offer, *_) = rows(ctx, "offer")
    assert (offer.lead_id, offer.handoff_reason) == (lead, REASON)
    assert offer.offered_at <= corrected + HOUR
    assert mailed(ctx, "fair-hot")[lead][0] == (corrected.date(), "01-your-question")
    assert [email for _, email in mailed(ctx, "fair-cold")[lead]] == ["01-slides"]


@pytest.mark.parametrize("tier", FIRST)
def test_whoever_answers_leaves_at_once(ctx: AppContext, tier: str) -> None:
    lead = scan(ctx, 1, START, tier)
    answers = START + DAY + 3 * HOUR
    live(ctx, START, answers + timedelta(minutes=1), (answers, does(ctx, lead, SignalKind.REPLIED)))
    assert custodian(ctx, lead)[0] == "offer"
    live(ctx, answers + timedelta(minutes=1), answers + 30 * DAY)
    assert [at for at, _ in touches(ctx, lead) if at > answers] == []
