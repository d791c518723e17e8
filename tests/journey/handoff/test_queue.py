"""Test which leads wait for a rep, how long, and that no rep exceeds their capacity."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.journey.handoff import follow_up, queue, responses
from nurture.journey.tracks import enroll
from nurture.reporting import explain
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import (
    add_leads,
    custody,
    due_at,
    events,
    messages,
    one,
    record_signal,
    recorded_statements,
    rows,
    worker_context,
    write,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FRIDAY = datetime(2026, 1, 9, 8, tzinfo=UTC)
BUSINESS_HOURS = 'business_hours: {zone: UTC, hours: "monday to friday 09:00-17:00"}\n'
PRIORITY = "priority: {hot: [ready], aging_interval: 1 day}\n"


def _policy(more: str = "", **changed: str) -> dict[str, str]:
    rules = sample_rules()
    policy = rules["sales/policy.yaml"] + more
    for old, new in changed.items():
        policy = policy.replace(old.replace("_", " "), new)
    rules["sales/policy.yaml"] = policy
    return rules


def _capacity(policy: dict[str, str], written: str) -> dict[str, str]:
    text = policy["sales/policy.yaml"].replace("capacity: 5", written)
    return policy | {"sales/policy.yaml": text}


def _offer_counts(ctx: AppContext) -> Counter[str]:
    return Counter(rep for (rep,) in rows(ctx, "SELECT rep FROM offer"))


def test_two_workers_at_once_exceed_no_capacity(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    add_leads(ctx, 60, demo_requested=True)
    enroll.classify(ctx, START)
    workers = [worker_context(ctx) for _ in range(2)]
    together = Barrier(len(workers))

    def offer(worker: AppContext) -> None:
        together.wait()
        queue.offer_all(worker, START)

    with ThreadPoolExecutor(len(workers)) as pool:
        list(pool.map(offer, workers))
    for worker in workers:
        worker.database.close()
    assert _offer_counts(ctx) == {"ana": 5, "ben": 5}
    assert one(ctx, "SELECT count(*) FROM custody WHERE kind = 'queue' AND ref = 'hand-off'") == 50


def test_work_in_hand_keeps_leads_waiting_until_something_is_done(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_context(sqlite_db, tmp_path, rules=_capacity(_policy(), "capacity: 50, max_open_leads: 2"))
    leads = add_leads(ctx, 6, demo_requested=True)
    run_at(ctx, START)
    assert _offer_counts(ctx) == {"ana": 2, "ben": 2}
    responses.accept(ctx, 1, START + HOUR)
    run_at(ctx, START + HOUR)
    assert _offer_counts(ctx).total() == 4, "what was taken over and not followed up is in hand"
    follow_up.record_follow_up(ctx, leads[0], "call", START + 2 * HOUR)
    run_at(ctx, START + 2 * HOUR)
    assert _offer_counts(ctx) == {"ana": 3, "ben": 2}
    responses.reject(ctx, 2, "bad-fit", START + 3 * HOUR)
    run_at(ctx, START + 3 * HOUR)
    assert _offer_counts(ctx) == {"ana": 3, "ben": 3}


def test_hot_leads_jump_the_queue_and_long_waits_come_before_late_arrivals(sqlite_db: Database, tmp_path: Path) -> None:
    rules = _policy("priority: {hot: [replied], aging_interval: 1 day}\n")
    ctx = make_context(sqlite_db, tmp_path, rules=_capacity(rules, "capacity: 1"))
    early = add_leads(ctx, 4, demo_requested=True)
    run_at(ctx, START)
    replies = add_lead(ctx, title="Head")
    late = add_leads(ctx, 2, at=START + HOUR, demo_requested=True)
    run_at(ctx, START + HOUR)
    record_signal(ctx, replies, SignalKind.REPLIED, START + 2 * HOUR)
    run_at(ctx, *(START + days * DAY for days in (1, 2, 3)))
    offered = [lead for (lead,) in rows(ctx, "SELECT lead_id FROM offer ORDER BY id")]
    assert offered == [early[0], early[1], replies, early[2], early[3], *late]
    hot, priority = rows(ctx, "SELECT hot, priority FROM offer WHERE lead_id = :id", id=replies)[0]
    assert (bool(hot), priority >= 30) == (True, True)


def test_a_thousand_leads_at_once_are_paced_over_the_days(sqlite_db: Database, tmp_path: Path) -> None:
    reps = "".join(f"  - {{id: r{n}, name: R{n}, email: r{n}@house.example, capacity: 5}}\n" for n in range(12))
    rules = _policy()
    text = rules["sales/policy.yaml"]
    old = text[text.index("  - {id: ana") : text.index("accept_within")]
    rules["sales/policy.yaml"] = text.replace(old, reps).replace("accept_within: 1 day", "accept_within: 40 days")
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace("owner: ana", "owner: r0")
    ctx = make_context(sqlite_db, tmp_path, rules=rules)
    add_leads(ctx, 1_000, demo_requested=True)
    enroll.classify(ctx, START)
    for day in range(17):
        queue.offer_all(ctx, START + day * DAY)
        queue.offer_all(ctx, START + day * DAY + HOUR)
    per_day = rows(ctx, "SELECT substr(offered_at, 1, 10), rep, count(*) FROM offer GROUP BY 1, 2")
    assert max(count for _, _, count in per_day) == 5
    assert [day for day, count in sorted(Counter(day for day, _, _ in per_day).items())] == [
        f"{START + day * DAY:%Y-%m-%d}" for day in range(17)
    ]
    assert one(ctx, "SELECT count(*) FROM offer") == 1_000


def test_checking_full_reps_again_costs_the_same_however_many_wait(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_context(sqlite_db, tmp_path)
    costs = []
    for count, day in ((20, 0), (400, 1)):
        add_leads(ctx, count, at=START + day * DAY, demo_requested=True)
        enroll.classify(ctx, START + day * DAY)
        queue.offer_all(ctx, START + day * DAY)
        write(ctx, "UPDATE custody SET due_at = since, version = version + 1 WHERE kind = 'queue'")
        with recorded_statements(ctx.database) as statements:
            queue.offer_all(ctx, START + day * DAY + HOUR)
        costs.append(len(statements))
    assert costs[0] == costs[1] <= 12


def test_leads_of_the_weekend_count_for_monday(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_context(sqlite_db, tmp_path, FRIDAY, _policy(BUSINESS_HOURS))
    closed = FRIDAY + 10 * HOUR
    add_leads(ctx, 40, at=FRIDAY, demo_requested=True)
    run_at(ctx, FRIDAY, closed)
    assert _offer_counts(ctx) == {"ana": 5, "ben": 5}
    monday = FRIDAY + 3 * DAY
    run_at(ctx, monday + HOUR / 2)
    assert _offer_counts(ctx).total() == 10
    run_at(ctx, monday + HOUR, monday + 2 * HOUR)
    assert _offer_counts(ctx) == {"ana": 10, "ben": 10}


def test_out_of_hours_only_hot_leads_are_offered(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_context(sqlite_db, tmp_path, START, _policy(BUSINESS_HOURS + "priority: {hot: [replied]}\n"))
    night = START + 12 * HOUR
    cold, hot = add_lead(ctx, demo_requested=True, at=night), add_lead(ctx, title="Head", at=START)
    run_at(ctx, START)
    record_signal(ctx, hot, SignalKind.REPLIED, night)
    run_at(ctx, night)
    assert (custody(ctx, cold)[0], custody(ctx, hot)[0]) == ("queue", "offer")
    assert due_at(ctx, cold) == START + DAY + HOUR
    run_at(ctx, START + DAY + HOUR)
    assert custody(ctx, cold)[0] == "offer"


def test_the_journal_says_once_that_a_lead_waits(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_context(sqlite_db, tmp_path, rules=_capacity(_policy(), "capacity: 1"))
    leads = add_leads(ctx, 8, demo_requested=True)
    run_at(ctx, *(START + days * DAY / 2 for days in range(4)))
    assert events(ctx, leads[-1]).count("held") == 1
    assert explain.explain(ctx, leads[-1], START + 2 * DAY).next_action.startswith("waits for capacity, expected at")


def test_tracks_hold_their_calls_to_action_back_while_reps_are_full(sqlite_db: Database, tmp_path: Path) -> None:
    rules = _capacity(_policy("priority: {hold_calls_to_action_at: 90%}\n"), "capacity: 1")
    hello = "tracks/welcome/01-hello.md"
    rules[hello] = rules[hello].replace("---\nHello", "call_to_action: yes\n---\nHello")
    ctx = make_context(sqlite_db, tmp_path, rules=rules)
    add_leads(ctx, 4, demo_requested=True)
    run_at(ctx, START)
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START + HOUR, START + 2 * HOUR)
    assert messages(ctx) == []
    hold = explain.explain(ctx, lead, START + 2 * HOUR).hold
    assert (hold.guard, hold.until) == ("reps_full", START.replace(hour=0) + 2 * DAY)
    assert due_at(ctx, lead) == hold.until
    run_at(ctx, START + DAY, START + 2 * DAY, START + 2 * DAY + 2 * HOUR)
    assert [row[1] for row in messages(ctx)] == ["01-hello"]


def test_a_reject_reason_may_allow_the_same_rep_again_and_suppress(sqlite_db: Database, tmp_path: Path) -> None:
    rules = _policy()
    policy = rules["sales/policy.yaml"].replace(
        "cool_off: 7 days}\n  bad", "cool_off: 7 days, not_same_rep: no}\n  bad"
    )
    policy = policy.replace("label: Nothing for them,", "label: Nothing for them, suppress: yes,")
    policy = "\n".join(line for line in policy.split("\n") if "id: ben" not in line)
    ctx = make_context(sqlite_db, tmp_path, rules=rules | {"sales/policy.yaml": policy})
    lead = add_lead(ctx, title="Head", demo_requested=True)
    run_at(ctx, START)
    responses.reject(ctx, 1, "wrong-person", START + HOUR)
    record_signal(ctx, lead, SignalKind.REPLIED, START + 8 * DAY)
    run_at(ctx, START + 8 * DAY)
    assert one(ctx, "SELECT rep FROM offer WHERE id = 2") == "ana"
    responses.reject(ctx, 2, "bad-fit", START + 8 * DAY + HOUR)
    assert one(ctx, "SELECT source FROM suppression") == "admin"
    assert custody(ctx, lead) == ("closed", "discarded")
