"""Read the folder templates/ into a bundle of texts."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from nurture.domain.problems import Problem
from nurture.errors import FileUnreadable

Sources = Mapping[str, str]
"""Texts by their path below templates/, with forward slashes."""

DEFAULTS: Final = "defaults.yaml"
POLICY: Final = "sales/policy.yaml"
BRIEF: Final = "handoff/brief.md"
CONFIRM: Final = "handoff/confirm.md"
SENDING: Final = "sending.yaml"
FIELDS: Final = "fields.yaml"
CRM: Final = "sales/crm.yaml"
TRACKS: Final = "tracks/"
BROADCASTS: Final = "broadcasts/"
"""The folder of the broadcasts. A broadcast is known by its path: `broadcasts/NAME`, which no track can be called."""
_FOLDERS: Final = ("tracks", "broadcasts", "layouts", "snippets", "handoff", "sales")
_ENCODING: Final = "Save the file again with the encoding UTF-8"
_SUFFIXES: Final = frozenset({".yaml", ".yml", ".md", ".mjml"})


def email_folder(track: str) -> str:
    """Return the folder of a track, or of a broadcast (`broadcasts/NAME`), with a slash at its end."""
    return f"{track}/" if track.startswith(BROADCASTS) else f"{TRACKS}{track}/"


def is_definition(path: PurePosixPath) -> bool:
    """Return whether *path*, below templates/, is one that `read_folder` reads."""
    is_single = str(path) in (DEFAULTS, FIELDS, SENDING)
    is_hidden = any(part.startswith(".") for part in path.parts)
    return is_single or (
        len(path.parts) > 1 and path.parts[0] in _FOLDERS and path.suffix in _SUFFIXES and not is_hidden
    )


def read_folder(path: str | Path) -> Sources:
    """Read the definitions below *path*: YAML, Markdown and MJML; other files are ignored.

    Raises FileUnreadable, naming all files that are not readable UTF-8 text.
    """
    texts, unreadable = scan_folder(path)
    if unreadable:
        root = Path(path)
        raise FileUnreadable(
            "\n".join(f"{root / problem.file} cannot be read: {_format_problem(problem)}." for problem in unreadable)
        )
    return texts


def write_texts(root: Path, texts: Sources) -> None:
    """Write *texts* below the folder *root*, each as a whole or not at all. Raises FileUnreadable."""
    try:
        for path, text in texts.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            draft = file.with_name(f".{file.name}.new")
            draft.write_text(text, "utf-8")
            draft.replace(file)
    except OSError as error:
        raise FileUnreadable(f"The folder {root} cannot be written: {error.strerror}.") from error


def _format_problem(problem: Problem) -> str:
    return f"{problem.message}; {problem.suggestion[0].lower()}{problem.suggestion[1:]}"


def scan_folder(path: str | Path) -> tuple[Sources, list[Problem]]:
    """Read the definitions below *path* as far as they are readable, and report the other files.

    Their texts are included with a replacement character for each invalid byte, so that references to them are
    valid.
    """
    root = Path(path)
    if not root.exists():
        raise FileUnreadable(f"there is no folder {root}. Run `nurture admin init` to create one from the templates.")
    if not root.is_dir():
        raise FileUnreadable(f"{root} is a file, not a folder. Name the folder that holds defaults.yaml and tracks/.")
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    for file in _files(root):
        name = file.relative_to(root).as_posix()
        try:
            content = file.read_bytes()
        except OSError as error:
            problems.append(Problem(name, 1, str(error.strerror or error), "Check its permissions"))
            texts[name] = ""
            continue
        texts[name] = _text(content)
        problems += _encoding_problems(name, content)
    return texts, problems


def _files(root: Path) -> list[Path]:
    below = [root / name for name in (DEFAULTS, FIELDS, SENDING)]
    below += [file for folder in _FOLDERS for file in (root / folder).rglob("*")]
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


def _encoding_problems(name: str, content: bytes) -> list[Problem]:
    """Report the first byte that is not valid UTF-8 text."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        byte, at, what = content[error.start], error.start, "is not UTF-8 text"
    else:
        if b"\0" not in content:
            return []
        byte, at, what = 0, content.index(b"\0"), "is not text"
    line = content.count(b"\n", 0, at) + 1
    return [Problem(name, line, f"byte {at + 1} (0x{byte:02x}) {what}", _ENCODING)]
