"""Test publishing one track alone, the versions of a track, and the way back to an earlier one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import InvalidDefinitions, InvalidState, NotFound
from nurture.journey.leads.enrollment_queries import load_exclusions
from nurture.publishing import track_versions
from nurture.publishing.effects import Change
from nurture.publishing.publish import publish
from nurture.publishing.unpublished import find_unpublished
from nurture.runtime.context import AppContext
from nurture.runtime.publication_queries import insert_versions
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import RecordingProvider, custody, one, rows

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WELCOME, KEEP = "tracks/welcome/track.yaml", "tracks/keep/track.yaml"


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    made = make_context(db, tmp_path)
    made.provider = RecordingProvider()
    return made


def changed(path: str, old: str, new: str, sources: dict[str, str] | None = None) -> dict[str, str]:
    sources = sources or sample_rules()
    assert old in sources[path]
    return sources | {path: sources[path].replace(old, new)}


def versions(ctx: AppContext) -> dict[str, int]:
    return dict(rows(ctx, "SELECT name, max(version) FROM publication GROUP BY name"))  # type: ignore[arg-type]


def slower(days: int) -> dict[str, str]:
    return changed(WELCOME, "after: 3 days", f"after: {days} days")


def test_one_track_is_published_alone_although_others_are_not_finished(ctx: AppContext) -> None:
    unfinished = changed(KEEP, "repeat:", "repeet:", slower(4))
    unfinished["sales/policy.yaml"] += "colour: blue\n"
    with pytest.raises(InvalidDefinitions):
        publish(ctx, unfinished, START)
    (change,) = publish(ctx, unfinished, START, only=["welcome"])
    assert (change.name, change.version) == ("welcome", 2)
    assert versions(ctx) == {"keep": 1, "welcome": 2, "policy": 1}
    slower_too = changed(KEEP, "after: 10 days", "after: 11 days", slower(5))
    assert find_unpublished(ctx, slower_too, ["welcome"]) == ["keep"]
    assert find_unpublished(ctx, slower_too, ["keep", "welcome"]) == []


def test_a_fault_of_the_track_itself_or_of_what_all_use_stops_it(ctx: AppContext) -> None:
    for path in (WELCOME, "defaults.yaml"):
        sources = sample_rules() | {path: sample_rules()[path] + "colour: blue\n"}
        with pytest.raises(InvalidDefinitions, match="colour"):
            publish(ctx, sources, START, only=["welcome"])
    with pytest.raises(NotFound, match="Did you mean `welcome`"):
        publish(ctx, sample_rules(), START, only=["welcom"])


def test_a_track_that_leads_to_an_unpublished_one_is_published_with_it(ctx: AppContext) -> None:
    sources = changed(WELCOME, "finally: keep", "finally: later")
    sources |= {path.replace("/keep/", "/later/"): text for path, text in sources.items() if "/keep/" in path}
    sources["tracks/later/track.yaml"] = (
        sources[KEEP].replace("name: keep", "name: later").replace("everybody", "nobody")
    )
    with pytest.raises(InvalidState, match="nurture publish welcome later"):
        publish(ctx, sources, START, only=["welcome"])
    assert [one.name for one in publish(ctx, sources, START, only=["welcome", "later"])] == ["later", "welcome"]


def test_known_leads_are_taken_in_later_on_a_track_that_did_not_change(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Buyer")
    run_at(ctx, START, START + HOUR)
    wider = changed(WELCOME, "{field: title, contains: [head]}", "everybody")
    wider = changed(WELCOME, "takes_over: no\n", "", wider)
    publish(ctx, wider, START + HOUR)
    run_at(ctx, START + 2 * HOUR)
    assert custody(ctx, lead) == ("track", "keep")
    assert publish(ctx, wider, START + DAY) == publish(ctx, wider, START + DAY, only=["welcome"]) == []
    (dry,) = publish(ctx, wider, START + DAY, only=["welcome"], take_in=True, dry_run=True)
    with ctx.database.read() as tx:
        assert load_exclusions(tx, [lead]) == {lead: frozenset({"welcome"})}
    (asked,) = publish(ctx, wider, START + DAY, only=["welcome"], take_in=True)
    assert asked == dry
    assert (asked.is_unchanged, asked.version, asked.fits) == (True, 2, {"keep": 1})
    assert versions(ctx)["welcome"] == 2
    run_at(ctx, START + DAY)
    assert custody(ctx, lead) == ("track", "welcome")


def test_the_versions_of_a_track_are_listed_with_the_files_that_changed(ctx: AppContext) -> None:
    publish(ctx, slower(4), START + DAY)
    rewritten = changed("tracks/welcome/02-more.md", "More", "Still more", slower(5))
    publish(ctx, rewritten, START + 2 * DAY)
    listed = track_versions.list_versions(ctx, "welcome")
    assert [(one.version, one.published_at) for one in listed] == [
        (3, START + 2 * DAY),
        (2, START + DAY),
        (1, START),
    ]
    assert listed[0].changed_files == ("tracks/welcome/02-more.md", WELCOME)
    assert listed[1].changed_files == (WELCOME,)
    assert "defaults.yaml" in listed[2].changed_files
    with pytest.raises(NotFound, match="Did you mean `keep`"):
        track_versions.list_versions(ctx, "keeep")


def test_a_rollback_publishes_the_earlier_version_as_the_newest(ctx: AppContext) -> None:
    publish(ctx, slower(4), START)
    publish(ctx, slower(90), START)
    change = track_versions.roll_back(ctx, "welcome", 2, START + DAY)
    assert (change.old_version, change.version) == (3, 4)
    digest = "SELECT digest FROM publication WHERE name = 'welcome' AND version = :version"
    assert one(ctx, digest, version=4) == one(ctx, digest, version=2)
    assert track_versions.list_versions(ctx, "welcome")[0].changed_files == (WELCOME,)
    assert publish(ctx, slower(4), START + DAY) == []


def test_a_rollback_says_before_what_it_does_to_leads(ctx: AppContext) -> None:
    publish(ctx, slower(90), START)
    add_lead(ctx, title="Head of Planning")
    run_at(ctx, START, START + HOUR, START + 2 * HOUR)
    plan = track_versions.preview_roll_back(ctx, "welcome", 1, START + DAY)
    assert plan.effects is not None
    assert {(row.track, row.name, row.change) for row in plan.effects.rows} == {
        ("welcome", "02-more", Change.EARLIER),
        ("welcome", "keep", Change.EARLIER),
        ("keep", "01-news", Change.EARLIER),
    }
    assert versions(ctx)["welcome"] == 2


def test_a_rollback_that_changes_nothing_or_loses_a_step_with_leads_is_refused(ctx: AppContext) -> None:
    added = changed(WELCOME, "steps:\n", "steps:\n  - email: 00-first\n    after: 9 days\n")
    added["tracks/welcome/00-first.md"] = added["tracks/welcome/01-hello.md"].replace("Hello", "First")
    publish(ctx, added, START)
    add_lead(ctx, title="Head of Planning")
    run_at(ctx, START)
    with pytest.raises(InvalidState, match="step 00-first"):
        track_versions.roll_back(ctx, "welcome", 1, START)
    with pytest.raises(InvalidState, match="same content as the one in force"):
        track_versions.roll_back(ctx, "welcome", 2, START)
    with pytest.raises(NotFound, match="It has: 1, 2"):
        track_versions.roll_back(ctx, "welcome", 7, START)
    assert versions(ctx)["welcome"] == 2


def test_a_version_names_the_user_who_published_it(ctx: AppContext) -> None:
    publish(ctx, slower(4), START, by="mira@firm.example (console)")
    track_versions.roll_back(ctx, "welcome", 1, START, "jo@firm.example (console)")
    found = track_versions.list_versions(ctx, "welcome")
    assert [one.published_by for one in found] == ["jo@firm.example (console)", "mira@firm.example (console)", ""]


def test_of_two_who_publish_at_the_same_time_the_second_is_refused(ctx: AppContext) -> None:
    publish(ctx, slower(4), START)
    with ctx.database.write() as tx, pytest.raises(InvalidState, match="Somebody else published"):
        insert_versions(tx, [("track", "welcome", 2, "another", {})], START, "")
    assert versions(ctx)["welcome"] == 2
