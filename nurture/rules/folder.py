"""Read the folder templates/ into a bundle of texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from nurture.errors import FileUnreadable

Sources = Mapping[str, str]
"""Texts by their path below templates/, with forward slashes."""

DEFAULTS: Final = "defaults.yaml"
POLICY: Final = "sales/policy.yaml"
BRIEF: Final = "handoff/brief.md"
SENDING: Final = "sending.yaml"
_FOLDERS: Final = ("tracks", "layouts", "handoff", "sales")
_SUFFIXES: Final = frozenset({".yaml", ".yml", ".md", ".mjml"})


def read_folder(path: str | Path) -> Sources:
    """Read the rules below *path*: YAML, Markdown and MJML; other files there are left alone.

    Raises FileUnreadable, naming all files that are not readable UTF-8 text.
    """
    root = Path(path)
    if not root.exists():
        raise FileUnreadable(f"there is no folder {root}. `nurture init` writes one to start from.")
    if not root.is_dir():
        raise FileUnreadable(
            f"{root} is a file, not a folder. Name the folder that holds defaults.yaml and tracks/."
        )
    texts: dict[str, str] = {}
    complaints: list[str] = []
    for file in _files(root):
        try:
            texts[file.relative_to(root).as_posix()] = _text(file)
        except (OSError, ValueError) as error:
            complaints.append(f"{file} cannot be read: {_reason(error)}.")
    if complaints:
        raise FileUnreadable("\n".join(complaints))
    return texts


def _files(root: Path) -> list[Path]:
    below = [
        root / DEFAULTS,
        root / SENDING,
        *(file for folder in _FOLDERS for file in (root / folder).rglob("*")),
    ]
    return sorted(
        file
        for file in below
        if file.suffix in _SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(root).parts)
        and file.exists()
    )


def _text(file: Path) -> str:
    text = file.read_bytes().decode("utf-8-sig")
    if "\0" in text:
        raise ValueError("it is not text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text; save it again with the encoding UTF-8"
    if isinstance(error, OSError):
        return f"{error.strerror}; check its permissions"
    return f"{error}; save it again as text with the encoding UTF-8"
