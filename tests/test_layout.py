"""The code itself: sizes, names and locations."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median

import grimp
import pytest

from tests.conftest import PURE_FOLDERS

ROOT = Path(__file__).parents[1]
FILES = sorted(path for folder in ("nurture", "flows") for path in (ROOT / folder).rglob("*.py"))
MAX_LINES = 450
MAX_MEDIAN_LINES = 150
MAX_FUNCTION_LINES = 60
MAX_MODULES = 30
MAX_DATABASES = 150
VENDORS = re.compile(
    r"sendgrid|mailgun|postmark|hubspot|salesforce|pipedrive|outlook|gmail|zoom|go_?to_?webinar|slack|apprise",
    re.IGNORECASE,
)
VENDOR_PLACES = ("nurture/mail/", "nurture/crm/", "nurture/settings.py", "nurture/app.py")
VENDOR_EXCEPTIONS = {
    "nurture/operations/check_notifiers.py": "checks the one notifier that exists",
}
SQL_WORDS = frozenset({"select", "insert", "update", "delete", "text", "func", "exists", "union_all"})
SQL_PLACES = (
    "nurture/db/", "nurture/outbox/", "nurture/journey/leads/changeset.py", "nurture/journey/leads/custody.py",
    "nurture/journey/leads/snapshot.py",
)  # fmt: skip
SQL_EXCEPTIONS = {
    "nurture/journey/preferences/answer_question.py": "reads one row",
    "nurture/journey/preferences/preference_center.py": "reads one row",
    "nurture/journey/preferences/unsubscribe.py": "reads one row",
    "nurture/publishing/preview.py": "reads one row",
    "nurture/reporting/webinar.py": "one report with one statement",
    "nurture/simulation/engine.py": "writes simulated leads into a separate database",
}
BANNED = frozenset({"process", "manager", "handler", "util", "utils", "helper", "helpers", "data", "common", "misc"})


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def test_there_are_files_to_check() -> None:
    assert len(FILES) > 80


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_is_longer_than_450_lines(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES


def test_the_median_file_is_short() -> None:
    assert median(len(path.read_text("utf-8").splitlines()) for path in FILES) <= MAX_MEDIAN_LINES


def test_no_folder_has_too_many_modules() -> None:
    modules = Counter(path.parent for path in FILES if path.stem != "__init__")
    assert [folder for folder, count in modules.items() if count > MAX_MODULES] == []


def test_no_function_is_too_long() -> None:
    long = {
        f"{_name(path)}:{node.name}"
        for path in FILES
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES
    }
    assert long == set()


def test_there_is_no_import_cycle_between_files() -> None:
    graph = grimp.build_graph("nurture", "flows", exclude_type_checking_imports=True)
    assert len(graph.modules) > 0.9 * len(FILES)  # all but the migrations, which are in no package
    TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules}).prepare()


def test_mail_and_crm_do_not_import_each_other() -> None:
    graph = grimp.build_graph("nurture")
    between = {
        (importer, imported)
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
        if {".".join(name.split(".")[:2]) for name in (importer, imported)} == {"nurture.mail", "nurture.crm"}
    }
    assert between == set()


def test_vendors_are_named_only_where_they_are_connected() -> None:
    naming = {
        _name(path)
        for path in FILES
        if not _name(path).startswith(VENDOR_PLACES) and any(map(VENDORS.search, (path.stem, *_identifiers(path))))
    }
    assert naming == set(VENDOR_EXCEPTIONS)


def test_sql_is_only_in_query_files() -> None:
    building = {
        _name(path)
        for path in FILES
        if not _name(path).startswith(SQL_PLACES) and not path.name.endswith("queries.py") and _builds_sql(path)
    }
    assert building == set(SQL_EXCEPTIONS)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _identifiers(path: Path) -> Iterator[str]:
    """Yield every name that the code of a file defines, uses or imports."""
    for node in ast.walk(_tree(path)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names):
                yield from (module or "", *(alias.name for alias in names))


def _builds_sql(path: Path) -> bool:
    return any(
        isinstance(node, ast.ImportFrom)
        and (node.module or "").partition(".")[0] in ("sqlalchemy", "sqlmodel")
        and SQL_WORDS & {alias.name for alias in node.names}
        for node in ast.walk(_tree(path))
    )


def test_no_parameter_local_or_attribute_has_the_name_of_an_import() -> None:
    shadowing = [
        f"{_name(path)}:{line} {name}"
        for path in FILES
        for imported in [_imported_names(path)]
        for name, line in _bindings(path)
        if name in imported
    ]
    assert shadowing == []


def _imported_names(path: Path) -> set[str]:
    return {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


def _bindings(path: Path) -> Iterator[tuple[str | None, int]]:
    """Yield the name and line of every parameter, variable and field that a file defines."""
    for node in ast.walk(_tree(path)):
        match node:
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.MatchAs(name=name) | ast.MatchStar(name=name) | ast.ExceptHandler(name=name):
                yield name, node.lineno


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


def test_no_file_of_tests_starts_more_than_150_databases(request: pytest.FixtureRequest) -> None:
    databases = {"db", "empty_db", "sqlite_db", "postgres_db", "database_url", "lone_url", "sqlite_url", "postgres_url"}
    tests = [one for one in request.session.items if isinstance(one, pytest.Function)]
    started = Counter(str(one.path.relative_to(ROOT)) for one in tests if not databases.isdisjoint(one.fixturenames))
    assert {name: count for name, count in started.items() if count > MAX_DATABASES} == {}


README = (ROOT / "README.md").read_text("utf-8")


def test_the_readme_is_written() -> None:
    assert len(README.splitlines()) > 20
