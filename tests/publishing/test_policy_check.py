"""The policy on the leads that there are: what is wrong with it, and what a new version changes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import NotFound, RulesFaulty
from nurture.journey.handoff import sweep
from nurture.publishing.approval import approve
from nurture.publishing.policy_check import Finding, check_policy
from nurture.publishing.policy_diff import compare
from nurture.publishing.publish import publish
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at, tiny_rules
from tests.journey.observe import everything

POLICY = "sales/policy.yaml"
DAY = timedelta(days=1)
TERRITORIES = """
routing:
  - {name: account, to: account owner}
  - {name: dach, when: {field: country, is: [DE, AT]}, needs: [country], to: {pool: everyone}, territory: yes}
  - {name: south, when: {postcode: {country: DE, from: "80000", to: "89999"}}, to: {rep: ben}, territory: yes}
  - {name: large, when: {field: employees, at_least: 5000}, to: {rep: ana}}
  - {name: again, when: {field: country, is: AT}, to: {rep: ana}}
  - {name: rest, when: always, to: {pool: everyone}}
"""


@pytest.fixture
def house(sqlite_db: Database, tmp_path: Path) -> House:
    return make_house(sqlite_db, tmp_path)


def rules(*edits: tuple[str, str], more: str = "") -> dict[str, str]:
    sources = tiny_rules()
    text = sources[POLICY]
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return sources | {POLICY: text + more}


def found(house: House, sources: dict[str, str], words: str) -> Finding:
    """Return the one finding that has these words; its line says what it is about."""
    (only,) = [one for one in check_policy(house, sources, START).findings if words in one.what]
    assert only.file == POLICY
    assert only.instead
    return only


def line_of(sources: dict[str, str], text: str) -> int:
    (line,) = [number for number, line in enumerate(sources[POLICY].splitlines(), 1) if text in line]
    return line


def test_territories_that_claim_the_same_leads_are_named_with_the_leads(house: House) -> None:
    both = [add_lead(house, country="DE", postcode="80331") for _ in range(2)]
    add_lead(house, country="DE", postcode="10115")
    sources = rules(more=TERRITORIES)
    one = found(house, sources, "both claim")
    assert "`dach` and `south` both claim 2 leads: `dach` gets them" in one.what
    assert (one.line, one.examples, one.grave) == (line_of(sources, "name: south"), tuple(both), True)
    assert not check_policy(house, sources, START).ok


def test_leads_in_no_territory_and_those_who_wait_for_a_fact_are_counted(house: House) -> None:
    nowhere, silent = add_lead(house, country="BR"), add_lead(house)
    add_lead(house, country="AT")
    sources = rules(more=TERRITORIES)
    assert found(house, sources, "lie in no territory").examples == (nowhere, silent)
    one = found(house, sources, "`dach` needs `country`")
    assert (one.line, one.leads, one.examples) == (line_of(sources, "name: dach"), 1, (silent,))


def test_a_threshold_that_nobody_meets_is_named_with_what_comes_closest(house: House) -> None:
    for employees in (40, "900", "many"):
        add_lead(house, country="BR", employees=employees)
    sources = rules(more=TERRITORIES)
    one = found(house, sources, "`large` under `routing` asks for employees of at least 5000")
    assert "none of 3 leads reaches; the closest is 900" in one.what
    assert one.line == line_of(sources, "name: large")


def test_a_rule_behind_one_that_takes_all_its_leads_is_named(house: House) -> None:
    add_lead(house, country="AT", employees=9000)
    one = found(house, rules(more=TERRITORIES), "`again` under `routing` takes nobody")
    assert "all 1 lead for which it holds go to rules before it, most to `dach`" in one.what
    assert not one.grave


def test_who_left_and_is_still_counted_on_is_named(house: House) -> None:
    left = rules(
        ("email: ben@house.example,", "email: ben@house.example, left_on: 2026-01-04,"), more=TERRITORIES
    )
    one = found(house, left, "names `ben`, who left on 2026-01-04")
    assert (one.line, one.grave) == (line_of(left, "name: south"), True)


def test_whoever_has_leads_is_in_the_policy(house: House) -> None:
    add_lead(house, demo_requested=True)
    tick_at(house, START)
    sweep.accept(house, 1, START)
    gone = rules(("id: ana,", "id: anna,"))
    one = found(house, gone, "1 lead belongs to `ana`, who is no rep of this policy")
    assert one.grave


def test_a_faulty_file_is_said_before_any_lead_is_asked(house: House) -> None:
    with pytest.raises(RulesFaulty):
        check_policy(house, rules(("reps:", "raps:")), START)


def test_a_policy_without_leads_is_only_judged_by_its_text(house: House) -> None:
    checked = check_policy(house, rules(more=TERRITORIES), START)
    assert (checked.ok, checked.leads, checked.findings) == (True, 0, ())


def test_a_check_and_a_diff_change_nothing(house: House) -> None:
    for country in ("DE", "AT", "BR"):
        add_lead(house, country=country)
    house.batch = 2
    before = everything(house)
    assert check_policy(house, rules(more=TERRITORIES), START).leads == 3
    assert compare(house, START, rules(more=TERRITORIES)).leads == 3
    assert everything(house) == before


def test_a_diff_says_what_differs_and_for_which_leads_the_verdict_changes(house: House) -> None:
    hot, plain = add_lead(house, budget=9), add_lead(house)
    tick_at(house, START)
    new = rules(
        (
            "  - name: replied\n    when: {did: replied}",
            "  - name: rich\n    when: {field: budget, at_least: 5}",
        ),
        ("accept_within: 1 day", "accept_within: 4 hours"),
        ("Sam, sales", "Ada, sales"),
    )
    publish(house, new, START)
    told = compare(house, START)
    assert [str(one) for one in told.differences] == [
        "approver: Sam, sales becomes Ada, sales",
        "hand off when replied: taken out (was name replied, when did replied)",
        "hand off when rich: new: name rich, when budget at least 5",
        "accept within: 1 day becomes 4 hours",
    ]
    assert (told.new, told.changed, told.leads) == ("version 2", 1, 2)
    (shift,) = told.shifts
    assert (shift.part, shift.was, shift.now) == ("hand_off", "stays on its track", "handed off: rich")
    assert shift.examples == (hot,)
    assert plain not in shift.examples
    approve(house, "Ada", START)
    with pytest.raises(NotFound, match="No version of the policy waits"):
        compare(house, START)


def test_only_the_parts_of_a_condition_that_differ_are_told(house: House) -> None:
    asked = (
        "readiness:\n  - name: rich\n    then: hand_off\n"
        "    when: {all: [{field: budget, at_least: %s}, {field: title, is: Head}]}\n"
    )
    publish(house, rules(("readiness:\n", asked % 5)), START)
    approve(house, "Sam", START)
    lead = add_lead(house, budget=6, title="Head")
    told = compare(house, START, rules(("readiness:\n", asked % 7)))
    assert [str(one) for one in told.differences] == [
        "readiness rich: budget at least 5 becomes budget at least 7"
    ]
    assert [(one.part, one.examples) for one in told.shifts] == [("readiness", (lead,))]


def test_a_version_may_be_named_and_the_same_meaning_asks_no_lead(house: House) -> None:
    add_lead(house)
    publish(house, rules(("approved:", "# why\napproved:")), START)
    told = compare(house, START, version=1)
    assert (told.differences, told.changed, told.leads) == ((), 0, 0)
