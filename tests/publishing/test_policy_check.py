"""Findings of the policy check, and differences of a new version, on the current leads."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import InvalidDefinitions, NotFound
from nurture.journey.handoff import responses
from nurture.publishing.approval import approve
from nurture.publishing.policy_check import PolicyFinding, check_policy
from nurture.publishing.policy_diff import compare_policies
from nurture.publishing.publish import publish
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import all_rows

POLICY = "sales/policy.yaml"
DAY = timedelta(days=1)
TERRITORIES = """
routing:
  - {name: account, to: account owner}
  - {name: dach, when: {field: country, is: [DE, AT]}, required_fields: [country],
     to: {pool: everyone}, territory: yes}
  - {name: south, when: {postcode: {country: DE, from: "80000", to: "89999"}}, to: {rep: ben}, territory: yes}
  - {name: large, when: {field: employees, at_least: 5000}, to: {rep: ana}}
  - {name: again, when: {field: country, is: AT}, to: {rep: ana}}
  - {name: rest, when: always, to: {pool: everyone}}
"""


@pytest.fixture
def ctx(sqlite_db: Database, tmp_path: Path) -> AppContext:
    return make_context(sqlite_db, tmp_path)


def rules(*edits: tuple[str, str], more: str = "") -> dict[str, str]:
    sources = sample_rules()
    text = sources[POLICY]
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return sources | {POLICY: text + more}


def find_finding(ctx: AppContext, sources: dict[str, str], text: str) -> PolicyFinding:
    """Return the only finding whose message contains *text*."""
    (only,) = [finding for finding in check_policy(ctx, sources, START).findings if text in finding.message]
    assert only.file == POLICY
    assert only.remedy
    return only


def line_of(sources: dict[str, str], text: str) -> int:
    (line,) = [number for number, line in enumerate(sources[POLICY].splitlines(), 1) if text in line]
    return line


def test_territories_that_claim_the_same_leads_are_named_with_the_leads(ctx: AppContext) -> None:
    both = [add_lead(ctx, country="DE", postcode="80331") for _ in range(2)]
    add_lead(ctx, country="DE", postcode="10115")
    sources = rules(more=TERRITORIES)
    finding = find_finding(ctx, sources, "both claim")
    assert "`dach` and `south` both claim 2 leads: `dach` gets them" in finding.message
    assert (finding.line, finding.examples, finding.is_error) == (line_of(sources, "name: south"), tuple(both), True)
    assert not check_policy(ctx, sources, START).ok


def test_leads_in_no_territory_and_those_with_a_missing_field_are_counted(ctx: AppContext) -> None:
    no_territory, unknown_country = add_lead(ctx, country="BR"), add_lead(ctx)
    add_lead(ctx, country="AT")
    sources = rules(more=TERRITORIES)
    assert find_finding(ctx, sources, "are in no territory").examples == (no_territory, unknown_country)
    finding = find_finding(ctx, sources, "`dach` needs `country`")
    assert (finding.line, finding.leads, finding.examples) == (line_of(sources, "name: dach"), 1, (unknown_country,))


def test_an_unmet_threshold_is_reported_with_the_closest_value(ctx: AppContext) -> None:
    for employees in (40, "900", "many"):
        add_lead(ctx, country="BR", employees=employees)
    sources = rules(more=TERRITORIES)
    finding = find_finding(ctx, sources, "`large` under `routing` requires employees of at least 5000")
    assert "none of 3 leads reaches; the closest is 900" in finding.message
    assert finding.line == line_of(sources, "name: large")


def test_a_rule_shadowed_by_an_earlier_rule_is_reported(ctx: AppContext) -> None:
    add_lead(ctx, country="AT", employees=9000)
    finding = find_finding(ctx, rules(more=TERRITORIES), "`again` under `routing` applies to no lead")
    assert "earlier rules, mostly `dach`, take all 1 lead that it matches" in finding.message
    assert not finding.is_error


def test_a_reference_to_a_departed_rep_is_reported(ctx: AppContext) -> None:
    sources_with_departed = rules(
        ("email: ben@house.example,", "email: ben@house.example, left_on: 2026-01-04,"), more=TERRITORIES
    )
    finding = find_finding(ctx, sources_with_departed, "names `ben`, who left on 2026-01-04")
    assert (finding.line, finding.is_error) == (line_of(sources_with_departed, "name: south"), True)


def test_a_rep_with_leads_must_be_in_the_policy(ctx: AppContext) -> None:
    add_lead(ctx, demo_requested=True)
    run_at(ctx, START)
    responses.accept(ctx, 1, START)
    sources_without_ana = rules(("id: ana,", "id: anna,"), ("owner: ana", "owner: ben"))
    finding = find_finding(ctx, sources_without_ana, "1 lead belongs to `ana`, who is not a rep of this policy")
    assert finding.is_error


def test_an_invalid_file_is_reported_before_any_lead_is_evaluated(ctx: AppContext) -> None:
    with pytest.raises(InvalidDefinitions):
        check_policy(ctx, rules(("reps:", "raps:")), START)


def test_without_leads_a_policy_is_checked_by_its_text_only(ctx: AppContext) -> None:
    checked = check_policy(ctx, rules(more=TERRITORIES), START)
    assert (checked.ok, checked.leads, checked.findings) == (True, 0, ())


def test_a_check_and_a_diff_change_nothing(ctx: AppContext) -> None:
    for country in ("DE", "AT", "BR"):
        add_lead(ctx, country=country)
    ctx.batch_size = 2
    before = all_rows(ctx)
    assert check_policy(ctx, rules(more=TERRITORIES), START).leads == 3
    assert compare_policies(ctx, START, rules(more=TERRITORIES)).leads == 3
    assert all_rows(ctx) == before


def test_a_diff_says_what_differs_and_for_which_leads_the_verdict_changes(ctx: AppContext) -> None:
    hot, plain = add_lead(ctx, budget=9), add_lead(ctx)
    run_at(ctx, START)
    new = rules(
        ("  - name: replied\n    when: {did: replied}", "  - name: rich\n    when: {field: budget, at_least: 5}"),
        ("accept_within: 1 day", "accept_within: 4 hours"),
        ("Sam, sales", "Ada, sales"),
    )
    publish(ctx, new, START)
    comparison = compare_policies(ctx, START)
    assert [str(each) for each in comparison.differences] == [
        "approver: Sam, sales becomes Ada, sales",
        "hand off when replied: removed (was name replied, when replied)",
        "hand off when rich: new: name rich, when budget at least 5",
        "accept within: 1 day becomes 4 hours",
    ]
    assert (comparison.new_label, comparison.changed_leads, comparison.leads) == ("version 2", 1, 2)
    (change,) = comparison.verdict_changes
    assert (change.part, change.before, change.after) == ("hand_off", "stays on its track", "handed off: rich")
    assert change.examples == (hot,)
    assert plain not in change.examples
    approve(ctx, "Ada", START)
    with pytest.raises(NotFound, match="No version of the policy is pending"):
        compare_policies(ctx, START)


def test_only_the_parts_of_a_condition_that_differ_are_shown(ctx: AppContext) -> None:
    condition = (
        "readiness:\n  - name: rich\n    then: hand_off\n"
        "    when: {all: [{field: budget, at_least: %s}, {field: title, is: Head}]}\n"
    )
    publish(ctx, rules(("readiness:\n", condition % 5)), START)
    approve(ctx, "Sam", START)
    lead = add_lead(ctx, budget=6, title="Head")
    comparison = compare_policies(ctx, START, rules(("readiness:\n", condition % 7)))
    assert [str(each) for each in comparison.differences] == [
        "readiness rich: budget at least 5 becomes budget at least 7"
    ]
    assert [(each.part, each.examples) for each in comparison.verdict_changes] == [("readiness", (lead,))]


def test_a_version_may_be_named_and_an_equal_policy_evaluates_no_lead(ctx: AppContext) -> None:
    add_lead(ctx)
    publish(ctx, rules(("approved:", "# why\napproved:")), START)
    comparison = compare_policies(ctx, START, version=1)
    assert (comparison.differences, comparison.changed_leads, comparison.leads) == ((), 0, 0)
