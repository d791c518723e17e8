"""The code itself: sizes, names and locations."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import PURE_FOLDERS

ROOT = Path(__file__).parents[1]
FILES = sorted(path for folder in ("nurture", "flows") for path in (ROOT / folder).rglob("*.py"))
MAX_LINES = 450
BANNED = frozenset({"process", "manager", "handler", "util", "utils", "helper", "helpers", "data", "common", "misc"})


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def test_there_are_files_to_check() -> None:
    assert len(FILES) > 80


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_is_longer_than_450_lines(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES


def test_no_module_class_or_function_has_a_vague_name() -> None:
    offenders = [path.relative_to(ROOT).as_posix() for path in FILES if path.stem in BANNED]
    for path in FILES:
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                # A sales manager is a person: `Manager`, `manager_of`; an `OfferManager` is still forbidden.
                named = re.sub(r"^(Manager|_?managers?)(?=[A-Z_]|s?$)", "", node.name)
                words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+", named)}
                if words & (BANNED - {"process", "data", "common"}) or named.lower() in BANNED:
                    offenders.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert offenders == []


def test_only_the_clock_reads_the_clock() -> None:
    reads = re.compile(r"\b(datetime\.now|datetime\.utcnow|date\.today|pendulum\.now|time\.time)\(")
    offenders = {path.relative_to(ROOT).as_posix() for path in FILES if reads.search(path.read_text("utf-8"))}
    assert offenders == {"nurture/clock.py"}


def test_only_flows_import_prefect_and_nothing_at_the_top_of_nurture_imports_flows() -> None:
    offenders = []
    for path in (ROOT / "nurture").rglob("*.py"):
        tree = _tree(path)
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            roots = {name.partition(".")[0] for name in names}
            if "prefect" in roots or ("flows" in roots and node in tree.body):
                offenders.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert offenders == []


def test_the_top_level_is_as_designed() -> None:
    for name in ("pyproject.toml", "README.md", "prefect.yaml", "Makefile", "LICENSE", "CHANGELOG.md"):
        assert (ROOT / name).is_file(), name
    for name in ("flows", "templates", "nurture", "tests", "docs", ".ci"):
        assert (ROOT / name).is_dir(), name


def test_every_package_of_tests_has_one_file_that_make_quick_runs() -> None:
    marked: dict[str, int] = {}
    for path in (ROOT / "tests").glob("*/**/test_*.py"):
        folder = f"tests/{path.relative_to(ROOT / 'tests').parts[0]}/"
        marked[folder] = marked.get(folder, 0) + ("pytestmark = pytest.mark.quick" in path.read_text("utf-8"))
    of_processes = "tests/chaos/"  # these kill servers and wait for them: none of them is quick
    assert marked == {folder: int(folder not in (*PURE_FOLDERS, of_processes)) for folder in marked}


README = (ROOT / "README.md").read_text("utf-8")


def test_the_readme_is_written() -> None:
    assert len(README.splitlines()) > 20
