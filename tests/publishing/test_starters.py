"""Starters are added to the definitions, alone and together, and change nothing that somebody wrote."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nurture.definitions.folder import POLICY, read_folder
from nurture.errors import NotFound
from nurture.publishing.publish import check_definitions
from nurture.publishing.starters import add_starter, list_starters, read_starter, write_starters
from tests.definitions.build import SHIPPED

STARTERS = list_starters(SHIPPED)
RULES = read_folder(SHIPPED)


def _with(*names: str) -> dict[str, str]:
    rules = dict(RULES)
    for name in names:
        found = add_starter(rules, read_starter(SHIPPED, name), RULES)
        assert found.kept == []
        rules |= found.changed
    return rules


@pytest.mark.parametrize("names", [*([name] for name in STARTERS), list(STARTERS), list(STARTERS)[::-1]], ids=", ".join)
def test_each_starter_has_no_problem_beside_the_shipped_definitions_alone_and_with_all_others(names: list[str]) -> None:
    assert check_definitions(_with(*names)) == []


def test_each_starter_is_listed_and_says_what_it_does() -> None:
    listed = (SHIPPED / "starters/README.md").read_text("utf-8")
    assert set(re.findall(r"\]\(([\w-]+)/README\.md\)", listed)) == set(STARTERS)
    for name, title in STARTERS.items():
        assert title
        readme = (SHIPPED / "starters" / name / "README.md").read_text("utf-8")
        assert [
            part for part in ("Who enters", "What happens", "What it needs", "What to change") if part not in readme
        ] == []


def test_a_starter_is_not_read_before_it_is_added() -> None:
    assert [path for path in RULES if "starters" in path] == []


def test_own_tracks_fields_and_parts_of_the_policy_stay_and_are_named() -> None:
    own = dict(RULES) | {"tracks/trial/track.yaml": "name: mine\n", "fields.yaml": "plan: {type: text}\n"}
    added = add_starter(own, read_starter(SHIPPED, "trial"), RULES)
    assert added.kept == ["tracks/trial/track.yaml is there already"]
    assert added.changed["fields.yaml"].startswith("plan: {type: text}\n\ntrial_ends:\n")
    own[POLICY] = (
        own[POLICY].replace("cool_off: 30 days}", "cool_off: 31 days}").replace("name: student", "name: learner")
    )
    recycled = add_starter(own, read_starter(SHIPPED, "recycled"), RULES)
    assert [one.partition(":")[0] for one in recycled.kept] == [
        f"`not-now` in `reject_reasons` of {POLICY} is your own, and stays"
    ]
    assert "no-budget: {label: No budget this year, then: {track: recycled-no-budget}" in recycled.changed[POLICY]
    everybody = add_starter(own, read_starter(SHIPPED, "keep-everybody"), RULES)
    assert everybody.kept == [f"`readiness` in {POLICY} is your own, and stays: compare it with that of the starter"]
    assert everybody.changed == {}


def test_writing_a_starter_twice_changes_nothing_more(tmp_path: Path) -> None:
    for path, text in RULES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")
    assert write_starters(tmp_path, SHIPPED, ["recycled"]) == [
        "Starter recycled: added recycled-no-answer, recycled-no-budget, recycled-not-now, sales/policy.yaml"
    ]
    once = read_folder(tmp_path)
    assert write_starters(tmp_path, SHIPPED, ["recycled"]) == ["Starter recycled: there already"]
    assert read_folder(tmp_path) == once == _with("recycled")
    with pytest.raises(NotFound, match="Did you mean `trial`"):
        write_starters(tmp_path, SHIPPED, ["wake-up", "trail"])
    assert read_folder(tmp_path) == once
