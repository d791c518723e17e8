"""The README's commands for a newcomer work as written, and its claims are short and true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.doc_examples import ROOT, RunScript, read_document, read_section, shell_blocks

README = read_document("README.md")


def test_the_first_track_of_the_readme_works_as_it_is_typed(run_script: RunScript) -> None:
    printed = run_script("".join(shell_blocks(read_section("README.md", "Your first track, in ten minutes"))))
    assert "No problems in 4 tracks" in printed
    assert "2 rows from csv: 2 new" in printed
    assert "classified  2 nurture" in printed
    assert "by track guide-readers" in printed


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("path", ["marketers.md", "sales.md", "operators.md", "cli.md", "glossary.md"])
def test_it_links_to_the_documents_for_users(path: str) -> None:
    assert f"(docs/{path})" in README


def test_the_code_section_names_every_package() -> None:
    named = set(re.findall(r"\b(nurture/\w+|flows)/", read_section("README.md", "Code")))
    packages = {
        path.parent.relative_to(ROOT).as_posix()
        for pattern in ("nurture/*/__init__.py", "flows/__init__.py")
        for path in Path(ROOT).glob(pattern)
    }
    assert named == packages
