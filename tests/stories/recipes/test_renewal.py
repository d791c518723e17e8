"""Recipe: the renewal of customers. Each mail hangs on the contract's end; the unhappy get a person instead."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final

import pytest

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.journey.handoff import responses
from nurture.reporting.audit import run_audit
from nurture.runtime.context import AppContext
from tests.journey.builders import close_lead
from tests.journey.routing.test_router import account
from tests.stories.recipes.recipe import mailed, publish_recipe, receive, receives
from tests.stories.world import custodian, live, rows, touches

START = datetime(2026, 2, 2, 8, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CUSTOMERS: Final = 20
RENEWED, RED, RECOVERS, YELLOW = 5, 9, 12, 15
OWNER: Final = "olga"
TEAM: Final = {
    "managers": "  - {id: olga, name: Olga Weiss, email: olga@larkfield.example, capacity: 8, manager: lena}",
    "routing": "  everyone: {reps: [mara, tomas, yuki]}",
    "on_expiry": "  settled: {label: Settled with the customer, then: resume}",
}
"""Olga looks after customers; the others sell to new ones."""

MAILS: Final = {
    "01-year-in-numbers": 90,
    "02-story": 60,
    "03-terms": 30,
    "04-next-plan": 20,
    "05-last-notice": 7,
}


@pytest.fixture
def ctx(db: Database) -> AppContext:
    return publish_recipe(db, "renewal", START, TEAM)


def ends_on(number: int) -> date:
    """Return the end of a contract; twenty of them are spread over a year."""
    return START.date() + (97 + 18 * number) * DAY


def become_customer(ctx: AppContext, number: int) -> int:
    name = f"customer{number}"
    account(ctx, name, f"{name}.example", OWNER, "customer")
    lead = receive(ctx, name, START, contract_ends=ends_on(number), account_health="green")
    close_lead(ctx, lead, Closing.WON, START)
    return lead


def last_sending_day(day: date) -> date:
    """Return *day*, or the Friday before it if it is on a weekend."""
    return day - max(0, day.weekday() - 4) * DAY


def on_days(ends: date, *emails: str) -> list[tuple[date, str]]:
    return [(last_sending_day(ends - MAILS[email] * DAY), email) for email in emails or MAILS]


def test_a_year_of_twenty_contracts_sends_each_mail_on_its_day_and_none_to_renewed_or_unhappy_customers(
    ctx: AppContext,
) -> None:
    leads = [become_customer(ctx, number) for number in range(CUSTOMERS)]
    ends = {lead: ends_on(number) for number, lead in enumerate(leads)}
    renewed, red, recovers, yellow = (leads[number] for number in (RENEWED, RED, RECOVERS, YELLOW))

    def at(lead: int, days: int) -> datetime:
        return datetime.combine(ends[lead] - days * DAY, START.time(), UTC)

    def answer(lead: int, code: str | None) -> Callable[[datetime], object]:
        def answers(now: datetime) -> None:
            (offer,) = [row.id for row in rows(ctx, "offer") if row.lead_id == lead]
            if code is None:
                responses.accept(ctx, offer, now)
            else:
                responses.reject(ctx, offer, code, now)

        return answers

    until = START + 460 * DAY
    live(
        ctx,
        START,
        until,
        (at(renewed, 40), receives(ctx, f"customer{RENEWED}", contract_ends=ends[renewed] + 365 * DAY)),
        (at(red, 97), receives(ctx, f"customer{RED}", account_health="red")),
        (at(red, 97) + 2 * HOUR, answer(red, None)),
        (at(recovers, 72), receives(ctx, f"customer{RECOVERS}", account_health="red")),
        (at(recovers, 72) + 2 * HOUR, answer(recovers, "settled")),
        (at(recovers, 40), receives(ctx, f"customer{RECOVERS}", account_health="green")),
        (at(yellow, 50), receives(ctx, f"customer{YELLOW}", account_health="yellow")),
    )
    found = mailed(ctx, "renewal")
    for lead in set(leads) - {renewed, red, recovers, yellow}:
        assert found[lead] == on_days(ends[lead]), lead
        assert custodian(ctx, lead) == ("resting", "customer")
    assert found[renewed] == on_days(ends[renewed], "01-year-in-numbers", "02-story")
    assert red not in found
    assert found[recovers] == on_days(ends[recovers], *(email for email in MAILS if email != "02-story"))
    assert [email for _, email in found[yellow]] == [
        "04-proof-and-a-talk" if email == "04-next-plan" else email for email in MAILS
    ]
    assert len(touches(ctx)) == sum(len(mails) for mails in found.values())
    offers = {(offer.lead_id, offer.offered_at.date(), offer.rep) for offer in rows(ctx, "offer")}
    assert offers == {(red, ends[red] - 97 * DAY, OWNER), (recovers, ends[recovers] - 72 * DAY, OWNER)}
    briefs = {(row.lead_id, row.accepted_at.date()) for row in rows(ctx, "message") if row.kind == "brief"}
    assert briefs == {(lead, day) for lead, day, _ in offers}
    assert custodian(ctx, recovers) == ("resting", "customer")
    assert run_audit(ctx, until).ok
