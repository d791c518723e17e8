"""Read the folder templates/ into a bundle of texts."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Final

from nurture.domain.problems import Problem, faults
from nurture.errors import FileUnreadable, suggest

Sources = Mapping[str, str]
"""Texts by their path below templates/, with forward slashes."""

DEFAULTS: Final = "defaults.yaml"
POLICY: Final = "sales/policy.yaml"
BRIEF: Final = "handoff/brief.md"
CONFIRM: Final = "handoff/confirm.md"
QUESTION: Final = "handoff/question.md"
SENDING: Final = "sending.yaml"
FIELDS: Final = "fields.yaml"
CRM: Final = "sales/crm.yaml"
TRACKS: Final = "tracks/"
BROADCASTS: Final = "broadcasts/"
"""The folder of the broadcasts. A broadcast is known by its path: `broadcasts/NAME`, which no track can be called."""
_FOLDERS: Final = ("tracks", "broadcasts", "layouts", "snippets", "handoff", "sales")
_ENCODING: Final = "Save the file again with the encoding UTF-8"
_SUFFIXES: Final = frozenset({".yaml", ".yml", ".md", ".mjml"})
_TEXT_SUFFIXES: Final = frozenset({".txt", ".markdown", ".mdown", ".md~", ".docx", ".doc", ".rtf", ".html", ".htm"})
_PICTURE_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp"})
_SYSTEM_FILES: Final = frozenset({"thumbs.db", "desktop.ini"})


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
    texts, problems = scan_folder(path)
    if unreadable := faults(problems):
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

    A file that nothing reads is a warning. The texts of the others are included with a replacement character for each
    invalid byte, so that references to them are valid.
    """
    root = Path(path)
    if not root.exists():
        raise FileUnreadable(f"there is no folder {root}. Run `nurture init` to create one from the templates.")
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
    return texts, [*problems, *_find_unread(root)]


def _find_unread(root: Path) -> Iterator[Problem]:
    """Warn of each file and folder below *root* that looks like a definition, and that nothing reads."""
    known = (DEFAULTS, FIELDS, SENDING)
    for path in sorted(root.iterdir()):
        name = path.name
        if (
            path.is_dir()
            and name not in _FOLDERS
            and (near := get_close_matches(name.lower(), _FOLDERS, n=1, cutoff=0.8))
        ):
            what = f"nothing reads the folder `{name}`"
            yield Problem(f"{name}/", 1, what, f"Rename it to `{near[0]}`, or move it out of {root.name}/", True)
        elif path.is_file() and path.suffix.lower() in (".yaml", ".yml") and name not in known:
            remedy = "Move it into `sales/`" if name in (Path(POLICY).name, Path(CRM).name) else suggest(name, known)
            yield Problem(name, 1, f"nothing reads the file `{name}`", remedy.removesuffix("."), True)
    for file in sorted(file for folder in _FOLDERS for file in (root / folder).rglob("*")):
        name = file.relative_to(root).as_posix()
        is_hidden = any(part.startswith((".", "~")) for part in file.relative_to(root).parts)
        if file.is_file() and file.suffix not in _SUFFIXES and not is_hidden and file.name.lower() not in _SYSTEM_FILES:
            yield Problem(name, 1, f"nothing reads the file `{file.name}`", _remedy_for_unread(file), True)


def _remedy_for_unread(file: Path) -> str:
    suffix = file.suffix.lower()
    if suffix in _PICTURE_SUFFIXES:
        return "Put the picture on your web server, and write `![what it shows](https://...)` in the email"
    if suffix in _SUFFIXES:
        return f"Rename it to `{file.stem}{suffix}`"
    rename = f"Rename it to `{file.stem}.md` if it is the text of an email, or remove it"
    return rename if suffix in _TEXT_SUFFIXES else "Remove it, or move it out of the folder"


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
