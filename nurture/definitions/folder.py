"""Read the folder templates/ into a bundle of texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from nurture.domain.problems import Fault
from nurture.errors import FileUnreadable

Sources = Mapping[str, str]
"""Texts by their path below templates/, with forward slashes."""

DEFAULTS: Final = "defaults.yaml"
POLICY: Final = "sales/policy.yaml"
BRIEF: Final = "handoff/brief.md"
SENDING: Final = "sending.yaml"
CRM: Final = "sales/crm.yaml"
_FOLDERS: Final = ("tracks", "layouts", "handoff", "sales")
_ENCODING: Final = "Save the file again with the encoding UTF-8"
_SUFFIXES: Final = frozenset({".yaml", ".yml", ".md", ".mjml"})


def read_folder(path: str | Path) -> Sources:
    """Read the rules below *path*: YAML, Markdown and MJML; other files there are left alone.

    Raises FileUnreadable, naming all files that are not readable UTF-8 text.
    """
    texts, unreadable = survey_folder(path)
    if unreadable:
        root = Path(path)
        raise FileUnreadable(
            "\n".join(f"{root / fault.file} cannot be read: {_in_a_row(fault)}." for fault in unreadable)
        )
    return texts


def _in_a_row(fault: Fault) -> str:
    return f"{fault.what}; {fault.instead[0].lower()}{fault.instead[1:]}"


def survey_folder(path: str | Path) -> tuple[Sources, list[Fault]]:
    """Read the rules below *path* as far as they are readable, and name the files that are not.

    Those stand in the texts with a sign for each byte that is none, so that what names them is not at fault.
    """
    root = Path(path)
    if not root.exists():
        raise FileUnreadable(f"there is no folder {root}. `nurture admin init` writes one to start from.")
    if not root.is_dir():
        raise FileUnreadable(
            f"{root} is a file, not a folder. Name the folder that holds defaults.yaml and tracks/."
        )
    texts: dict[str, str] = {}
    faults: list[Fault] = []
    for file in _files(root):
        name = file.relative_to(root).as_posix()
        try:
            content = file.read_bytes()
        except OSError as error:
            faults.append(Fault(name, 1, str(error.strerror or error), "Check its permissions"))
            texts[name] = ""
            continue
        texts[name] = _text(content)
        faults += _not_text(name, content)
    return texts, faults


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


def _text(content: bytes) -> str:
    text = content.decode("utf-8-sig", errors="replace").replace("\0", "\ufffd")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _not_text(name: str, content: bytes) -> list[Fault]:
    """Name the first byte that is not of a UTF-8 text."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        byte, at, what = content[error.start], error.start, "is not UTF-8 text"
    else:
        if b"\0" not in content:
            return []
        byte, at, what = 0, content.index(b"\0"), "is not text"
    line = content.count(b"\n", 0, at) + 1
    return [Fault(name, line, f"byte {at + 1} (0x{byte:02x}) {what}", _ENCODING)]
