"""A policy is in force only after the approver that it names has approved it."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import InvalidState, NotFound
from nurture.journey.handoff import follow_up, responses
from nurture.publishing import approval
from nurture.publishing.approval import approve, list_versions
from nurture.publishing.publish import publish
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import all_rows, custody, one, rows

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
POLICY, WELCOME = "sales/policy.yaml", "tracks/welcome/track.yaml"
SAM = "Sam, sales"


@pytest.fixture
def ctx(sqlite_db: Database, tmp_path: Path) -> AppContext:
    return make_context(sqlite_db, tmp_path)


def changed(*edits: tuple[str, str], path: str = POLICY) -> dict[str, str]:
    rules = sample_rules()
    for old, new in edits:
        assert old in rules[path]
        rules[path] = rules[path].replace(old, new)
    return rules


LESS_CAPACITY = ("capacity: 5", "capacity: 1")


def list_offers(ctx: AppContext) -> list[tuple[int, int]]:
    """Return lead and policy version of every hand-off."""
    found = rows(ctx, "SELECT lead_id, policy_version FROM offer ORDER BY id")
    return [(lead, version) for lead, version in found]


def states_by_version(ctx: AppContext) -> dict[int, str]:
    return {each.version: each.state for each in list_versions(ctx)}


def test_the_first_policy_is_approved_by_the_approver_it_names(ctx: AppContext) -> None:
    (only,) = list_versions(ctx)
    assert (only.state, only.approver, only.approved_on, only.method) == ("in_force", SAM, date(2026, 1, 1), "first")


def test_a_changed_policy_is_pending_and_the_old_one_applies_until_approval(
    ctx: AppContext,
) -> None:
    publish(ctx, changed(LESS_CAPACITY), START)
    before = [add_lead(ctx, demo_requested=True) for _ in range(3)]
    run_at(ctx, START)
    assert list_offers(ctx) == [(lead, 1) for lead in before]
    assert states_by_version(ctx) == {2: "pending", 1: "in_force"}
    approval_record = approve(ctx, "sam", START + HOUR, date(2026, 1, 4))
    assert (approval_record.policy_version, approval_record.approved_by, approval_record.recorded_at) == (
        2,
        SAM,
        START + HOUR,
    )
    after = add_lead(ctx, demo_requested=True, at=START + DAY)
    run_at(ctx, START + DAY)
    assert list_offers(ctx)[-1] == (after, 2)
    second, first = list_versions(ctx)
    assert (second.state, second.approved_on, second.offers) == ("in_force", date(2026, 1, 4), 1)
    assert (first.state, first.offers) == ("superseded", 3)


def test_tracks_published_beside_a_pending_policy_are_in_force_at_once(ctx: AppContext) -> None:
    rules = changed(LESS_CAPACITY)
    rules[WELCOME] = rules[WELCOME].replace("after: 1 hour", "after: 2 hours")
    publish(ctx, rules, START)
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START)
    assert one(ctx, "SELECT max(track_version) FROM journal WHERE lead_id = :id", id=lead) == 2
    assert one(ctx, "SELECT max(policy_version) FROM journal WHERE lead_id = :id", id=lead) == 1


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        pytest.param(POLICY, "approved:", "# a note\napproved:", id="a comment"),
        pytest.param(POLICY, "on: 2026-01-01", "on: 2026-02-01", id="the day of its approval"),
        pytest.param("handoff/brief.md", "Hello ", "Dear ", id="the words of the brief"),
    ],
)
def test_a_policy_with_unchanged_content_needs_no_approval(ctx: AppContext, path: str, old: str, new: str) -> None:
    (change,) = publish(ctx, changed((old, new), path=path), START + DAY)
    assert (change.version, change.activation) == (2, "unchanged")
    newest, _ = list_versions(ctx)
    assert (newest.state, newest.approver, newest.approved_on) == ("in_force", SAM, date(2026, 1, 1))


def test_going_back_to_what_is_in_force_leaves_the_pending_version_unapproved(ctx: AppContext) -> None:
    publish(ctx, changed(LESS_CAPACITY), START)
    (change,) = publish(ctx, sample_rules(), START)
    assert (change.version, change.activation) == (3, "unchanged")
    assert states_by_version(ctx) == {3: "in_force", 2: "never_approved", 1: "superseded"}
    with pytest.raises(InvalidState, match="Version 2 of the policy is older than the one in force: version 3"):
        approve(ctx, SAM, START, version=2)


def test_an_approval_names_the_version_that_was_reviewed(ctx: AppContext) -> None:
    publish(ctx, changed(LESS_CAPACITY), START)
    publish(ctx, changed(("capacity: 5", "capacity: 2")), START)
    approve(ctx, SAM, START, version=2)
    assert states_by_version(ctx) == {3: "pending", 2: "in_force", 1: "superseded"}
    assert approve(ctx, SAM, START).policy_version == 3


def test_only_the_named_approver_approves(ctx: AppContext) -> None:
    publish(ctx, changed(LESS_CAPACITY, ("Sam, sales", "Ada Lark, head of sales")), START)
    before = all_rows(ctx)
    for other in ("Sam", "sam, sales", "Ada", "head of sales", " "):
        with pytest.raises(InvalidState, match="names Ada Lark, head of sales as its approver"):
            approve(ctx, other, START)
    assert all_rows(ctx) == before
    assert approve(ctx, "ada  lark", START).approved_by == "Ada Lark, head of sales"


def test_an_invalid_approval_is_refused_with_the_reason(ctx: AppContext) -> None:
    with pytest.raises(InvalidState, match="No version of the policy is pending: version 1 is in force"):
        approve(ctx, SAM, START)
    with pytest.raises(InvalidState, match="Version 1 of the policy is already approved"):
        approve(ctx, SAM, START, version=1)
    with pytest.raises(NotFound, match="Version 7 of the policy does not exist"):
        approve(ctx, SAM, START, version=7)
    publish(ctx, changed(LESS_CAPACITY), START)
    with pytest.raises(InvalidState, match="is in the future"):
        approve(ctx, SAM, START, START.date() + DAY)


def test_a_track_cannot_drop_an_email_that_the_policy_in_force_refers_to(ctx: AppContext) -> None:
    asks = changed(("when: {did: replied}", "when: {did: clicked, email: 02-more}"))
    publish(ctx, asks, START)
    approve(ctx, SAM, START)
    shorter = sample_rules()
    shorter[WELCOME] = shorter[WELCOME].replace("  - email: 02-more\n    after: 3 days\n", "")
    del shorter["tracks/welcome/02-more.md"]
    before = all_rows(ctx)
    with pytest.raises(
        InvalidState, match=r"what version 2 of the policy refers to:\n.*`02-more` is not sent by any step"
    ):
        publish(ctx, shorter, START)
    assert all_rows(ctx) == before


def test_a_policy_that_refers_to_a_removed_email_is_not_approved(ctx: AppContext) -> None:
    publish(ctx, changed(("when: {did: replied}", "when: {did: clicked, email: 02-more}")), START)
    shorter = sample_rules()
    shorter[WELCOME] = shorter[WELCOME].replace("  - email: 02-more\n    after: 3 days\n", "")
    del shorter["tracks/welcome/02-more.md"]
    shorter[POLICY] = changed(LESS_CAPACITY)[POLICY]
    publish(ctx, shorter, START)
    with pytest.raises(InvalidState, match="what version 2 of the policy refers to"):
        approve(ctx, SAM, START, version=2)
    approve(ctx, SAM, START)


def test_approval_makes_waiting_leads_due(ctx: AppContext) -> None:
    lead = add_lead(ctx, budget=9)
    run_at(ctx, START)
    rich = changed(
        ("  - name: replied\n    when: {did: replied}", "  - name: rich\n    when: {field: budget, at_least: 5}")
    )
    publish(ctx, rich, START + DAY)
    run_at(ctx, START + DAY)
    assert custody(ctx, lead)[0] == "track"
    approve(ctx, SAM, START + DAY)
    run_at(ctx, START + DAY)
    assert custody(ctx, lead)[0] == "offer"


def test_a_rep_missing_in_an_approved_policy_loses_uncontacted_leads(ctx: AppContext) -> None:
    held, taken, worked = (add_lead(ctx, demo_requested=True) for _ in range(3))
    run_at(ctx, START)
    offers_by_lead = dict(rows(ctx, "SELECT lead_id, id FROM offer"))
    reps_by_lead = dict(rows(ctx, "SELECT lead_id, rep FROM offer"))
    assert reps_by_lead == {held: "ana", taken: "ben", worked: "ana"}
    responses.accept(ctx, offers_by_lead[worked], START)
    follow_up.record_follow_up(ctx, worked, "call", START + HOUR)
    ana = next(line for line in sample_rules()[POLICY].split("\n") if "id: ana" in line)
    publish(ctx, changed((ana + "\n", ""), ("owner: ana", "owner: ben")), START + HOUR)
    run_at(ctx, START + HOUR)
    assert custody(ctx, held) == ("offer", str(offers_by_lead[held]))
    approve(ctx, "sam", START + HOUR)
    run_at(ctx, START + HOUR)
    assert rows(ctx, "SELECT rep FROM offer WHERE lead_id = :id ORDER BY id", id=held) == [("ana",), ("ben",)]
    assert custody(ctx, taken) == ("offer", str(offers_by_lead[taken]))
    assert custody(ctx, worked) == ("queue", "manager-decision"), "a person decides about what is under way"


@pytest.mark.parametrize("in_work", [False, True], ids=["uncontacted", "in work"])
@pytest.mark.parametrize(
    ("left_on", "at"), [(None, HOUR), (START.date() - DAY, HOUR), (START.date(), DAY)], ids=["removed", "past", "today"]
)
def test_an_accepted_lead_of_a_rep_who_leaves_is_offered_again_or_left_to_a_manager(
    ctx: AppContext, left_on: date | None, at: timedelta, *, in_work: bool
) -> None:
    lead = add_lead(ctx, demo_requested=True)
    run_at(ctx, START)
    responses.accept(ctx, 1, START)
    if in_work:
        follow_up.record_follow_up(ctx, lead, "call", START)
    ana = next(line for line in sample_rules()[POLICY].split("\n") if "id: ana" in line)
    line = ana.replace("id: ana,", f"id: ana, left_on: {left_on},") + "\n" if left_on else ""
    publish(ctx, changed((ana + "\n", line), ("owner: ana", "owner: ben")), START + HOUR)
    approve(ctx, "sam", START + HOUR)
    run_at(ctx, START + at)
    if not in_work:
        assert rows(ctx, "SELECT rep, state FROM offer ORDER BY id") == [("ana", "lapsed"), ("ben", "offered")]
        assert custody(ctx, lead) == ("offer", "2")
        return
    assert rows(ctx, "SELECT rep, state FROM offer") == [("ana", "lapsed")]
    assert custody(ctx, lead) == ("queue", "manager-decision")
    run_at(ctx, START + at)
    assert rows(ctx, "SELECT rep, kind FROM message WHERE kind = 'waiting'") == [("ben", "waiting")], "told at once"


def test_a_lead_contacted_before_its_rep_leaves_is_left_to_a_manager_on_the_day_after(ctx: AppContext) -> None:
    lead = add_lead(ctx, demo_requested=True)
    run_at(ctx, START)
    responses.accept(ctx, 1, START)
    leaves = ("id: ana,", f"id: ana, left_on: {START.date() + 3 * DAY},")
    publish(ctx, changed(leaves, ("owner: ana", "owner: ben")), START + HOUR)
    approve(ctx, "sam", START + HOUR)
    run_at(ctx, START + HOUR)
    follow_up.record_follow_up(ctx, lead, "call", START + 2 * DAY)
    run_at(ctx, START + 3 * DAY)
    assert custody(ctx, lead) == ("rep", "ana"), "their last day"
    run_at(ctx, START + 4 * DAY)
    assert custody(ctx, lead) == ("queue", "manager-decision")


def test_an_approver_matches_by_the_whole_line_or_by_the_name_before_the_comma() -> None:
    assert approval.matches_approver("Mara Lindqvist, head of sales", "mara lindqvist")
    assert approval.matches_approver("Mara Lindqvist, head of sales", "Mara Lindqvist,  head of sales")
    assert not approval.matches_approver("Mara Lindqvist, head of sales", "Mara")
    assert not approval.matches_approver("Mara Lindqvist, head of sales", "")


TERRITORIES = """
routing:
  - {name: account, to: account owner}
  - {name: dach, when: {field: country, is: [DE, AT]}, to: {rep: ana}, territory: yes}
  - {name: heads, when: {field: title, contains: [head]}, to: {rep: ben}, territory: yes}
  - {name: rest, when: always, to: {pool: everyone}}
"""


def test_territories_that_claim_one_lead_are_refused_unless_they_are_meant_to(ctx: AppContext) -> None:
    rules = changed()
    rules[POLICY] += TERRITORIES
    publish(ctx, rules, START)  # no lead is claimed twice yet
    lead = add_lead(ctx, country="AT", title="Head of planning")
    with pytest.raises(InvalidState, match=f"`dach` and `heads` both claim 1 lead, such as lead {lead}"):
        approve(ctx, SAM, START)
    rules[POLICY] += "# another version\n"
    with pytest.raises(InvalidState, match="overlaps: allowed"):
        publish(ctx, rules, START)
    assert states_by_version(ctx) == {1: "in_force", 2: "pending"}
    rules[POLICY] += "overlaps: allowed\n"
    publish(ctx, rules, START)
    assert approve(ctx, SAM, START).policy_version == 3
