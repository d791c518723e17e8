"""A month of a sales team: a thousand leads at once, reps who accept, reject, ignore and go on leave."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from typing import Any

import pytest

from nurture.domain.lead import Closing
from nurture.journey.handoff import follow_up, responses, roster
from nurture.reporting.audit import run_audit
from nurture.runtime.context import AppContext
from tests.journey.builders import close_lead, run_at, sample_rules
from tests.journey.observe import add_leads, one
from tests.reporting.daily_ledger import ledger_by_day
from tests.stories.world import context_in_memory, rows

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
"""A Monday, when business hours begin."""

DAY = timedelta(days=1)
DAYS, LEADS, CAPACITY, MAX_OPEN_LEADS = 30, 1_000, 5, 12
REPS = tuple(f"rep{number:02}" for number in range(12))
HOURS = (time(9), time(15))
REJECTS = ("not-now", "wrong-person", "bad-fit", "please-check")

_REP = "  - {{id: {0}, name: {0}, email: {0}@house.example, capacity: {1}, max_open_leads: {2}, manager: lena}}"
_TEAM = "\n".join(_REP.format(rep, CAPACITY, MAX_OPEN_LEADS) for rep in REPS)
PEOPLE = f"""
business_hours: {{zone: UTC, hours: "monday to friday 09:00-17:00"}}
managers: [{{id: lena, name: Lena, email: lena@house.example}}]
reps:
{_TEAM}
sla:
  accept: {{remind: 2 business hours, escalate: 4 business hours, take_back: 8 business hours, reroute: 2}}
  follow_up: {{remind: 1 business day, escalate: 2 business days, take_back: 3 business days}}
priority: {{hot: [replied], aging_interval: 1 day, hold_calls_to_action_at: 90%}}
"""


def _chance(*occasion: object) -> float:
    return int.from_bytes(sha256(repr(occasion).encode()).digest()[:6], "big") / 2**48


@pytest.fixture
def ctx() -> Iterator[AppContext]:
    rules = sample_rules()
    policy = rules["sales/policy.yaml"]
    old = policy[policy.index("reps:") : policy.index("accept_within")]
    rules["sales/policy.yaml"] = policy.replace(old, PEOPLE.lstrip("\n")).replace("owner: ana", "owner: lena")
    made = context_in_memory(START, rules)
    yield made
    made.database.close()


def _live(ctx: AppContext, now: datetime) -> None:
    """Let each rep act: a hash of the hand-off decides, so the result is the same every time."""
    for offer in rows(ctx, "offer"):
        if offer.state == "offered" and _chance(offer.id, "ignores") > 0.35 and _chance(offer.id, now) < 0.6:
            if _chance(offer.id, "likes") < 0.5:
                responses.accept(ctx, offer.id, now)
            else:
                responses.reject(ctx, offer.id, REJECTS[int(4 * _chance(offer.id, "why"))], now)
        elif offer.state == "accepted" and offer.followed_up_at is None and _chance(offer.id, "lazy") > 0.4:
            follow_up.record_follow_up(ctx, offer.lead_id, "call", now)
        elif offer.followed_up_at == now - DAY and _chance(offer.id, "ends") < 0.2:
            close_lead(ctx, offer.lead_id, Closing.LOST, now, reason="no decision")


def _times() -> Iterator[datetime]:
    for day in range(DAYS):
        on = START.date() + timedelta(days=day)
        yield from (datetime.combine(on, hour, UTC) for hour in HOURS if on.weekday() < 5 or hour == HOURS[-1])


def _most_open_leads(ctx: AppContext) -> int:
    wanted = (
        "SELECT max(held) FROM (SELECT count(*) AS held FROM offer WHERE state IN ('offered', 'accepted') "
        "AND followed_up_at IS NULL GROUP BY rep)"
    )
    most: int = one(ctx, wanted)
    return most


def test_a_month_of_a_thousand_leads_and_twelve_reps(ctx: AppContext) -> None:
    add_leads(ctx, LEADS, at=START, demo_requested=True, title="Head")
    roster.add_leave(ctx, "rep03", date(2026, 1, 12), date(2026, 1, 23), "rep04", START)
    roster.add_leave(ctx, "rep07", date(2026, 1, 19), date(2026, 1, 21), None, START)
    for now in _times():
        run_at(ctx, now)
        assert _most_open_leads(ctx) <= MAX_OPEN_LEADS
        _live(ctx, now + timedelta(minutes=30))
        if (now.time(), now.weekday()) == (HOURS[-1], 4):
            assert [finding.kind for finding in run_audit(ctx, now).findings if finding.is_violation] == []
    days = ledger_by_day(ctx, START.date(), START.date() + (DAYS - 1) * DAY)
    assert [(day.leads, day.residual) for day in days] == [(LEADS, 0)] * DAYS
    _nobody_was_ever_without_a_custodian(ctx)
    offers = rows(ctx, "offer")
    _no_rep_got_more_than_fits(offers)
    _every_hand_off_ends_in_a_state(offers)
    _who_was_never_offered_waits_and_knows_until_when(ctx, {offer.lead_id for offer in offers})


def _nobody_was_ever_without_a_custodian(ctx: AppContext) -> None:
    """Follow each lead through the journal: every release of custody names the next custodian, at the same time."""
    keeper: dict[int, str] = {}
    for line in rows(ctx, "journal"):
        if line.custody_to is None:
            continue
        assert line.custody_from == keeper.get(line.lead_id)
        keeper[line.lead_id] = line.custody_to
    assert keeper == {row.lead_id: row.kind for row in rows(ctx, "custody")}
    assert len(keeper) == LEADS


def _who_was_never_offered_waits_and_knows_until_when(ctx: AppContext, offered: set[int]) -> None:
    waiting = {row.lead_id: row for row in rows(ctx, "custody") if row.lead_id not in offered}
    assert len(offered) > LEADS / 2
    assert all((row.kind, row.ref) == ("queue", "hand-off") for row in waiting.values())
    assert all(row.due_at > START + timedelta(days=DAYS - 1) for row in waiting.values())
    assert not waiting or max(offered) < min(waiting), "somebody was overtaken who came first"


def _no_rep_got_more_than_fits(offers: list[Any]) -> None:
    given = Counter((offer.rep, offer.offered_at.date()) for offer in offers)
    assert max(given.values()) == CAPACITY
    assert all(day.weekday() < 5 for _, day in given), "offered on a weekend, though nothing was hot"
    away = {("rep03", date(2026, 1, 12) + timedelta(days=day)) for day in range(12)}
    assert not away & given.keys()


def _every_hand_off_ends_in_a_state(offers: list[Any]) -> None:
    states = Counter(offer.state for offer in offers)
    assert states.keys() >= {"accepted", "rejected", "expired", "lapsed"}
    ended = START + timedelta(days=DAYS)
    for offer in offers:
        if offer.state == "offered":
            assert offer.expires_at > ended - timedelta(days=3), "an offer outlived its SLA"
        if offer.state == "accepted" and offer.followed_up_at is None:
            assert offer.answered_at > ended - timedelta(days=7), "a lead outlived its SLA"
    rounds = defaultdict(set)
    for offer in offers:
        rounds[offer.lead_id].add(offer.rep)
    assert sum(len(offers_of) for offers_of in rounds.values()) == len(offers), "a rep had a lead twice"
