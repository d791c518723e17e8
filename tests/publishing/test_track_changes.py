"""Test the words for what a new version of a track changes."""

from __future__ import annotations

import pytest

from nurture.definitions import read_all
from nurture.publishing.track_changes import describe_changes
from tests.journey.builders import sample_rules

WELCOME, HELLO = "tracks/welcome/track.yaml", "tracks/welcome/01-hello.md"


def words(path: str, old: str, new: str, track: str = "welcome") -> list[str]:
    sources = sample_rules()
    assert old in sources[path]
    changed = sources | {path: sources[path].replace(old, new)}
    before, after = (read_all.load(one).definition(track) for one in (sources, changed))
    return list(describe_changes(before, after))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("after: 3 days", "after: 1 day", "Email 02-more goes 2 days earlier: after 3 days becomes after 1 day."),
        ("after: 3 days", "after: 4 days", "Email 02-more goes 1 day later: after 3 days becomes after 4 days."),
        ("after: 1 hour", "after: 3 hours", "Email 01-hello goes 2 hours later: after 1 hour becomes after 3 hours."),
        (
            "after: 3 days",
            "after: 3 days on tuesday at 10:00",
            "Email 02-more goes after 3 days on Tuesday at 10:00, no longer after 3 days.",
        ),
        (
            "up_to: 5 days",
            "up_to: 6 days",
            "Step wait-for-click, up to: 5 days becomes 6 days.",
        ),
        ("finally: keep", "finally: {close: unreachable}", "Step finally, destination: track keep becomes close as"),
    ],
)
def test_a_step_that_changes_is_one_sentence(old: str, new: str, expected: str) -> None:
    (sentence,) = words(WELCOME, old, new)
    assert sentence.startswith(expected)


def test_a_new_email_is_named_with_its_subject_and_delay() -> None:
    sources = sample_rules()
    changed = dict(sources)
    changed["tracks/welcome/03-last.md"] = sources[HELLO].replace("Hello", "The last one", 1)
    changed[WELCOME] = sources[WELCOME].replace("finally:", "  - email: 03-last\n    after: 2 days\nfinally:")
    before, after = (read_all.load(one).definition("welcome") for one in (sources, changed))
    assert list(describe_changes(before, after)) == ["New email 03-last “The last one”, after 2 days."]
    assert list(describe_changes(after, before)) == ["Email 03-last is removed."]


def test_a_reworded_email_says_which_part_changes() -> None:
    assert words(HELLO, "subject: Hello", "subject: Welcome") == ["The subject of 01-hello: “Hello” becomes “Welcome”"]
    assert words(HELLO, "read on", "go on") == ["The text of 01-hello changes."]
    assert words(HELLO, "From us", "From me") == ["The preview text of 01-hello: “From us” becomes “From me”"]


def test_settings_of_the_track_are_named_in_words() -> None:
    (sentence,) = words("tracks/keep/track.yaml", "goal: Be remembered", "goal: Be kind", "keep")
    assert sentence == "Goal: Be remembered becomes Be kind."


def test_a_comment_changes_nothing() -> None:
    assert words(WELCOME, "finally: keep", "# as agreed\nfinally: keep") == []
