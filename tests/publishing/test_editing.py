"""Test editing files of the folder of definitions: which, over what, and what a draft would be."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurture.definitions.folder import write_texts
from nurture.errors import InvalidState, NotFound
from nurture.publishing import editing
from nurture.publishing.editing import MAX_FILE_BYTES, FileChanged
from tests.journey.builders import sample_rules

HELLO, WELCOME = "tracks/welcome/01-hello.md", "tracks/welcome/track.yaml"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "templates"
    write_texts(folder, sample_rules())
    return folder


def test_a_file_is_written_over_the_text_that_was_opened(root: Path) -> None:
    opened = editing.open_file(root, HELLO)
    assert (opened.text, opened.is_writable) == (sample_rules()[HELLO], True)
    (root / HELLO).chmod(0o640)
    editing.save_file(root, HELLO, opened.text.replace("Hello", "Welcome"), opened.digest)
    assert "subject: Welcome" in (root / HELLO).read_text("utf-8")
    assert (root / HELLO).stat().st_mode & 0o777 == 0o640
    assert [one.name for one in (root / HELLO).parent.iterdir() if one.name.startswith(".")] == []


def test_a_file_that_changed_on_disk_is_left_alone_and_shown(root: Path) -> None:
    opened = editing.open_file(root, HELLO)
    (root / HELLO).write_text("of a colleague", "utf-8")
    with pytest.raises(FileChanged) as refused:
        editing.save_file(root, HELLO, "mine", opened.digest)
    assert refused.value.text == "of a colleague"
    assert (root / HELLO).read_text("utf-8") == "of a colleague"


@pytest.mark.parametrize(
    "path",
    [
        "../outside.yaml",
        "tracks/../../outside.yaml",
        "/etc/passwd",
        "tracks/welcome/../welcome/track.yaml",
        "tracks//welcome/track.yaml",
        "tracks/welcome/.hidden.md",
        "tracks/welcome/run.sh",
        "other/file.md",
        "tracks\\welcome\\track.yaml",
        "",
        "tracks",
    ],
)
def test_nothing_outside_the_definitions_is_read_or_written(root: Path, path: str) -> None:
    (root.parent / "outside.yaml").write_text("secret", "utf-8")
    with pytest.raises(NotFound):
        editing.open_file(root, path)
    with pytest.raises(NotFound):
        editing.save_file(root, path, "mine", editing.digest_of("secret"))
    assert (root.parent / "outside.yaml").read_text("utf-8") == "secret"


def test_a_symbolic_link_is_followed_neither_as_a_file_nor_as_a_folder(root: Path) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "01-hello.md").write_text("secret", "utf-8")
    (root / "tracks/welcome/09-link.md").symlink_to(outside / "01-hello.md")
    (root / "tracks/linked").symlink_to(outside)
    for path in ("tracks/welcome/09-link.md", "tracks/linked/01-hello.md"):
        with pytest.raises(NotFound):
            editing.open_file(root, path)
        with pytest.raises(NotFound):
            editing.save_file(root, path, "mine", editing.digest_of("secret"))
    assert (outside / "01-hello.md").read_text("utf-8") == "secret"


def test_a_text_that_is_too_large_is_neither_saved_nor_opened(root: Path) -> None:
    opened = editing.open_file(root, HELLO)
    with pytest.raises(InvalidState, match="The limit is"):
        editing.save_file(root, HELLO, "x" * (MAX_FILE_BYTES + 1), opened.digest)
    (root / HELLO).write_text("x" * (MAX_FILE_BYTES + 1), "utf-8")
    with pytest.raises(InvalidState, match="larger than"):
        editing.open_file(root, HELLO)


def test_a_draft_is_checked_and_composed_without_being_written(root: Path) -> None:
    text = sample_rules()[HELLO]
    found = editing.check_draft(root, HELLO, text.replace("Hello", "Welcome", 1))
    assert found.problems == ()
    assert found.email is not None
    assert found.email.subject == "Welcome"
    wrong = editing.check_draft(root, HELLO, text.replace("lead.first_name", "lead.frist_name"))
    assert [one.line for one in wrong.problems] == [5]
    assert (root / HELLO).read_text("utf-8") == text


def test_a_fault_in_another_track_does_not_hide_the_preview(root: Path) -> None:
    write_texts(root, {"tracks/keep/track.yaml": "name: keep\nsteps: nonsense\n"})
    found = editing.check_draft(root, HELLO, sample_rules()[HELLO])
    assert found.elsewhere > 0
    assert found.email is not None


def test_words_to_complete_are_keys_of_the_schema_fields_and_names(root: Path) -> None:
    sources = editing.read_sources(root)
    assert {"re_entry:", "wait_for:", "keep", "01-hello"} <= set(editing.list_words(sources, WELCOME))
    assert {"lead.first_name", "subject:", "unsubscribe_url"} <= set(editing.list_words(sources, HELLO))


@pytest.mark.parametrize("tag", ["{{ lead.", "{% if lead.company", "{{ lead.company\n\n"])
def test_a_tag_that_is_not_closed_is_a_fault_of_its_own_file_and_not_of_the_signature(root: Path, tag: str) -> None:
    defaults = (root / "defaults.yaml").read_text("utf-8")
    write_texts(root, {"defaults.yaml": f"{defaults}brand: {{signature: nora}}\n", "snippets/nora.md": "Nora\n"})
    text = f"---\nsubject: Hello\npreheader: One two three\n---\nHello Nora\n\n{tag}"
    found = editing.check_draft(root, HELLO, text)
    assert [(one.line, one.is_warning) for one in found.problems if "tag is invalid" in one.message] == [(7, False)]
    assert found.email is None
