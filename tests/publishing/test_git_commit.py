"""Test commits of single files: by whom, of what alone, and what is left as it was."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nurture.publishing.git_commit import commit_file


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=Jo", "-c", "user.email=jo@firm.example", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    for name in ("a.md", "b.md"):
        (tmp_path / name).write_text("first\n", "utf-8")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "start")
    return tmp_path


def test_a_file_is_committed_alone_under_the_name_of_its_author(repository: Path) -> None:
    (repository / "a.md").write_text("second\n", "utf-8")
    (repository / "b.md").write_text("staged by somebody else\n", "utf-8")
    git(repository, "add", "b.md")
    said = commit_file(repository / "a.md", "mira@firm.example", "Edit a.md")
    assert said == "It is committed by mira@firm.example."
    assert git(repository, "log", "-1", "--format=%an <%ae> %s") == "mira@firm.example <mira@firm.example> Edit a.md"
    assert git(repository, "show", "--format=", "--name-only", "HEAD") == "a.md"
    assert git(repository, "status", "--short") == "M  b.md"


def test_a_new_file_is_committed_and_no_hook_runs(repository: Path) -> None:
    hook = repository / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\ntouch ran\nexit 1\n", "utf-8")
    hook.chmod(0o755)
    (repository / "c.md").write_text("new\n", "utf-8")
    assert commit_file(repository / "c.md", "marketer", "Edit c.md").startswith("It is committed")
    assert not (repository / "ran").exists()
    assert git(repository, "log", "-1", "--format=%ae") == "marketer@console.invalid"


def test_a_login_cannot_write_another_header(repository: Path) -> None:
    (repository / "a.md").write_text("second\n", "utf-8")
    commit_file(repository / "a.md", "x <boss@firm.example>\nbad", "Edit a.md")
    assert "boss@firm.example>" not in git(repository, "log", "-1", "--format=%an").replace("boss@firm.example", "")
    assert git(repository, "log", "-1", "--format=%an").count("\n") == 0


def test_without_a_repository_or_a_change_there_is_no_commit(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert commit_file(repository / "a.md", "mira", "Edit a.md") == ""
    elsewhere = tmp_path_factory.mktemp("plain") / "a.md"
    elsewhere.write_text("first\n", "utf-8")
    assert commit_file(elsewhere, "mira", "Edit a.md") == ""


def test_a_commit_that_fails_is_described(repository: Path) -> None:
    (repository / "a.md").write_text("second\n", "utf-8")
    (repository / ".git/index.lock").write_text("", "utf-8")
    assert commit_file(repository / "a.md", "mira", "Edit a.md").startswith("It is not committed: ")
