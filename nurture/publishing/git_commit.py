"""Commit one file of a git repository under the name of its author; what others have staged stays staged."""

import os
import subprocess
from pathlib import Path
from typing import Final

_SECONDS: Final = 5.0
_SETTINGS: Final = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "commit.gpgSign=false")
"""A repository may name programs to run; none of them runs here."""


def commit_file(file: Path, author: str, message: str) -> str:
    """Commit *file* alone, if its folder is in a git repository; return a sentence, "" without a repository.

    *author* is the login of the user. Nothing is pushed. A commit that fails is described, and the file stays saved.
    """
    try:
        inside = _git(file.parent, "rev-parse", "--is-inside-work-tree")
        if inside.returncode or _git(file.parent, "check-ignore", "--quiet", "--", file.name).returncode == 0:
            return ""
        name = "".join(one for one in author if one.isprintable() and one not in "<>").strip() or "unknown"
        address = name if "@" in name else f"{name}@console.invalid"
        added = _git(file.parent, "add", "--intent-to-add", "--", file.name)
        who = ("-c", "user.name=nurture console", "-c", "user.email=console@console.invalid")
        options = ("--quiet", "--no-verify", "--only", f"--author={name} <{address}>", "--message", message)
        done = _git(file.parent, "commit", *options, "--", file.name, settings=who)
    except (OSError, subprocess.TimeoutExpired):
        return "It is not committed: git did not answer."
    if added.returncode or done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        nothing = "nothing to commit" in done.stdout or "no changes added" in done.stdout
        return "" if nothing else f"It is not committed: {said[-1][:200] if said else 'git failed'}."
    return f"It is committed by {name}."


def _git(folder: Path, *arguments: str, settings: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    options = [part for one in _SETTINGS for part in ("-c", one)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "NURTURE_"))}
    command = ["git", *options, *settings, *arguments]
    return subprocess.run(  # noqa: S603 - no shell, and the file comes after `--`
        command,
        cwd=folder,
        env=environment | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
