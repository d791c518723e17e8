"""The labelled replies: every file is well formed, and no text is there twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from ruamel.yaml import YAML

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(CORPUS.glob("*/*.yaml"))
HELD_BACK = sorted(CORPUS.glob("held_back/*.yaml"))
CLASSES = frozenset({
    "wants_to_talk", "question", "not_now", "not_interested", "wrong_person", "left_company", "no_mail", "absence",
    "automatic", "unclear",
})  # fmt: skip
MAIN = frozenset({"en", "de", "fr", "es", "it", "nl", "pt", "pl", "sv", "cs", "ru", "ja"})


def _name(path: Path) -> str:
    return path.relative_to(CORPUS).as_posix()


def _entries(path: Path) -> list[dict[str, str]]:
    entries: list[dict[str, str]] = YAML(typ="safe").load(path.read_text("utf-8"))
    return entries


def test_all_parts_have_only_files_of_languages() -> None:
    assert {path.parent.name for path in FILES} == {"open", "calibration", "held_back"}
    assert {path.stem for path in HELD_BACK} == MAIN | {"da", "ro", "tr", "uk", "zh"}


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_every_entry_has_a_known_class_and_a_text(path: Path) -> None:
    for entry in _entries(path):
        assert {"class", "text"} <= entry.keys() <= {"class", "text", "subject"}, entry
        assert entry["class"] in CLASSES, entry
        assert all(isinstance(value, str) and value.strip() for value in entry.values()), entry


@pytest.mark.parametrize("path", HELD_BACK, ids=_name)
def test_a_held_back_file_has_the_same_classes_as_those_of_other_languages(path: Path) -> None:
    counts = Counter(entry["class"] for entry in _entries(path))
    if path.stem in MAIN:
        assert counts == {
            "no_mail": 25, "question": 6, "wants_to_talk": 5, "not_now": 4, "not_interested": 4, "wrong_person": 2,
            "left_company": 1, "absence": 2, "automatic": 1,
        }  # fmt: skip
    else:
        assert (counts["no_mail"], counts.total()) == (8, 16)


def test_no_text_is_there_twice() -> None:
    places: dict[str, list[str]] = {}
    for path in FILES:
        for entry in _entries(path):
            places.setdefault(" ".join(entry["text"].casefold().split()), []).append(_name(path))
    assert sorted(" and ".join(found) for found in places.values() if len(found) > 1) == []  # names no held-back text
