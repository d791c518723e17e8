"""Turn workbooks, JSON and HTML tables into tab-separated text, in a child process."""

import re
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from io import RawIOBase
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, NamedTuple, cast
from zipfile import BadZipFile, ZipFile

import orjson

import nurture
from nurture.errors import FileUnreadable

BAD_ROW: Final = "\0"
"""The first character of a row that could not be converted; the reason is its first cell."""

MAX_UNPACKED_BYTES: Final = 500 * 10**6
MAX_COMPRESSION_RATIO: Final = 100
_MEMORY: Final = 2 * 2**30  # bytes of the child
_CPU_SECONDS: Final = 600
_KILLED: Final = "it is damaged, or too large to be read; save the sheet with the rows as CSV"

_WORKBOOK_PARTS: Final = frozenset({"xl/workbook.xml", "xl/workbook.bin", "content.xml"})
_OTHER_FORMATS: Final = (
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"%PDF", "a PDF; export the rows as CSV or as an Excel workbook"),
    (b"SQLite format 3\x00", "a database; export the rows as CSV"),
)
_MARKUP: Final = re.compile(rb"\s*<(?:!doctype html|\?xml|html|head|meta|body|table|style|div)\b", re.IGNORECASE)
_JSON: Final = re.compile(rb'\s*(?:\[\s*[\[{"\d\]]|\{\s*["}])')


class ReadOptions(NamedTuple):
    """What a person knows of a file: the *encoding* of its text, and the *sheet* of the workbook to read."""

    encoding: str | None = None
    sheet: str | None = None


class ConvertedFile:
    """The rows of a file as tab-separated UTF-8, in a temporary file without a name. *notes* are for the marketer.

    *sheet* is the one of a workbook that was read, *refusing* are others that are named after opt-outs.
    """

    def __init__(self, file: IO[bytes], notes: Sequence[str], sheet: str = "", refusing: Sequence[str] = ()) -> None:
        self.size = file.seek(0, 2)
        self.notes = tuple(notes)
        self.sheet = sheet
        self.refusing = tuple(refusing)
        self._file = file
        weakref.finalize(self, file.close)

    def open(self) -> BinaryIO:
        """Return a reader from the start, independent of others."""
        return cast("BinaryIO", _Reader(self._file))


class _Reader(RawIOBase):
    """Reads a shared file at a position of its own."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._position = file, 0

    def read(self, size: int = -1) -> bytes:
        self._file.seek(self._position)
        chunk = self._file.read(size)
        self._position += len(chunk)
        return chunk


def detect_format(path: Path, start: bytes) -> str | None:
    """Return what a file that begins with *start* is: "workbook", "html", "json", or None for other text.

    Raises FileUnreadable for archives, a workbook that unpacks to too much, and other binary files.
    """
    for magic, kind in _OTHER_FORMATS:
        if start.startswith(magic):
            raise FileUnreadable(f"{path} is {kind} and import that")
    if start.startswith(b"PK\x03\x04"):
        _check_zip(path)
        return "workbook"
    if start.startswith(b"\xd0\xcf\x11\xe0"):
        return "workbook"
    plain = start[:4096].lstrip(b"\xef\xbb\xbf\xff\xfe").replace(b"\0", b"")  # UTF-16, too
    return "html" if _MARKUP.match(plain) else "json" if _JSON.match(plain) else None


def _check_zip(path: Path) -> None:
    """Raise FileUnreadable unless the zip archive at *path* is a workbook of a size that can be unpacked."""
    try:
        with ZipFile(path) as archive:
            sizes = {one.filename: one.file_size for one in archive.infolist()}
    except (BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise FileUnreadable(f"{path} is a damaged workbook; save it again in Excel and import that") from error
    if not _WORKBOOK_PARTS & sizes.keys():
        raise FileUnreadable(f"{path} is a zip archive, not a workbook; unpack it and import the file inside")
    unpacked = sum(sizes.values())
    if unpacked > MAX_UNPACKED_BYTES or unpacked > path.stat().st_size * MAX_COMPRESSION_RATIO:
        raise FileUnreadable(
            f"{path} unpacks to {unpacked / 1e6:,.0f} MB; at most {MAX_UNPACKED_BYTES // 10**6} MB and "
            f"{MAX_COMPRESSION_RATIO} times the file's size are read: save the sheet with the rows as CSV"
        )


def convert(path: Path, kind: str, reading: ReadOptions) -> ConvertedFile:
    """Return the rows of the *kind* of file at *path*. Raises FileUnreadable."""
    output = tempfile.TemporaryFile(prefix="nurture-")  # noqa: SIM115 - closed with the last reader
    try:
        child = subprocess.run(  # noqa: S603 - this Python and our module
            [
                *(sys.executable, "-m", "nurture.formats.table_file_child", str(_MEMORY), str(_CPU_SECONDS)),
                *(kind, str(path.absolute()), reading.sheet or "", reading.encoding or ""),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            env={"PYTHONPATH": str(Path(nurture.__file__).parents[1])},
            check=False,
        )
        answer = _parse_answer(child.stderr) if child.returncode == 0 else {}
    except BaseException:
        output.close()
        raise
    if "notes" not in answer:
        output.close()
        raise FileUnreadable(f"{path} cannot be read: {answer.get('error', _KILLED)}")
    return ConvertedFile(output, answer["notes"], answer.get("sheet", ""), answer.get("refusing", ()))


def _parse_answer(text: bytes) -> dict[str, Any]:
    try:
        return dict(orjson.loads(text.rpartition(b"\n")[2]))
    except (ValueError, TypeError):
        return {}
