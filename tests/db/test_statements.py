"""SQL text consists of constants and names from the code; values are bound."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNS = {"text", "exec_driver_sql", "execute", "executemany", "executescript", "literal_column", "DDL"}
COMPOSED = {
    "nurture/db/engine.py": "pragmas, constants of the same file",
    "nurture/db/transaction.py": "names of tables and columns, constants of its callers",
    "nurture/db/backup.py": "names of tables from a constant",
    "nurture/db/clock_row.py": "one of two constants",
    "nurture/db/migrations/ddl.py": "triggers, of names and conditions in the migrations",
}
"""Files in which SQL is composed, and of which parts."""


def composed(source: str) -> list[int]:
    """Return the lines at which SQL is not a constant."""
    tree = ast.parse(source)
    made = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and _joined(node.value)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    return [
        call.lineno
        for call in calls
        if _name(call.func) in RUNS
        and (_joined(call.args[0]) or (isinstance(call.args[0], ast.Name) and call.args[0].id in made))
    ]


def _name(called: ast.expr) -> str:
    return called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")


def _joined(value: ast.expr) -> bool:
    """Return whether a text is composed of parts."""
    if isinstance(value, ast.BinOp):
        return isinstance(value.op, ast.Add | ast.Mod) and any(_is_text(one) for one in ast.walk(value))
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        return value.func.attr in ("format", "join", "replace") and _is_text(value.func.value)
    parts = value.values if isinstance(value, ast.JoinedStr) else []
    return any(isinstance(one, ast.FormattedValue) and not _is_constant(one.value) for one in parts)


def _is_constant(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id.isupper()


def _is_text(value: ast.AST) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def test_statements_are_constants_but_in_five_files() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("nurture", "flows")
        for path in (ROOT / folder).rglob("*.py")
        if composed(path.read_text("utf-8"))
    }
    assert found == set(COMPOSED)


@pytest.mark.parametrize(
    "line",
    [
        'connection.execute(text(f"SELECT {name}"))',
        'connection.execute(text("SELECT " + name))',
        'connection.execute(text("SELECT %s" % name))',
        'connection.execute(text("SELECT {}".format(name)))',
        'sql = f"SELECT {name}"\nconnection.exec_driver_sql(sql)',
    ],
)
def test_composed_sql_is_found(line: str) -> None:
    assert composed(line)
    assert not composed('connection.execute(text("SELECT :name"), {"name": name})')
    assert not composed('cursor.execute(f"PRAGMA busy_timeout = {_TIMEOUT_MS}")')
