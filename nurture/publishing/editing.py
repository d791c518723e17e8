"""Edit the files of the folder of definitions: read them, check and preview a draft, and write it as a whole.

A draft is checked in memory. It is written only over the text that its author saw.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import Final

from nurture.definitions.folder import BROADCASTS, TRACKS, Sources, is_definition, scan_folder
from nurture.definitions.languages import split_language
from nurture.definitions.read_all import read
from nurture.definitions.schema_check import Shape, keys_of
from nurture.domain.problems import Problem
from nurture.errors import FileUnreadable, InvalidState, NotFound, NurtureError
from nurture.journey.tracks.emails_to_self import SAMPLE_RECIPIENT
from nurture.journey.tracks.touch_email import KNOWN_VARIABLES
from nurture.mail.rendering.render import ComposedEmail
from nurture.publishing.preview import render_preview
from nurture.publishing.publish import check_definitions

MAX_FILE_BYTES: Final = 256 * 1024
_FRONT_MATTER: Final = ("subject:", "preheader:", "layout:", "call_to_action:", "piece:", "image:", "image_alt:")


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file of the folder as it was read. *digest* is that of its text; *is_writable*: whether it can be saved."""

    path: str
    text: str
    digest: str
    is_writable: bool


class FileChanged(NurtureError):
    """The file changed on disk since it was opened; *text* is what it has now."""

    def __init__(self, path: str, text: str) -> None:
        self.text = text
        super().__init__(
            f"{path} changed on disk since you opened it, so nothing was saved.",
            "Compare both texts below, copy what you want to keep, and reload the page.",
        )


@dataclass(frozen=True, slots=True)
class DraftCheck:
    """The problems of a draft in its own file, how many there are in others, and its email, if it is one.

    *no_preview* says why there is no email.
    """

    problems: tuple[Problem, ...]
    elsewhere: int
    email: ComposedEmail | None
    no_preview: str


def list_files(root: Path) -> list[str]:
    """Return the paths of the files of the folder *root* that can be edited. Raises FileUnreadable."""
    return sorted(read_sources(root))


def open_file(root: Path, path: str) -> OpenedFile:
    """Read one file. Raises NotFound for a path that is not a definition, InvalidState for one that is too large."""
    text = _read(_locate(root, path), path)
    file = root / path
    is_writable = os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)
    return OpenedFile(path, text, digest_of(text), is_writable)


@contextmanager
def lock_folder(root: Path) -> Iterator[None]:
    """Wait until no other process saves in the folder: of two who save at once, the second sees what the first wrote.

    Raises FileUnreadable if there is no folder.
    """
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise FileUnreadable(f"{root.name} cannot be read: {error.strerror}. Check the permissions.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def save_file(root: Path, path: str, text: str, digest: str) -> Path:
    """Write *text* over the text with this *digest*, whole or not at all; return the file. Call it in `lock_folder`.

    Raises NotFound for a path that is not a definition in the folder, FileChanged if the file on disk has another text,
    InvalidState for a text that is too large, and FileUnreadable if the folder cannot be written.
    """
    file = _locate(root, path)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    content = text.encode("utf-8")
    if len(content) > MAX_FILE_BYTES or "\0" in text:
        raise InvalidState(f"{path} would have {len(content):,} bytes. The limit is {MAX_FILE_BYTES:,}: split it.")
    before = _read(file, path)
    if digest_of(before) != digest:
        raise FileChanged(path, before)
    try:
        with NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as draft:
            try:
                draft.write(content)
                draft.flush()
                os.fsync(draft.fileno())
                Path(draft.name).chmod(stat.S_IMODE(file.stat().st_mode))
                Path(draft.name).replace(file)
            except BaseException:
                Path(draft.name).unlink()
                raise
    except OSError as error:
        raise FileUnreadable(f"{path} cannot be written: {error.strerror}. Check the permissions.") from error
    return file


def check_draft(root: Path, path: str, text: str) -> DraftCheck:
    """Check the folder with *text* in place of the file *path*, and compose the email that it is. Writes nothing."""
    _locate(root, path)
    sources = _with_draft(root, path, text)
    problems = check_definitions(sources)
    own = tuple(one for one in problems if one.file == path)
    email, no_preview = _preview(sources, path)
    return DraftCheck(own, len(problems) - len(own), email, no_preview)


def read_sources(root: Path) -> Sources:
    """Read the folder as far as it is readable. Raises FileUnreadable if there is none."""
    return scan_folder(root)[0]


def list_words(sources: Sources, path: str) -> list[str]:
    """Return what an editor offers to complete: keys of the schema, names in the folder, fields of leads."""
    loaded = read(sources)[0]
    if path.endswith(".md"):
        return sorted({*_FRONT_MATTER, *KNOWN_VARIABLES, *loaded.field_names})
    keys = {f"{key}:" for shape in _shapes(Shape) for key in keys_of(shape)}
    emails = {name for one in loaded.tracks.values() for name in one.emails}
    return sorted({*keys, *loaded.tracks, *emails, *loaded.fields})


def _shapes(shape: type[Shape]) -> list[type[Shape]]:
    return [one for child in shape.__subclasses__() for one in (child, *_shapes(child))]


def _with_draft(root: Path, path: str, text: str) -> Sources:
    if len(text.encode("utf-8")) > MAX_FILE_BYTES:
        raise InvalidState(f"{path} is larger than {MAX_FILE_BYTES:,} bytes. Split it.")
    return {**read_sources(root), path: text.replace("\0", "\ufffd")}


def _preview(sources: Sources, path: str) -> tuple[ComposedEmail | None, str]:
    folder, _, name = path.rpartition("/")
    if not path.endswith(".md") or not path.startswith((TRACKS, BROADCASTS)):
        return None, "Emails of tracks and broadcasts have a preview."
    track = folder.removeprefix(TRACKS)
    email, _language = split_language(name.removesuffix(".md"))
    others = (TRACKS, BROADCASTS, "sales/", "handoff/")  # their faults do not matter to this email
    own = {one: text for one, text in sources.items() if one.startswith(f"{folder}/") or not one.startswith(others)}
    try:
        return render_preview(own, track, email, SAMPLE_RECIPIENT, complete=False), ""
    except NurtureError as error:
        return None, f"No preview while there are faults: {error}"


def _locate(root: Path, path: str) -> Path:
    """Return the file *path* of the folder. Raises NotFound for another file, and for one behind a symbolic link."""
    pure = PurePosixPath(path)
    is_plain = not pure.is_absolute() and ".." not in pure.parts and "\\" not in path and str(pure) == path
    if not is_plain or not is_definition(pure):
        raise NotFound(f"{path[:100]!r} is not a file of the definitions.")
    file = root.resolve()
    for part in pure.parts:
        file /= part
        if file.is_symlink():
            raise NotFound(f"{path} is behind a symbolic link, which the editor does not follow.")
    if not file.is_file():
        raise NotFound(f"There is no file {path}.")
    return file


def _read(file: Path, path: str) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise FileUnreadable(f"{path} cannot be read: {error.strerror}. Check its permissions.") from error
    if len(content) > MAX_FILE_BYTES:
        raise InvalidState(f"{path} is larger than {MAX_FILE_BYTES:,} bytes. Edit it with another editor.")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise InvalidState(f"{path} is not UTF-8 text. Save it again with the encoding UTF-8.") from error


def digest_of(text: str) -> str:
    """Return the mark of a text by which a change on disk is noticed."""
    return sha256(text.encode("utf-8")).hexdigest()
