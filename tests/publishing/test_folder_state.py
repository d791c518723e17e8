"""Test the comparison of the folder of definitions with what is live."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.definitions.folder import write_texts
from nurture.errors import InvalidState
from nurture.publishing.folder_state import FolderState, State, compare_folder, require_seen
from nurture.publishing.publish import publish
from nurture.runtime.context import AppContext
from tests.journey.builders import START, make_context_with_folder, sample_rules
from tests.journey.observe import recorded_statements

WELCOME, KEEP = "tracks/welcome/track.yaml", "tracks/keep/track.yaml"


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context_with_folder(db, tmp_path)


def compare(ctx: AppContext) -> FolderState:
    with ctx.database.read() as tx:
        return compare_folder(ctx, tx)


def write(ctx: AppContext, path: str, old: str, new: str) -> None:
    text = sample_rules()[path]
    assert old in text
    write_texts(ctx.templates, {path: text.replace(old, new)})


def test_a_folder_that_is_live_has_no_changes(ctx: AppContext) -> None:
    state = compare(ctx)
    assert (state.changes, state.unchanged, state.unreadable) == ((), 3, "")


def test_a_changed_track_has_its_live_version_words_and_lines(ctx: AppContext) -> None:
    write(ctx, WELCOME, "after: 3 days", "after: 1 day")
    (change,) = compare(ctx).changes
    assert (change.name, change.state, change.version, change.published_by) == ("welcome", State.CHANGED, 1, "")
    assert change.words == ("Email 02-more goes 2 days earlier: after 3 days becomes after 1 day.",)
    (file,) = change.files
    assert [line.strip() for line in file.lines if line[0] in "+-"] == ["-    after: 3 days", "+    after: 1 day"]
    assert change.is_publishable


def test_a_track_with_a_fault_names_file_and_line_and_is_not_publishable(ctx: AppContext) -> None:
    write(ctx, WELCOME, "after: 3 days", "after: 3 dais")
    (change,) = compare(ctx).changes
    assert change.problems[0].file == WELCOME
    assert not change.is_publishable
    assert change.words == ()


def test_a_new_and_a_missing_track_are_named(ctx: AppContext) -> None:
    (ctx.templates / WELCOME).unlink()
    for path in (ctx.templates / "tracks/welcome").iterdir():
        path.unlink()
    write_texts(
        ctx.templates,
        {
            path.replace("/keep/", "/new/"): text.replace("name: keep", "name: new")
            for path, text in sample_rules().items()
            if "/keep/" in path
        },
    )
    states = {one.name: one.state for one in compare(ctx).changes}
    assert states == {"new": State.NEW, "welcome": State.REMOVED}


def test_a_change_of_the_policy_has_its_words(ctx: AppContext) -> None:
    write(ctx, "sales/policy.yaml", "accept_within: 1 day", "accept_within: 2 days")
    (change,) = compare(ctx).changes
    assert change.label == "the sales policy"
    assert any("1 day" in one and "2 days" in one for one in change.words)


def test_a_missing_folder_is_reported(ctx: AppContext) -> None:
    ctx.templates = ctx.templates / "nowhere"
    assert "there is no folder" in compare(ctx).unreadable


def test_what_was_seen_no_longer_holds_after_a_publication_or_an_edit(ctx: AppContext) -> None:
    write(ctx, WELCOME, "after: 3 days", "after: 1 day")
    (seen,) = compare(ctx).changes
    require_seen(seen.seen, seen.seen, "welcome")
    publish(ctx, sample_rules() | {WELCOME: sample_rules()[WELCOME].replace("3 days", "9 days")}, START)
    (other,) = compare(ctx).changes
    write(ctx, WELCOME, "after: 3 days", "after: 2 days")
    (edited,) = compare(ctx).changes
    assert len({seen.seen, other.seen, edited.seen}) == 3
    with pytest.raises(InvalidState, match="Reload the page"):
        require_seen(other.seen, seen.seen, "welcome")


def test_many_changes_cost_as_many_statements_as_one(ctx: AppContext) -> None:
    write(ctx, WELCOME, "after: 3 days", "after: 1 day")
    with recorded_statements(ctx.database) as few:
        compare(ctx)
    write(ctx, KEEP, "after: 10 days", "after: 9 days")
    write(ctx, "sales/policy.yaml", "accept_within: 1 day", "accept_within: 2 days")
    with recorded_statements(ctx.database) as many:
        compare(ctx)
    assert len(few) == len(many)
