"""Publishing creates immutable versions and leaves no lead on a removed step."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.errors import InvalidDefinitions, InvalidState
from nurture.journey.delivery import run
from nurture.journey.tracks import advance
from nurture.publishing.publish import PublishedChange, check_definitions, publish
from nurture.publishing.unpublished import find_removed_tracks
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, publish_approved, run_at, sample_rules
from tests.journey.observe import RecordingProvider, all_rows, custody, messages, one, rows, worker_context, write

pytestmark = pytest.mark.quick

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def _changed(path: str, old: str, new: str) -> dict[str, str]:
    rules = sample_rules()
    assert old in rules[path]
    rules[path] = rules[path].replace(old, new)
    return rules


WELCOME = "tracks/welcome/track.yaml"


def _shorter() -> dict[str, str]:
    """Return the definitions without the second email."""
    rules = _changed(WELCOME, "  - email: 02-more\n    after: 3 days\n", "")
    del rules["tracks/welcome/02-more.md"]
    return rules


def test_a_track_without_a_folder_stays_published_and_is_reported(ctx: AppContext) -> None:
    add_lead(ctx)
    run_at(ctx, START)
    gone = {path: text for path, text in sample_rules().items() if not path.startswith("tracks/keep/")}
    assert find_removed_tracks(ctx, gone) == {"keep": 1}
    assert find_removed_tracks(ctx, sample_rules()) == {}


def test_unchanged_definitions_publish_nothing(ctx: AppContext) -> None:
    before = all_rows(ctx)
    assert publish(ctx, sample_rules(), START + DAY) == []
    assert all_rows(ctx) == before


def test_a_changed_email_publishes_only_its_track(ctx: AppContext) -> None:
    rules = _changed("tracks/welcome/01-hello.md", "Hello {{", "Good day {{")
    assert publish(ctx, rules, START + DAY) == [PublishedChange("track", "welcome", 1, 2)]
    assert publish(ctx, rules, START + DAY) == []


def test_reverting_to_an_old_text_is_a_new_version(ctx: AppContext) -> None:
    publish(ctx, _changed("tracks/welcome/01-hello.md", "Hello {{", "Good day {{"), START)
    assert publish(ctx, sample_rules(), START) == [PublishedChange("track", "welcome", 2, 3)]


def test_a_changed_policy_is_a_new_version(ctx: AppContext) -> None:
    rules = _changed("sales/policy.yaml", "accept_within: 1 day", "accept_within: 2 days")
    pending = PublishedChange("policy", "policy", 1, 2, activation="pending", approver="Sam, sales")
    assert publish(ctx, rules, START) == [pending]


def test_a_dry_run_lists_what_would_change_and_for_how_many_and_changes_nothing(ctx: AppContext) -> None:
    add_lead(ctx, title="Head")
    run_at(ctx, START)
    before = all_rows(ctx)
    rules = _changed("tracks/welcome/01-hello.md", "Hello {{", "Good day {{")
    assert publish(ctx, rules, START, dry_run=True) == [PublishedChange("track", "welcome", 1, 2, leads_on_track=1)]
    assert all_rows(ctx) == before


def test_invalid_definitions_publish_nothing_and_name_every_problem(ctx: AppContext) -> None:
    before = all_rows(ctx)
    rules = _changed(WELCOME, "after: 1 hour", "after: one hour")
    rules["tracks/keep/01-news.md"] += "\n{{ lead.frist_name }}\n"
    with pytest.raises(InvalidDefinitions) as caught:
        publish(ctx, rules, START)
    files = {problem.file for problem in caught.value.problems}  # type: ignore[attr-defined]
    assert files == {WELCOME, "tracks/keep/01-news.md"}
    assert all_rows(ctx) == before
    assert len(check_definitions(rules)) == len(caught.value.problems)


def test_published_versions_cannot_be_changed_or_removed(ctx: AppContext) -> None:
    for sql in ("UPDATE publication SET digest = 'x'", "DELETE FROM publication"):
        with pytest.raises(DBAPIError):
            write(ctx, sql)


def test_a_step_with_leads_is_not_removed_without_moved_to(ctx: AppContext) -> None:
    add_lead(ctx, title="Head")
    run_at(ctx, START)
    rules = _changed(WELCOME, "id: wait-for-click", "id: wait")
    publish(ctx, rules, START)  # nobody stands there yet
    for day in range(3):
        run_at(ctx, START + HOUR + day * DAY)
    assert one(ctx, "SELECT step FROM enrollment") == "wait"
    before = all_rows(ctx)
    with pytest.raises(InvalidState, match=r"1 lead is on step wait .*moved_to: \{wait: "):
        publish(ctx, sample_rules(), START + 4 * DAY)
    assert all_rows(ctx) == before


def test_with_moved_to_leads_continue_on_that_step(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    for hours in (0, 1, 2):
        run_at(ctx, START + hours * HOUR)
    rules = _changed(WELCOME, "id: wait-for-click", "id: wait")
    rules[WELCOME] += "moved_to: {wait-for-click: wait}\n"
    (change,) = publish(ctx, rules, START + DAY)
    assert (change.leads_on_track, change.moved_steps) == (1, {"wait-for-click": "wait"})
    for day in range(1, 8):
        run_at(ctx, START + HOUR + day * DAY)
    assert [row[1] for row in messages(ctx) if row[0] == lead] == ["01-hello", "02-more"]


def test_a_step_without_leads_may_be_removed(ctx: AppContext) -> None:
    add_lead(ctx, title="Head")
    run_at(ctx, START)
    (change,) = publish(ctx, _shorter(), START)
    assert (change.version, change.moved_steps) == (2, {})


def test_enrolled_leads_follow_the_new_version_from_their_step(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    for hours in (0, 1, 2):
        run_at(ctx, START + hours * HOUR)
    publish(ctx, _shorter(), START + DAY)
    for day in range(1, 8):
        run_at(ctx, START + HOUR + day * DAY)
    assert [row[1] for row in messages(ctx)] == ["01-hello"]
    assert custody(ctx, lead) == ("track", "keep")


def test_a_new_version_makes_waiting_leads_due(ctx: AppContext) -> None:
    sooner, hot = add_lead(ctx), add_lead(ctx, title="Head", budget=9)
    run_at(ctx, START)
    rules = _changed("tracks/keep/track.yaml", "after: 10 days", "after: 1 day")
    publish(ctx, rules, START + HOUR)
    run_at(ctx, START + HOUR, START + 2 * DAY)
    assert [lead for lead, *_ in messages(ctx)] == [hot, sooner]
    old = "  - name: replied\n    when: {did: replied}"
    new = "  - name: rich\n    when: {field: budget, at_least: 5}"
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace(old, new)
    publish_approved(ctx, rules, START + 2 * DAY)
    run_at(ctx, START + 2 * DAY)
    assert custody(ctx, hot)[0] == "offer"


def test_a_planned_message_is_sent_in_the_version_that_planned_it(ctx: AppContext) -> None:
    ctx.provider = RecordingProvider()
    add_lead(ctx, title="Head")
    run_at(ctx, START)
    advance.advance(ctx, START + HOUR)
    publish(ctx, _changed("tracks/welcome/01-hello.md", "subject: Hello", "subject: Welcome"), START + HOUR)
    run.deliver(ctx, VirtualClock(START + HOUR))
    add_lead(ctx, title="Head", at=START + HOUR)
    run_at(ctx, START + HOUR, START + 2 * HOUR)
    assert [subject for _, _, subject in ctx.provider.sent] == ["Hello", "Welcome"]
    assert rows(ctx, "SELECT track_version FROM message ORDER BY id") == [(1,), (2,)]


def test_another_process_sees_versions_published_after_its_start(ctx: AppContext) -> None:
    other = worker_context(ctx)
    add_lead(ctx, title="Head")
    run_at(other, START)
    publish_approved(ctx, _changed("sales/policy.yaml", "capacity: 5", "capacity: 1"), START)
    for _ in range(3):
        add_lead(ctx, demo_requested=True)
    run_at(other, START)
    assert one(ctx, "SELECT count(*) FROM offer") == 2
    other.database.close()


def test_a_changed_snippet_is_a_new_version_of_each_track_whose_emails_include_it(ctx: AppContext) -> None:
    rules = sample_rules() | {"snippets/sign.md": "Nora, {{ sender.name }}"}
    rules["tracks/welcome/01-hello.md"] += "\n{% include 'sign' %}\n"
    assert [change.name for change in publish(ctx, rules, START)] == ["welcome"]
    rules["snippets/sign.md"] = "Ida"
    assert [(change.name, change.version) for change in publish(ctx, rules, START)] == [("welcome", 3)]
    with ctx.database.read() as tx:
        texts = [ctx.definitions.email(tx, "welcome", version, "01-hello").sources[2] for version in (2, 3)]
    assert ["Nora, {{ sender.name }}" in text for text in texts] == [True, False]
    assert "Ida" in texts[1]
