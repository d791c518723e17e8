"""Approval: a policy is in force when the approver whom it names has said so, and no sooner."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import NotFound, Refused
from nurture.journey.handoff import follow_up, sweep
from nurture.publishing import approval
from nurture.publishing.approval import approve, versions
from nurture.publishing.publish import publish
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at, tiny_rules
from tests.journey.observe import custody, everything, one, rows

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
POLICY, WELCOME = "sales/policy.yaml", "tracks/welcome/track.yaml"
SAM = "Sam, sales"


@pytest.fixture
def house(sqlite_db: Database, tmp_path: Path) -> House:
    return make_house(sqlite_db, tmp_path)


def changed(*edits: tuple[str, str], path: str = POLICY) -> dict[str, str]:
    rules = tiny_rules()
    for old, new in edits:
        assert old in rules[path]
        rules[path] = rules[path].replace(old, new)
    return rules


FEWER = ("capacity: 5", "capacity: 1")


def offered(house: House) -> list[tuple[int, int]]:
    """Return lead and policy version of every hand-off."""
    found = rows(house, "SELECT lead_id, policy_version FROM offer ORDER BY id")
    return [(lead, version) for lead, version in found]


def states(house: House) -> dict[int, str]:
    return {each.version: each.state for each in versions(house)}


def test_the_first_policy_counts_as_approved_by_whom_it_names(house: House) -> None:
    (only,) = versions(house)
    assert (only.state, only.approver, only.approved_on, only.how) == (
        "in force",
        SAM,
        date(2026, 1, 1),
        "first",
    )


def test_a_changed_policy_waits_and_leads_are_handed_off_under_the_old_one_until_it_is_approved(
    house: House,
) -> None:
    publish(house, changed(FEWER), START)
    before = [add_lead(house, demo_requested=True) for _ in range(3)]
    tick_at(house, START)
    assert offered(house) == [(lead, 1) for lead in before]
    assert states(house) == {2: "waits", 1: "in force"}
    said = approve(house, "sam", START + HOUR, date(2026, 1, 4))
    assert (said.policy_version, said.approved_by, said.recorded_at) == (2, SAM, START + HOUR)
    after = add_lead(house, demo_requested=True, at=START + DAY)
    tick_at(house, START + DAY)
    assert offered(house)[-1] == (after, 2)
    second, first = versions(house)
    assert (second.state, second.approved_on, second.offers) == ("in force", date(2026, 1, 4), 1)
    assert (first.state, first.offers) == ("before", 3)


def test_tracks_published_beside_a_policy_that_waits_are_in_force_at_once(house: House) -> None:
    rules = changed(FEWER)
    rules[WELCOME] = rules[WELCOME].replace("after: 1 hour", "after: 2 hours")
    publish(house, rules, START)
    lead = add_lead(house, title="Head")
    tick_at(house, START)
    assert one(house, "SELECT max(track_version) FROM journal WHERE lead_id = :id", id=lead) == 2
    assert one(house, "SELECT max(policy_version) FROM journal WHERE lead_id = :id", id=lead) == 1


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        pytest.param(POLICY, "approved:", "# a note\napproved:", id="a comment"),
        pytest.param(POLICY, "on: 2026-01-01", "on: 2026-02-01", id="the day of its approval"),
        pytest.param("handoff/brief.md", "Hello ", "Dear ", id="the words of the brief"),
    ],
)
def test_a_policy_that_means_the_same_needs_nobody(house: House, path: str, old: str, new: str) -> None:
    (change,) = publish(house, changed((old, new), path=path), START + DAY)
    assert (change.version, change.approval) == (2, "unchanged")
    newest, _ = versions(house)
    assert (newest.state, newest.approver, newest.approved_on) == ("in force", SAM, date(2026, 1, 1))


def test_going_back_to_what_is_in_force_leaves_what_waited_behind(house: House) -> None:
    publish(house, changed(FEWER), START)
    (change,) = publish(house, tiny_rules(), START)
    assert (change.version, change.approval) == (3, "unchanged")
    assert states(house) == {3: "in force", 2: "never", 1: "before"}
    with pytest.raises(Refused, match="Version 2 of the policy is older than what counts: version 3"):
        approve(house, SAM, START, version=2)


def test_who_approves_names_the_version_that_was_looked_at(house: House) -> None:
    publish(house, changed(FEWER), START)
    publish(house, changed(("capacity: 5", "capacity: 2")), START)
    approve(house, SAM, START, version=2)
    assert states(house) == {3: "waits", 2: "in force", 1: "before"}
    assert approve(house, SAM, START).policy_version == 3


def test_only_the_named_approver_approves(house: House) -> None:
    publish(house, changed(FEWER, ("Sam, sales", "Ada Lark, head of sales")), START)
    before = everything(house)
    for other in ("Sam", "sam, sales", "Ada", "head of sales", " "):
        with pytest.raises(Refused, match="names Ada Lark, head of sales as its approver"):
            approve(house, other, START)
    assert everything(house) == before
    assert approve(house, "ada  lark", START).approved_by == "Ada Lark, head of sales"


def test_what_cannot_be_approved_is_refused_with_the_reason(house: House) -> None:
    with pytest.raises(Refused, match="No version of the policy waits for approval: version 1 is in force"):
        approve(house, SAM, START)
    with pytest.raises(Refused, match="Version 1 of the policy is approved already"):
        approve(house, SAM, START, version=1)
    with pytest.raises(NotFound, match="Version 7 of the policy was never published"):
        approve(house, SAM, START, version=7)
    publish(house, changed(FEWER), START)
    with pytest.raises(Refused, match="is yet to come"):
        approve(house, SAM, START, START.date() + DAY)


def test_a_track_does_not_lose_the_email_for_which_the_policy_in_force_asks(house: House) -> None:
    asks = changed(("when: {did: replied}", "when: {did: clicked, email: 02-more}"))
    publish(house, asks, START)
    approve(house, SAM, START)
    shorter = tiny_rules()
    shorter[WELCOME] = shorter[WELCOME].replace("  - email: 02-more\n    after: 3 days\n", "")
    del shorter["tracks/welcome/02-more.md"]
    before = everything(house)
    with pytest.raises(
        Refused, match=r"what version 2 of the policy asks for:\n.*`02-more` is not sent by any step"
    ):
        publish(house, shorter, START)
    assert everything(house) == before


def test_a_policy_is_not_approved_for_emails_that_were_taken_out_meanwhile(house: House) -> None:
    publish(house, changed(("when: {did: replied}", "when: {did: clicked, email: 02-more}")), START)
    shorter = tiny_rules()
    shorter[WELCOME] = shorter[WELCOME].replace("  - email: 02-more\n    after: 3 days\n", "")
    del shorter["tracks/welcome/02-more.md"]
    shorter[POLICY] = changed(FEWER)[POLICY]
    publish(house, shorter, START)
    with pytest.raises(Refused, match="what version 2 of the policy asks for"):
        approve(house, SAM, START, version=2)
    approve(house, SAM, START)


def test_approving_wakes_the_leads_that_slept_under_the_old_policy(house: House) -> None:
    lead = add_lead(house, budget=9)
    tick_at(house, START)
    rich = changed(
        (
            "  - name: replied\n    when: {did: replied}",
            "  - name: rich\n    when: {field: budget, at_least: 5}",
        )
    )
    publish(house, rich, START + DAY)
    tick_at(house, START + DAY)
    assert custody(house, lead)[0] == "track"
    approve(house, SAM, START + DAY)
    tick_at(house, START + DAY)
    assert custody(house, lead)[0] == "offer"


def test_whom_an_approved_policy_no_longer_names_loses_what_they_did_not_begin(house: House) -> None:
    held, taken, worked = (add_lead(house, demo_requested=True) for _ in range(3))
    tick_at(house, START)
    names = dict(rows(house, "SELECT lead_id, id FROM offer"))
    whose = dict(rows(house, "SELECT lead_id, rep FROM offer"))
    assert whose == {held: "ana", taken: "ben", worked: "ana"}
    sweep.accept(house, names[worked], START)
    follow_up.followed_up(house, worked, "call", START + HOUR)
    ana = next(line for line in tiny_rules()[POLICY].split("\n") if "id: ana" in line)
    publish(house, changed((ana + "\n", "")), START + HOUR)
    tick_at(house, START + HOUR)
    assert custody(house, held) == ("offer", str(names[held]))
    approve(house, "sam", START + HOUR)
    tick_at(house, START + HOUR)
    assert rows(house, "SELECT rep FROM offer WHERE lead_id = :id ORDER BY id", id=held) == [
        ("ana",),
        ("ben",),
    ]
    assert custody(house, taken) == ("offer", str(names[taken]))
    assert custody(house, worked) == ("rep", "ana"), "a person decides about what is under way"


def test_who_is_taken_over_and_not_called_is_passed_on_when_its_rep_is_gone(house: House) -> None:
    lead = add_lead(house, demo_requested=True)
    tick_at(house, START)
    sweep.accept(house, 1, START)
    ana = next(line for line in tiny_rules()[POLICY].split("\n") if "id: ana" in line)
    publish(house, changed((ana + "\n", "")), START + HOUR)
    approve(house, "sam", START + HOUR)
    tick_at(house, START + HOUR)
    assert rows(house, "SELECT rep, state FROM offer ORDER BY id") == [("ana", "lapsed"), ("ben", "offered")]
    assert custody(house, lead) == ("offer", "2")


def test_a_name_is_known_by_the_whole_line_or_by_what_stands_before_the_comma() -> None:
    assert approval.is_named("Mara Lindqvist, head of sales", "mara lindqvist")
    assert approval.is_named("Mara Lindqvist, head of sales", "Mara Lindqvist,  head of sales")
    assert not approval.is_named("Mara Lindqvist, head of sales", "Mara")
    assert not approval.is_named("Mara Lindqvist, head of sales", "")
