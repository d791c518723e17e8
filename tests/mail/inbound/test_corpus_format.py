"""The labelled replies: every file is well formed, and no text is there twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from ruamel.yaml import YAML

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(CORPUS.glob("*/*.yaml"))
HELD_BACK = sorted(CORPUS.glob("held_back/*.yaml"))
FURTHER = sorted(CORPUS.glob("held_back_2/*.yaml"))
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
    assert {path.parent.name for path in FILES} == {"open", "calibration", "held_back", "held_back_2"}
    assert {path.stem for path in HELD_BACK} >= MAIN
    assert len(HELD_BACK) >= 33
    assert {path.stem for path in FURTHER} == MAIN | {"da", "ro", "tr", "uk", "zh"}


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_every_entry_has_a_known_class_and_a_text(path: Path) -> None:
    for entry in _entries(path):
        assert {"class", "text"} <= entry.keys() <= {"class", "text", "subject"}, entry
        assert entry["class"] in CLASSES, entry
        assert all(isinstance(value, str) and value.strip() for value in entry.values()), entry


@pytest.mark.parametrize("path", HELD_BACK, ids=_name)
def test_a_held_back_file_has_enough_entries_of_every_class(path: Path) -> None:
    counts = Counter(entry["class"] for entry in _entries(path))
    no_mail, others = (40, 60) if path.stem in MAIN else (10, 15)
    assert counts["no_mail"] >= no_mail
    assert counts.total() - counts["no_mail"] >= others
    assert counts.keys() == CLASSES


@pytest.mark.parametrize("path", FURTHER, ids=_name)
def test_a_file_of_the_further_half_has_the_same_classes_in_every_language(path: Path) -> None:
    main = {
        "no_mail": 40, "question": 8, "wants_to_talk": 7, "not_now": 7, "not_interested": 6, "wrong_person": 4,
        "left_company": 3, "absence": 4, "automatic": 3, "unclear": 3,
    }  # fmt: skip
    few = {
        "no_mail": 10, "question": 2, "wants_to_talk": 2, "not_now": 2, "not_interested": 2, "wrong_person": 2,
        "left_company": 1, "absence": 2, "automatic": 1, "unclear": 1,
    }  # fmt: skip
    assert Counter(entry["class"] for entry in _entries(path)) == (main if path.stem in MAIN else few)


def test_no_text_is_there_twice() -> None:
    places: dict[str, list[str]] = {}
    for path in FILES:
        for entry in _entries(path):
            places.setdefault(" ".join(entry["text"].casefold().split()), []).append(_name(path))
    assert sorted(" and ".join(found) for found in places.values() if len(found) > 1) == []  # names no held-back text
