"""A track or an email is copied in the folder, with what its author has to change; nothing is published."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurture.definitions.folder import read_folder, write_texts
from nurture.definitions.read_all import load
from nurture.errors import InvalidState, NotFound
from nurture.publishing.copies import copy_email, copy_track, write_copy
from tests.journey.builders import sample_rules

RULES = sample_rules()
WELCOME = {path for path in RULES if path.startswith("tracks/welcome/")}


def test_a_copy_of_a_track_is_a_track_of_its_own_with_the_same_steps_and_emails() -> None:
    found = copy_track(RULES, "welcome", "hello")
    assert {path.replace("hello", "welcome", 1) for path in found.files} == WELCOME
    tracks = load({**RULES, **found.files}).tracks
    copy, origin = tracks["hello"].program(1), tracks["welcome"].program(1)
    assert copy.track == "hello"
    assert copy.instructions == origin.instructions
    assert tracks["hello"].emails == tracks["welcome"].emails
    assert found.notes == ("2 emails have the subjects of welcome: whoever gets both sees the same email twice.",)
    assert [one.file for one in found.problems] == ["tracks/welcome/track.yaml"]
    assert "same" in found.problems[0].message


def test_a_copy_says_what_both_tracks_count_together() -> None:
    rules = dict(RULES)
    rules["tracks/welcome/track.yaml"] += "utm: {campaign: spring}\ncontent: once\n"
    path = "tracks/welcome/01-hello.md"
    rules[path] = rules[path].replace("subject:", "piece: guide\nsubject:", 1)
    notes = copy_track(rules, "welcome", "hello").notes
    assert notes[1:] == (
        "Its `utm: campaign` is that of welcome, so that web statistics count both as one.",
        "Each `piece` is that of welcome: with `content: once` nobody gets it on both tracks.",
    )


def test_an_email_is_copied_with_all_its_languages_and_says_that_no_step_sends_it() -> None:
    rules = {**RULES, "tracks/welcome/01-hello.de.md": "---\nsubject: Hallo\npreheader: a\n---\nGuten Tag.\n"}
    found = copy_email(rules, "welcome/01-hello.md", "keep/04-hello")
    assert set(found.files) == {"tracks/keep/04-hello.md", "tracks/keep/04-hello.de.md"}
    assert found.files["tracks/keep/04-hello.md"] == rules["tracks/welcome/01-hello.md"]
    assert found.notes[0].startswith("2 emails have the subjects of welcome/01-hello")
    assert {(one.message, one.suggestion) for one in found.problems if one.file == "tracks/keep/04-hello.md"} >= {
        ("no step of track.yaml sends this email", "Add a step `- email: 04-hello`, or remove the file")
    }


@pytest.mark.parametrize(
    ("origin", "target", "error", "says"),
    [
        ("welcom", "hello", NotFound, "There is no track welcom. Did you mean `welcome`?"),
        ("welcome", "keep", InvalidState, "There is a track keep already. Choose another name"),
        ("welcome", "Hello there", InvalidState, "`Hello there` cannot be a name. Use lower-case letters"),
        ("welcome", "../hello", NotFound, "There is no email welcome"),
        ("welcome/01-helo", "welcome/03-hi", NotFound, "Did you mean `welcome/01-hello`?"),
        ("welcome/01-hello", "hello", NotFound, "There is no track welcome/01-hello"),
        ("welcome/01-hello", "hello/01-hello", NotFound, "There is no track hello."),
        ("welcome/01-hello", "welcome/02-more", InvalidState, "There is an email welcome/02-more already"),
        ("welcome/01-hello", "welcome/../x", InvalidState, "`../x` cannot be a name"),
    ],
)  # fmt: skip
def test_a_copy_that_cannot_be_is_refused_and_writes_nothing(
    tmp_path: Path, origin: str, target: str, error: type[Exception], says: str
) -> None:
    write_texts(tmp_path, RULES)
    with pytest.raises(error) as raised:
        write_copy(tmp_path, origin, target)
    assert says in str(raised.value)
    assert read_folder(tmp_path) == read_folder(tmp_path) | RULES
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == set(RULES)


def test_a_copy_is_written_below_the_folder_and_the_original_stays(tmp_path: Path) -> None:
    write_texts(tmp_path, RULES)
    found = write_copy(tmp_path, "welcome", "hello")
    assert read_folder(tmp_path) == {**RULES, **found.files}
