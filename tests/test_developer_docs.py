"""The pages for developers name only what exists: paths, names, commands, layers and states."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import alembic.op
import pytest
from sqlalchemy import CheckConstraint

from nurture.cli.commands import COMMANDS, GROUPS
from nurture.db.metadata import metadata
from tests.test_layout import MAX_LINES

ROOT = Path(__file__).parents[1]
PAGES = (
    "docs/architecture.md",
    "docs/developers.md",
    *(f"docs/adding-a-{what}.md" for what in ("provider", "crm", "step", "report", "console-page")),
    "CONTRIBUTING.md",
)
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text("utf-8")
FOLDERS = ("nurture", "flows", "templates", "tests")
GENERATED = ("build/", ".venv/")
TABLES = metadata.tables
NO_ROW = "—"

_PATH = re.compile(r"([\w.*-]+/[\w./*-]*|[\w.*-]+\.(?:py|md|yaml|toml|mjml|html|csv))(?::([\w.]+))?")
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_WORD = re.compile(r"[\w-]+")


def _fences(page: str) -> list[str]:
    return re.findall(r"^```\w*\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def _spans(page: str) -> list[str]:
    prose = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def _files(path: str) -> list[Path]:
    """Return what *path* names, from the root of the repository or from nurture/."""
    if "*" in path or "/" not in path:
        found = [file for folder in FOLDERS for file in (ROOT / folder).rglob(path)]
        return [*found, *ROOT.glob(path)]
    return [place / path for place in (ROOT, ROOT / "nurture") if (place / path).exists()]


@cache
def _names(path: Path) -> frozenset[str]:
    """Return what a module defines: functions, classes, constants, and members of its classes."""
    return frozenset(_defined(ast.parse(path.read_text("utf-8")).body))


def _defined(body: list[ast.stmt], within: str = "") -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield within + node.name
        if isinstance(node, ast.ClassDef):
            yield from _defined(node.body, f"{node.name}.")
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        yield from (within + target.id for target in targets if isinstance(target, ast.Name))


@cache
def _modules() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for folder in ("nurture", "flows", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            found.setdefault(path.stem, []).append(path)
    return found


@cache
def _words() -> frozenset[str]:
    """Return every word of the sources, the settings of the tools and the Makefile."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.*") if path != Path(__file__)]
    paths += [ROOT / name for name in ("Makefile", "pyproject.toml", "prefect.yaml")]
    texts = (path.read_text("utf-8", errors="replace") for path in paths if path.is_file())
    return frozenset(word for text in texts for word in _WORD.findall(text))


def _exists(dotted: str) -> bool:
    """Whether *dotted* is a member of a module, a class, a table, a package or Alembic's operations."""
    first, _, rest = dotted.partition(".")
    if any(rest in _names(path) for path in _modules().get(first, [])):
        return True
    if any(dotted in _names(path) for paths in _modules().values() for path in paths):
        return True
    if first in TABLES and rest in TABLES[first].columns:
        return True
    return (ROOT / dotted.replace(".", "/")).is_dir() or (first == "op" and hasattr(alembic.op, rest))


def _path_problem(span: str) -> str:
    """Return what is wrong with a path, or with the name after its colon; "" if nothing is."""
    match = _PATH.fullmatch(span)
    assert match is not None
    path, name = match.groups()
    files = _files(path)
    if not files:
        return f"there is no {path}"
    return f"{path} defines no {name}" if name is not None and name not in _names(files[0]) else ""


def _command_exists(span: str) -> bool:
    program, *words = span.split()
    if program == "make":
        return f"\n{words[0]}:" in (ROOT / "Makefile").read_text("utf-8")
    return " ".join(words) in {*COMMANDS, *GROUPS}


def _problem(span: str) -> str:
    """Return what is wrong with something that a page sets as code; "" if nothing is."""
    if span.startswith(GENERATED):
        return ""
    if _PATH.fullmatch(span):
        return _path_problem(span)
    if _DOTTED.fullmatch(span):
        return "" if _exists(span) else f"there is no {span}"
    if _WORD.fullmatch(span):
        return "" if span in _words() else f"nothing is called {span}"
    if span.startswith(("make ", "nurture ")):
        return "" if _command_exists(span) else f"there is no command {span}"
    return ""


@pytest.mark.parametrize("name", PAGES)
def test_everything_that_a_page_names_exists(name: str) -> None:
    spans = _spans((ROOT / name).read_text("utf-8"))
    assert len(spans) > 10
    assert sorted({problem for problem in map(_problem, spans) if problem}) == []


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("db/transaction.py:Transaction.insert", ""),
        ("db/engine.py:Database.vanished", "db/engine.py defines no Database.vanished"),
        ("db/vanished.py", "there is no db/vanished.py"),
        ("planner.decide", ""),
        ("planner.vanished", "there is no planner.vanished"),
        ("custody.due_at", ""),
        ("custody.vanished", "there is no custody.vanished"),
        ("make lint", ""),
        ("make vanished", "there is no command make vanished"),
        ("nurture handoffs replay", ""),
        ("nurture vanished", "there is no command nurture vanished"),
    ],
)
def test_what_does_not_exist_is_found(code: str, problem: str) -> None:
    assert _problem(code) == problem


@pytest.mark.parametrize("diagram", [one for one in _fences(ARCHITECTURE) if one.startswith("flowchart")])
def test_every_name_in_a_diagram_exists(diagram: str) -> None:
    names = _DOTTED.findall(diagram)
    assert names
    assert [name for name in names if not _exists(name)] == []


def _section(title: str) -> str:
    return re.split(r"^##+ ", ARCHITECTURE.partition(f"# {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def _rows(text: str) -> list[list[str]]:
    """Return the cells of each row of the tables in *text*, without heads."""
    rows = re.findall(r"^\| (.+) \|$", text, re.MULTILINE)
    return [row.split(" | ") for row in rows if not row.startswith(("From |", "Package |", "Stage |"))]


def _tools() -> dict[str, Any]:
    tools: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    return tools


def _layers(contract: int) -> list[set[str]]:
    layers: list[str] = _tools()["importlinter"]["contracts"][contract]["layers"]
    return [{name.strip().removeprefix("nurture.") for name in layer.split("|")} for layer in layers]


def test_packages_and_stages_stand_in_the_order_of_the_import_contracts() -> None:
    rows = [set(re.findall(r"`(\w+)`", row[0])) for row in _rows(_section("Packages and the direction of imports"))]
    assert rows == [*_layers(0), *_layers(1)]
    packages = {path.parent.name for path in (ROOT / "nurture").glob("*/__init__.py")}
    assert packages <= set().union(*_layers(0))


def test_the_sizes_that_contributing_names_are_those_that_are_checked() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    assert f"at most {MAX_LINES} lines" in text
    assert f"a line {_tools()['ruff']['line-length']} characters" in text


def _states(table: str, column: str) -> set[str]:
    for constraint in TABLES[table].constraints:
        if isinstance(constraint, CheckConstraint):
            found = re.fullmatch(rf"{column} in \((.+)\)", str(constraint.sqltext))
            if found is not None:
                return set(re.findall(r"'(\w+)'", found[1]))
    raise AssertionError(f"{table}.{column} has no check constraint")


MACHINES = [("Custody", "custody", "kind"), ("Message", "message", "state"), ("Offer", "offer", "state")]


@pytest.mark.parametrize(("title", "table", "column"), MACHINES)
def test_the_states_of_each_machine_are_those_of_its_table(title: str, table: str, column: str) -> None:
    rows = _rows(_section(title))
    states = _states(table, column)
    before = {state for row in rows for state in row[0].split(", ")}
    after = {state for row in rows for state in row[1].split(", ")}
    assert after == states, "every state is reached, and no other one"
    assert before <= states | {NO_ROW}
    assert NO_ROW in before


@cache
def _calls(path: Path) -> frozenset[str]:
    """Return the calls of a module as `object.name` and, if the first argument is a name, `name(argument`."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    called = {ast.unparse(node.func) for node in nodes if isinstance(node.func, ast.Name | ast.Attribute)}
    return frozenset(called) | {
        f"{node.func.id if isinstance(node.func, ast.Name) else node.func.attr}({node.args[0].id}"
        for node in nodes
        if isinstance(node.func, ast.Name | ast.Attribute) and node.args and isinstance(node.args[0], ast.Name)
    }


CHANGES = {
    "Custody": re.compile(
        r".*transitions\.(set_custody|move_to|hand_off|close)"
        r"|(\w+\.)?(CustodyUpdate|offer_to_rep|recycle_leads)"
    ),
    "Message": re.compile(r"update(_by_id)?\(messages?|(\w+\.)?DeliveryResult"),
    "Offer": re.compile(r"update(_by_id)?\(offer|(\w+\.)?(record_answers|end_accepted_offers|OfferRow)"),
}
"""What a module calls that changes a state."""


@pytest.mark.parametrize("title", CHANGES)
def test_every_module_that_changes_a_state_stands_in_its_table(title: str) -> None:
    shared = ("nurture/journey/leads/transitions.py", "nurture/db/migrations/")
    modules = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "nurture").rglob("*.py"))}
    changing = {
        name.removeprefix("nurture/")
        for name, path in modules.items()
        if not name.startswith(shared) and any(CHANGES[title].fullmatch(call) for call in _calls(path))
    }
    assert len(changing) > 5
    assert {name for name in changing if name not in _section(title)} == set()
