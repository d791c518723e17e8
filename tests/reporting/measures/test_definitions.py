"""The definition of a version never changes, so that a trend compares like with like."""

from __future__ import annotations

from pathlib import Path

from nurture.reporting.measures.definitions import Facts, Measure, hash_definition, load_facts, load_measures

FROZEN = Path(__file__).with_name("frozen_definitions.txt")


def _current() -> dict[tuple[str, int], str]:
    definitions: dict[str, Measure | Facts] = {f"facts:{name}": one for name, one in load_facts().items()}
    definitions |= {id_: one for id_, one in load_measures().items() if not one.none}
    return {(name, one.version): hash_definition(one) for name, one in definitions.items()}


def _frozen() -> dict[tuple[str, int], str]:
    lines = [line.split() for line in FROZEN.read_text("utf-8").splitlines() if not line.startswith("#")]
    found = {(name, int(version)): hash_ for name, version, hash_ in lines}
    assert len(found) == len(lines), "a version stands twice in frozen_definitions.txt"
    return found


def test_a_definition_changes_only_under_a_new_version() -> None:
    frozen = _frozen()
    changed = [
        f"{name} {version} {hash_}: raise `version` and add this line with the new one to {FROZEN.name}"
        for (name, version), hash_ in _current().items()
        if frozen.get((name, version)) != hash_
    ]
    assert changed == []


def test_every_version_stays_recorded() -> None:
    current, frozen = _current(), _frozen()
    for name, version in current:
        assert [number for known, number in frozen if known == name] == list(range(1, version + 1)), name
    assert {name for name, _ in frozen} == {name for name, _ in current}


def test_a_hash_follows_the_statement_and_not_its_layout() -> None:
    one = Facts("SELECT 1 AS lead_id")
    assert hash_definition(one) == hash_definition(Facts("SELECT 1\n   AS lead_id", version=2))
    assert hash_definition(one) != hash_definition(Facts("SELECT 2 AS lead_id"))
    assert hash_definition(Measure("R1", "a", part="x = 1")) != hash_definition(Measure("R1", "a", part="x = 2"))
