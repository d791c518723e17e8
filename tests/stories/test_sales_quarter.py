"""Sixty days of a sales team with managers: who ignores, is late, works in the CRM only, gives back, or is on leave.

`STORY_LEADS=1000` tells the same story of a thousand leads, in minutes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from nurture.crm.base import RemoteRecord
from nurture.domain.signals import SignalKind
from nurture.journey.crm_sync import push
from nurture.journey.handoff import follow_up, responses, roster
from nurture.journey.handoff.cover import Cover
from nurture.journey.handoff.waiting.decisions import Decision, DecisionKind, decide_waiting
from nurture.journey.handoff.waiting.lists import load_waiting
from nurture.reporting.audit import run_audit
from nurture.reporting.queues import report_queues
from nurture.runtime.context import AppContext
from tests.doubles.crm import ScriptedCrm
from tests.journey.builders import run_at, sample_rules
from tests.journey.observe import add_leads, record_signal, write
from tests.stories.test_sales_month import _chance
from tests.stories.world import context_in_memory, rows

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
"""A Monday, when business hours begin."""

DAY = timedelta(days=1)
DAYS, LEADS = 60, int(os.environ.get("STORY_LEADS", "90"))
REPS = tuple(f"rep{number:02}" for number in range(12))
CRM_REPS = ("rep00", "rep05", "rep10")
"""They never open a page of ours: what they do stands in their CRM."""

MANAGERS = ("lena", "omar", "pia")
HOURS = (time(9), time(10), time(12), time(14), time(16))
GIVE_BACK = ("not-now", "wrong-person", "please-check")

_REP = "  - {{id: {0}, name: {0}, email: {0}@house.example, capacity: {1}, manager: {2}}}"
_TEAM = "\n".join(_REP.format(rep, max(LEADS // 150, 1), MANAGERS[n % 3]) for n, rep in enumerate(REPS))
_MANAGERS = "".join(f"  - {{id: {one}, name: {one}, email: {one}@house.example}}\n" for one in MANAGERS)
PEOPLE = f"""
business_hours: {{zone: UTC, hours: "monday to friday 09:00-17:00"}}
managers:
{_MANAGERS}reps:
{_TEAM}
sla:
  accept: {{remind: 2 business hours, escalate: 4 business hours, take_back: 8 business hours, reroute: 1}}
  follow_up: {{remind: 1 business day, escalate: 2 business days, take_back: 3 business days}}
tiers:
  - {{name: demo, rules: [ready], accept: {{remind: 30 business minutes, escalate: 1 business hour,
     take_back: 4 business hours, reroute: 2}}}}
priority: {{hot: [ready, replied], aging_interval: 1 day}}
queues:
  manager-decision: {{owner: lena, within: 8 business hours, deputy: omar}}
  hand-off: {{owner: omar, within: 2 business days, deputy: pia}}
  others: {{owner: pia, within: 2 business days, deputy: lena}}
"""


@pytest.fixture
def crm() -> ScriptedCrm:
    return ScriptedCrm(batch_size=500)


@pytest.fixture
def ctx(crm: ScriptedCrm) -> Iterator[AppContext]:
    rules = sample_rules() | {"sales/crm.yaml": "statuses: {Working: followed up, Later: {recycled: not-now}}\n"}
    policy = rules["sales/policy.yaml"]
    old = policy[policy.index("reps:") : policy.index("accept_within")]
    queues = next(line for line in policy.splitlines(keepends=True) if line.startswith("queues:"))
    policy = policy.replace(old, PEOPLE.lstrip("\n")).replace(queues, "")
    rules["sales/policy.yaml"] = policy.replace("one_rep_per_company: no", "one_rep_per_company: 30 days")
    made = context_in_memory(START, rules, crm=crm)
    yield made
    made.database.close()


def _reps_act(ctx: AppContext, now: datetime) -> None:
    """Let each rep act: a hash of the hand-off decides, so the result is the same every time."""
    for offer in rows(ctx, "offer"):
        if offer.rep in CRM_REPS:
            continue
        if offer.state == "offered" and _chance(offer.lead_id, "ignored") > 0.2 and _chance(offer.id, now) < 0.5:
            if _chance(offer.id, "likes") < 0.6:
                responses.accept(ctx, offer.id, now)
            else:
                responses.reject(ctx, offer.id, GIVE_BACK[int(3 * _chance(offer.id, "why"))], now)
        elif offer.state == "accepted" and offer.followed_up_at is None and _chance(offer.id, "lazy") > 0.3:
            follow_up.record_follow_up(ctx, offer.lead_id, "call", now)
            if _chance(offer.id, "regrets") < 0.3:
                responses.reject(ctx, offer.id, "not-now", now, note="wants to read first")


def _work_in_the_crm(ctx: AppContext, crm: ScriptedCrm, now: datetime) -> None:
    """Let reps who have only the CRM set a status there: it accepts an offer, is a contact, or gives the lead back."""
    changed = []
    for offer in rows(ctx, "offer"):
        if offer.rep not in CRM_REPS or offer.state not in ("offered", "accepted") or _chance(offer.id, now) > 0.4:
            continue
        status = "Later" if offer.state == "accepted" and _chance(offer.id, "later") < 0.3 else "Working"
        handoff = push.handoff_key(ctx, offer.id)
        one = RemoteRecord(push.lead_key(ctx, offer.lead_id), "1", now, handoff, offer.state, status, touched_at=now)
        changed.append(replace(one, owner=f"{offer.rep}@house.example"))
    crm.records |= {one.key: one for one in changed}
    crm.pages.append(changed)


def _managers_act(ctx: AppContext, now: datetime) -> None:
    """Let managers decide about some of what waits; others wait for too long."""
    with ctx.database.read() as tx:
        policy = ctx.definitions.current(tx).policy
        found = load_waiting(tx, policy, ctx.holidays, now, person=None, limit=LEADS)
    for lead in found.leads:
        if lead.queue in ("manager-decision", "needs-a-look") and _chance(lead.lead_id, now, "decides") < 0.15:
            kind = list(DecisionKind)[int(3 * _chance(lead.lead_id, "kind"))]
            rep = REPS[int(12 * _chance(lead.lead_id, now, "rep"))]
            decide_waiting(ctx, lead.lead_id, Decision(kind, "lena", rep, "seen by a person"), now)


def _times() -> Iterator[datetime]:
    for day in range(DAYS):
        on = START.date() + timedelta(days=day)
        yield from (datetime.combine(on, hour, UTC) for hour in HOURS if on.weekday() < 5 or hour == HOURS[0])


def _whoever_waits_too_long_is_known_to_somebody(ctx: AppContext, now: datetime) -> int:
    """Assert that each late lead was listed to its owner or deputy since it entered its queue; return how many are."""
    with ctx.database.read() as tx:
        policy = ctx.definitions.current(tx).policy
        found = load_waiting(tx, policy, ctx.holidays, now, person=None, limit=LEADS)
        cover = Cover.load(tx, policy, now)
    mails = [row for row in rows(ctx, "message") if row.kind == "waiting" and row.accepted_at is not None]
    late = [one for one in found.leads if found.is_late(one)]
    for one in late:
        rule = policy.queues.rule_for(one.queue)
        assert rule is not None
        whom = {*rule.recipients(late=True), *cover.recipients(rule, late=True)}
        assert any(mail.rep in whom and one.entered_at <= mail.planned_at <= now for mail in mails), one
    return len(late)


def _only_people_send_hot_leads_to_tracks(ctx: AppContext, hot: set[int]) -> int:
    """Assert that each move of a hot lead from sales to a track was a person's decision; return how many were."""
    answered = {(one.lead_id, one.ended_at or one.answered_at) for one in rows(ctx, "offer") if one.state == "rejected"}
    handed_off: set[int] = set()
    moves = 0
    for line in rows(ctx, "journal"):
        if line.event == "hand_off":
            handed_off.add(line.lead_id)
        is_from_sales = line.custody_from in ("queue", "offer", "rep")
        if line.custody_to != "track" or line.lead_id not in hot & handed_off or not is_from_sales:
            continue
        is_decided = line.reason.startswith("lena decided")
        assert is_decided or (line.lead_id, line.at) in answered, line
        moves += 1
    return moves


def _arrive(ctx: AppContext) -> list[int]:
    """Add the leads of six weeks: most asked for a demo, some reply. Three weeks after each, a colleague comes."""
    found: list[int] = []
    for week in range(6):
        found += add_leads(ctx, LEADS // 6, at=START + 7 * week * DAY, demo_requested=week % 3 < 2, title="Head")
    mail = f"'p' || id || '@c' || (id % {len(found) // 2}) || '.example'"
    write(ctx, f"UPDATE address SET email = {mail}, normalized = {mail}")
    return found


def _every_lead_with_a_rep_has_a_next_touch(ctx: AppContext, now: datetime) -> int:
    """Assert that each lead of a rep is due at some time, and not long ago; return how many there are."""
    held = [row for row in rows(ctx, "custody") if row.kind == "rep"]
    for row in held:
        assert row.due_at is not None, row
        assert row.due_at > now - 3 * DAY, row
        assert row.next_action, row
    return len(held)


def _two_people_of_a_company_have_one_rep(ctx: AppContext) -> int:
    """Assert that no second rep was offered a lead of a company within 30 days; return how often it counted.

    Unless a person gave it to that rep, or the rep is the deputy of the first or has another of the company to answer.
    """
    company = {row.id: row.address_id % (LEADS // 6 * 3) for row in rows(ctx, "lead")}
    offers = rows(ctx, "offer")
    shared = 0
    for one in offers:
        talks = [
            each
            for each in offers
            if company[each.lead_id] == company[one.lead_id]
            and each.lead_id != one.lead_id
            and each.state in ("accepted", "rejected", "lapsed")
            and each.answered_at is not None
            and each.answered_at < one.offered_at <= _end(each, one.offered_at) + 30 * DAY
        ]
        if talks:
            shared += 1
            excused = "lena gave it to" in one.routing_reason or "is the deputy" in one.routing_reason
            same = [each for each in offers if company[each.lead_id] == company[one.lead_id]]
            excused = excused or any(
                each.rep == one.rep
                and each.lead_id != one.lead_id
                and each.offered_at <= one.offered_at <= (each.answered_at or each.ended_at or one.offered_at)
                for each in same
            )
            assert one.rep in {talk.rep for talk in talks} or excused, (
                one.id,
                *map(_describe, same),
                one.routing_reason,
            )
    return shared


def _describe(offer: Any) -> str:
    times = (offer.offered_at, offer.answered_at, offer.ended_at)
    seen = " ".join(f"{at:%d.%m.%H:%M}" if at else "-" for at in times)
    return f"{offer.id}: lead {offer.lead_id} to {offer.rep}, {offer.state}, {seen}"


def _end(offer: Any, now: datetime) -> datetime:
    """Return when a talk ended: *now* if it did not."""
    return offer.ended_at or (offer.answered_at if offer.state == "rejected" else now)


def test_in_sixty_days_no_hot_lead_is_lost_and_nobody_waits_unknown(ctx: AppContext, crm: ScriptedCrm) -> None:
    leads = _arrive(ctx)
    roster.add_leave(ctx, "rep03", date(2026, 1, 12), date(2026, 1, 23), "rep04", START)
    roster.add_leave(ctx, "rep07", date(2026, 1, 19), date(2026, 1, 21), None, START)
    roster.add_leave(ctx, "lena", date(2026, 1, 26), date(2026, 2, 6), "omar", START)
    late = touched = 0
    for now in _times():
        for lead in leads if now.time() == HOURS[1] else ():
            if _chance(lead, now.date(), "replies") < 0.01:
                record_signal(ctx, lead, SignalKind.REPLIED, now)
        run_at(ctx, now)
        late += _whoever_waits_too_long_is_known_to_somebody(ctx, now)
        touched += _every_lead_with_a_rep_has_a_next_touch(ctx, now)
        if now.weekday() < 5:
            _reps_act(ctx, now + timedelta(minutes=20))
            _work_in_the_crm(ctx, crm, now + timedelta(minutes=20))
            _managers_act(ctx, now + timedelta(minutes=40))
    hot = {row.lead_id for row in rows(ctx, "queue_priority") if row.hot}
    assert _only_people_send_hot_leads_to_tracks(ctx, hot) > 3
    assert late > 0, "nobody waited for too long: the story tells nothing"
    assert touched > 0
    assert _two_people_of_a_company_have_one_rep(ctx) > 0
    _print_figures(ctx, now, late)
    assert {one.queue for one in report_queues(ctx, now, DAYS * DAY) if one.left} >= {"hand-off", "manager-decision"}
    assert [one.kind for one in run_audit(ctx, now).findings if one.is_violation] == []
    in_crm = Counter(offer.state for offer in rows(ctx, "offer") if offer.rep in CRM_REPS and offer.followed_up_at)
    assert in_crm["accepted"] > 0
    assert in_crm["rejected"] > 0
    states = {offer.state for offer in rows(ctx, "offer")}
    assert states >= {"accepted", "rejected", "expired"}
    _every_lead_has_one_custodian(ctx)


def _print_figures(ctx: AppContext, now: datetime, late: int) -> None:
    """Print what a sales leader asks about these days; pytest shows it with -s."""
    print(f"\n{len(rows(ctx, 'lead'))} leads, {len(REPS)} reps, {len(MANAGERS)} managers, {DAYS} days")
    print("offers:", dict(Counter(offer.state for offer in rows(ctx, "offer"))))
    print("leads are now:", dict(Counter(row.kind for row in rows(ctx, "custody"))))
    print(f"waited too long, counted at each of the day's times, and always listed to somebody: {late}")
    print("two people of a company with sales at once:", _two_people_of_a_company_have_one_rep(ctx))
    for queue in report_queues(ctx, now, DAYS * DAY):
        print(f"  {queue.queue}: {queue.left} left, median {queue.median_hours} hours, {queue.late} late")


def _every_lead_has_one_custodian(ctx: AppContext) -> None:
    keeper: dict[int, Any] = {}
    for line in rows(ctx, "journal"):
        if line.custody_to is not None:
            assert line.custody_from == keeper.get(line.lead_id)
            keeper[line.lead_id] = line.custody_to
    assert keeper == {row.lead_id: row.kind for row in rows(ctx, "custody")}
