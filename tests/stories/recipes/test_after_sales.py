"""Recipes: who comes back from sales by reason, who bought elsewhere, and who has just bought."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.journey.engagement import signals
from nurture.journey.handoff import responses
from nurture.reporting.audit import run_audit
from nurture.runtime.context import AppContext
from tests.journey.builders import close_lead
from tests.journey.routing.test_router import account
from tests.stories.recipes.recipe import mailed, publish_recipe, receive, receives
from tests.stories.world import custodian, does, live, rows, touches

START = datetime(2026, 2, 2, 10, tzinfo=UTC)
"""A Monday, in the send window."""

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OWNER = {"managers": "  - {id: olga, name: Olga Weiss, email: olga@larkfield.example, capacity: 8, manager: lena}"}


def give_back(ctx: AppContext, name: str, reason: str) -> int:
    """Have a lead ask for a demo, and a rep give it back; return its id."""
    lead = receive(ctx, name, START)
    answered = START + HOUR + HOUR / 2  # demo requests are taken back after an hour
    live(ctx, START, answered, (START + HOUR, does(ctx, lead, SignalKind.REQUESTED_DEMO)))
    (offer,) = [row.id for row in rows(ctx, "offer") if row.lead_id == lead]
    responses.reject(ctx, offer, reason, answered)
    return lead


@pytest.mark.parametrize(
    ("starter", "reason", "cool_off", "emails"),
    [
        ("recycled", "not-now", 30, ["01-where-we-stopped", "02-what-others-did-meanwhile", "03-is-it-time"]),
        ("recycled", "no-answer", 14, ["01-one-question", "02-one-page"]),
        ("recycled", "no-budget", 60, ["01-what-it-costs-to-wait", "02-for-the-one-who-decides", "03-next-budget"]),
        ("closed-lost", "bought-elsewhere", 180, ["01-how-is-it-going", "02-what-we-learned", "03-before-you-renew"]),
    ],
)
def test_who_comes_back_gets_the_track_of_the_reason_after_its_cool_off_and_then_keep_warm(
    db: Database, starter: str, reason: str, cool_off: int, emails: list[str]
) -> None:
    ctx = publish_recipe(db, starter, START - HOUR)
    lead = give_back(ctx, "ann", reason)
    until = START + (cool_off + 160) * DAY
    live(ctx, START + 2 * HOUR, until)
    track = "closed-lost" if starter == "closed-lost" else f"recycled-{reason}"
    found = mailed(ctx, track)[lead]
    assert [email for _, email in found] == emails
    assert timedelta(0) <= found[0][0] - (START.date() + cool_off * DAY) <= 4 * DAY
    assert [at for at, _ in touches(ctx, lead) if START + 2 * HOUR < at < START + cool_off * DAY] == []
    assert custodian(ctx, lead) == ("track", "keep-warm")
    assert run_audit(ctx, until).ok


def test_who_compares_again_before_the_other_contract_ends_is_offered_to_sales(sqlite_db: Database) -> None:
    ctx = publish_recipe(sqlite_db, "closed-lost", START - HOUR)
    lead = give_back(ctx, "ann", "bought-elsewhere")
    last = START + 285 * DAY
    live(ctx, START + 2 * HOUR, last)
    assert [email for _, email in mailed(ctx, "closed-lost")[lead]][-1] == "03-before-you-renew"
    clicked = signals.build_reported_signal(lead, SignalKind.CLICKED, "03-before-you-renew", last, last)
    signals.record(ctx, [clicked._replace(step="03-before-you-renew", value=None)], last)
    live(ctx, last, last + 3 * DAY)  # it was a Saturday
    assert rows(ctx, "offer")[-1].handoff_reason == "bought elsewhere, and compares again"


class Customers:
    """Three customers who bought on the same day."""

    def __init__(self, ctx: AppContext) -> None:
        self.ctx = ctx
        self.uses, self.silent, self.done = (self.add(name) for name in ("ann", "ben", "kim"))

    def add(self, name: str) -> int:
        account(self.ctx, name, f"{name}.example", "olga", "customer")
        lead = receive(self.ctx, name, START, started_on=START.date(), onboarded="no")
        close_lead(self.ctx, lead, Closing.WON, START)
        return lead


def test_new_customers_get_what_fits_their_use_and_the_owner_of_the_account_if_they_do_not_use_it(db: Database) -> None:
    ctx = publish_recipe(db, "onboarding", START - HOUR, OWNER)
    three = Customers(ctx)
    uses = [(START + days * DAY, does(ctx, three.uses, SignalKind.USED)) for days in (1, 9)]
    done = (START + 6 * DAY, receives(ctx, "kim", started_on=START.date(), onboarded="yes"))
    now = START + 10 * DAY
    live(ctx, START, now, *uses, done)
    while not rows(ctx, "offer"):
        live(ctx, now, now + HOUR)
        now += HOUR
    responses.accept(ctx, rows(ctx, "offer")[0].id, now)
    live(ctx, now, START + 60 * DAY)
    found = mailed(ctx, "onboarding")
    assert [email for _, email in found[three.uses]] == ["01-welcome", "02-first-list", "03-warnings", "04-first-month"]
    assert [email for _, email in found[three.silent]] == ["01-welcome", "02-need-a-hand", "03-warnings"]
    assert [email for day, email in found[three.done] if day > START.date() + 6 * DAY] == []
    assert {day for day, _ in (one[0] for one in found.values())} == {date(2026, 2, 2)}
    assert [(offer.lead_id, offer.rep) for offer in rows(ctx, "offer")] == [(three.silent, "olga")]
    assert now < START + 15 * DAY
    assert custodian(ctx, three.uses) == custodian(ctx, three.done) == ("resting", "customer")
    goals = {row.lead_id for row in rows(ctx, "enrollment") if row.end_reason == "goal"}
    assert goals == {three.done}
    assert run_audit(ctx, START + 60 * DAY).ok


def test_the_policy_that_keeps_everybody_closes_nobody(sqlite_db: Database) -> None:
    ctx = publish_recipe(sqlite_db, "keep-everybody", START - HOUR)
    leads = [receive(ctx, "ann", START), receive(ctx, "ben", START)]
    with ctx.database.write() as tx:
        tx.exec_driver_sql("""UPDATE lead SET fields = '{"employees": 5, "title": "Student", "company": "A"}'""")
    live(ctx, START, START + HOUR)
    assert [custodian(ctx, lead) for lead in leads] == [("track", "keep-warm")] * 2
