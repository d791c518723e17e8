"""SECURITY.md names existing tests for each promise, and contains what it must."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECURITY = (ROOT / "SECURITY.md").read_text("utf-8")
_ROW = re.compile(r"^\| (?!Promise|---|\*\*)(?P<promise>[^|]+) \|(?P<tests>[^|]*)\|$", re.MULTILINE)
PROMISES = {row["promise"]: row["tests"] for row in _ROW.finditer(SECURITY.partition("## What is promised")[2])}


def test_the_promises_are_there() -> None:
    assert len(PROMISES) >= 60


@pytest.mark.parametrize("promise", PROMISES)
def test_each_promise_names_tests_that_are_there(promise: str) -> None:
    named = re.findall(r"`([^`]+)`", PROMISES[promise])
    assert named, "no test proves it"
    for node in named:
        file, *names = node.split("::")
        assert re.fullmatch(r"tests/(\w+/)*test_\w+\.py", file), node
        assert (ROOT / file).is_file(), node
        assert names, f"{node} names no test in the file"
        assert "::".join(names) in _tests(file), node


@cache
def _tests(file: str) -> frozenset[str]:
    """Return the tests of a file as node ids, except those marked not to run."""
    return frozenset(_below((ROOT / file).read_text("utf-8")))


def _below(source: str) -> list[str]:
    tree = ast.parse(source)
    found = [(one, "") for one in tree.body]
    found += [(one, f"{of.name}::") for of in tree.body if isinstance(of, ast.ClassDef) for one in of.body]
    return [
        prefix + one.name
        for one, prefix in found
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
        and one.name.startswith("test_")
        and not any("skip" in ast.unparse(mark) for mark in one.decorator_list)
    ]


def test_a_test_that_is_gone_or_skipped_is_missed() -> None:
    skipped = "@pytest.mark.skip\ndef test_two(): ...\n"
    assert _below(f"def test_one(): ...\n{skipped}class TestThree:\n    def test_in(self): ...") == [
        "test_one",
        "TestThree::test_in",
    ]


def test_who_finds_a_fault_learns_where_to_report_it() -> None:
    for heading in ("Report a vulnerability", "Supported versions", "Who is trusted with what", "Risks that we take"):
        assert f"## {heading}\n" in SECURITY
    assert "security advisory" in SECURITY
    assert "(SECURITY.md)" in (ROOT / "README.md").read_text("utf-8")


def test_every_dependency_is_locked_with_its_hashes() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in lock.splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) > 100
    unpinned = [line for line in lines if "==" not in line.split(" ")[0] or "--hash=sha256:" not in line]
    assert unpinned == []
    assert "--require-hashes --requirement requirements.lock" in (ROOT / "Makefile").read_text("utf-8")
