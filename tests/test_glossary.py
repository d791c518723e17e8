"""No replaced word of docs/glossary.md is left where a person meets it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from nurture.cli.commands import COMMANDS, GROUPS
from nurture.db.metadata import metadata
from tests.settings_table import list_settings

ROOT = Path(__file__).parents[1]
GLOSSARY = (ROOT / "docs/glossary.md").read_text("utf-8")
PYTHON = sorted(path for folder in ("nurture", "flows", "tests") for path in (ROOT / folder).rglob("*.py"))
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def _banned() -> dict[str, str]:
    rows = re.findall(r"^\| ([a-z, ]+) \| (.+) \|$", GLOSSARY.partition("## Do not write")[2], re.MULTILINE)
    return {word: better for words, better in rows for word in words.split(", ")}


BANNED = _banned()


def _refused(names: Iterator[str]) -> list[str]:
    found = {name: word.lower() for name in names for word in _WORD.findall(name) if word.lower() in BANNED}
    return sorted(f"{name}: write {BANNED[word]}" for name, word in found.items())


def test_the_glossary_names_what_replaces_each_word() -> None:
    assert len(BANNED) > 30
    assert all(BANNED.values())


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_identifier_has_a_word_that_was_replaced(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert not _refused(_identifiers(tree))


def _identifiers(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        for field in ("name", "id", "attr", "arg", "asname", "rest"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                yield value


def test_no_table_column_or_index_has_one() -> None:
    tables = metadata.tables.values()
    assert tables
    names = [table.name for table in tables]
    names += [column.name for table in tables for column in table.columns]
    names += [str(index.name) for table in tables for index in table.indexes]
    assert not _refused(iter(names))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "templates").rglob("*.yaml")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_no_yaml_key_has_one(path: Path) -> None:
    assert not _refused(_keys(yaml.safe_load(path.read_text("utf-8"))))


def _keys(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield str(key)
            yield from _keys(value)
    elif isinstance(node, list):
        for value in node:
            yield from _keys(value)


def test_no_setting_command_or_option_has_one() -> None:
    names = [variable.name.lower() for variable in list_settings()] + [*COMMANDS, *GROUPS, *GROUPS.values()]
    assert not _refused(iter(names))


@pytest.mark.parametrize(
    "path",
    [*sorted((ROOT / "templates").rglob("*.md")), *sorted((ROOT / "nurture/web/pages").glob("*.html"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_no_variable_of_a_template_has_one(path: Path) -> None:
    expressions = re.findall(r"\{[{%](.*?)[}%]\}", path.read_text("utf-8"), re.DOTALL)
    assert not _refused(iter(expressions))


@pytest.mark.parametrize("path", sorted((ROOT / "nurture/cli").glob("*.py")), ids=lambda path: path.name)
def test_no_help_text_has_one(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    texts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    texts += [
        str(keyword.value.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "help" and isinstance(keyword.value, ast.Constant)
    ]
    assert not _refused(iter(texts))
