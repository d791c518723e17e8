"""Publishing: immutable versions, and no lead left on a step that is gone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.errors import Refused, RulesFaulty
from nurture.journey.delivery import run
from nurture.journey.tracks import advance
from nurture.publishing.publish import Change, check, publish, unlisted
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, publish_approved, tick_at, tiny_rules
from tests.journey.observe import Post, custody, everything, messages, one, rows, same_house, write

pytestmark = pytest.mark.quick

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    return make_house(db, tmp_path)


def _changed(path: str, old: str, new: str) -> dict[str, str]:
    rules = tiny_rules()
    assert old in rules[path]
    rules[path] = rules[path].replace(old, new)
    return rules


WELCOME = "tracks/welcome/track.yaml"


def _shorter() -> dict[str, str]:
    """Return the rules without the second email."""
    rules = _changed(WELCOME, "  - email: 02-more\n    after: 3 days\n", "")
    del rules["tracks/welcome/02-more.md"]
    return rules


def test_a_track_whose_folder_is_gone_goes_on_and_is_named(house: House) -> None:
    add_lead(house)
    tick_at(house, START)
    gone = {path: text for path, text in tiny_rules().items() if not path.startswith("tracks/keep/")}
    assert unlisted(house, gone) == {"keep": 1}
    assert unlisted(house, tiny_rules()) == {}


def test_the_same_rules_again_publish_nothing(house: House) -> None:
    before = everything(house)
    assert publish(house, tiny_rules(), START + DAY) == []
    assert everything(house) == before


def test_a_changed_email_publishes_its_track_alone(house: House) -> None:
    rules = _changed("tracks/welcome/01-hello.md", "Hello {{", "Good day {{")
    assert publish(house, rules, START + DAY) == [Change("track", "welcome", 1, 2)]
    assert publish(house, rules, START + DAY) == []


def test_going_back_to_an_old_text_is_a_new_version(house: House) -> None:
    publish(house, _changed("tracks/welcome/01-hello.md", "Hello {{", "Good day {{"), START)
    assert publish(house, tiny_rules(), START) == [Change("track", "welcome", 2, 3)]


def test_a_changed_policy_is_a_new_version_of_it(house: House) -> None:
    rules = _changed("sales/policy.yaml", "accept_within: 1 day", "accept_within: 2 days")
    waits = Change("policy", "policy", 1, 2, approval="waits", approver="Sam, sales")
    assert publish(house, rules, START) == [waits]


def test_a_dry_run_tells_what_would_change_and_for_how_many_and_changes_nothing(house: House) -> None:
    add_lead(house, title="Head")
    tick_at(house, START)
    before = everything(house)
    rules = _changed("tracks/welcome/01-hello.md", "Hello {{", "Good day {{")
    assert publish(house, rules, START, dry_run=True) == [Change("track", "welcome", 1, 2, running=1)]
    assert everything(house) == before


def test_faulty_rules_publish_nothing_and_name_every_fault(house: House) -> None:
    before = everything(house)
    rules = _changed(WELCOME, "after: 1 hour", "after: one hour")
    rules["tracks/keep/01-news.md"] += "\n{{ lead.frist_name }}\n"
    with pytest.raises(RulesFaulty) as caught:
        publish(house, rules, START)
    files = {fault.file for fault in caught.value.faults}  # type: ignore[attr-defined]
    assert files == {WELCOME, "tracks/keep/01-news.md"}
    assert everything(house) == before
    assert len(check(rules)) == len(caught.value.faults)


def test_published_versions_cannot_be_changed_or_removed(house: House) -> None:
    for sql in ("UPDATE publication SET digest = 'x'", "DELETE FROM publication"):
        with pytest.raises(DBAPIError):
            write(house, sql)


def test_a_step_on_which_leads_stand_is_not_removed_without_saying_where_they_go(house: House) -> None:
    add_lead(house, title="Head")
    tick_at(house, START)
    rules = _changed(WELCOME, "id: wait-for-click", "id: wait")
    publish(house, rules, START)  # nobody stands there yet
    for day in range(3):
        tick_at(house, START + HOUR + day * DAY)
    assert one(house, "SELECT step FROM enrollment") == "wait"
    before = everything(house)
    with pytest.raises(Refused, match=r"1 lead stands on step wait .*moved_to: \{wait: "):
        publish(house, tiny_rules(), START + 4 * DAY)
    assert everything(house) == before


def test_with_moved_to_they_go_on_there(house: House) -> None:
    lead = add_lead(house, title="Head")
    for hours in (0, 1, 2):
        tick_at(house, START + hours * HOUR)
    rules = _changed(WELCOME, "id: wait-for-click", "id: wait")
    rules[WELCOME] += "moved_to: {wait-for-click: wait}\n"
    (change,) = publish(house, rules, START + DAY)
    assert (change.running, change.moved) == (1, {"wait-for-click": "wait"})
    for day in range(1, 8):
        tick_at(house, START + HOUR + day * DAY)
    assert [row[1] for row in messages(house) if row[0] == lead] == ["01-hello", "02-more"]


def test_a_step_on_which_nobody_stands_may_go(house: House) -> None:
    add_lead(house, title="Head")
    tick_at(house, START)
    (change,) = publish(house, _shorter(), START)
    assert (change.version, change.moved) == (2, {})


def test_running_leads_follow_the_new_version_from_where_they_stand(house: House) -> None:
    lead = add_lead(house, title="Head")
    for hours in (0, 1, 2):
        tick_at(house, START + hours * HOUR)
    publish(house, _shorter(), START + DAY)
    for day in range(1, 8):
        tick_at(house, START + HOUR + day * DAY)
    assert [row[1] for row in messages(house)] == ["01-hello"]
    assert custody(house, lead) == ("track", "keep")


def test_leads_do_not_sleep_through_a_new_version(house: House) -> None:
    sooner, hot = add_lead(house), add_lead(house, title="Head", budget=9)
    tick_at(house, START)
    rules = _changed("tracks/keep/track.yaml", "after: 10 days", "after: 1 day")
    publish(house, rules, START + HOUR)
    tick_at(house, START + HOUR, START + 2 * DAY)
    assert [lead for lead, *_ in messages(house)] == [hot, sooner]
    old = "  - name: replied\n    when: {did: replied}"
    new = "  - name: rich\n    when: {field: budget, at_least: 5}"
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace(old, new)
    publish_approved(house, rules, START + 2 * DAY)
    tick_at(house, START + 2 * DAY)
    assert custody(house, hot)[0] == "offer"


def test_a_planned_message_goes_out_as_the_version_that_planned_it(house: House) -> None:
    house.provider = Post()
    add_lead(house, title="Head")
    tick_at(house, START)
    advance.advance(house, START + HOUR)
    publish(house, _changed("tracks/welcome/01-hello.md", "subject: Hello", "subject: Welcome"), START + HOUR)
    run.deliver(house, VirtualClock(START + HOUR))
    add_lead(house, title="Head", at=START + HOUR)
    tick_at(house, START + HOUR, START + 2 * HOUR)
    assert [subject for _, _, subject in house.provider.sent] == ["Hello", "Welcome"]
    assert rows(house, "SELECT track_version FROM message ORDER BY id") == [(1,), (2,)]


def test_another_process_sees_what_was_published_since_it_began(house: House) -> None:
    other = same_house(house)
    add_lead(house, title="Head")
    tick_at(other, START)
    publish_approved(house, _changed("sales/policy.yaml", "capacity: 5", "capacity: 1"), START)
    for _ in range(3):
        add_lead(house, demo_requested=True)
    tick_at(other, START)
    assert one(house, "SELECT count(*) FROM offer") == 2
    other.database.close()
