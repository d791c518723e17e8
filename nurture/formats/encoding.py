"""Decode a file's bytes into lines of text: encoding, line ends, length limit."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from nurture.errors import FileUnreadable
from nurture.formats.encoding_guess import encoding_label, guess_encoding, is_encoded_twice, repair

MAX_LINE: Final = 1_000_000  # characters; a longer line is cut and reported
_CHUNK: Final = 256 * 1024  # bytes
_NOT_OF_FILES: Final = frozenset({"idna", "punycode", "unicodeescape", "rawunicodeescape"})
_LOST: Final = "some letters were lost before the export (\ufffd): such names are left out; correct them at the source"
_SAMPLE_LINES: Final = 200
_SAMPLE_WIDTH: Final = 500  # bytes
REPAIRED: Final = "some text was encoded twice (M\u00c3\u00bcller for M\u00fcller) and is repaired; check a few names"

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Encoding:
    """The text encoding of a file. *is_clean*: every byte decodes and there is no NUL.

    *is_twice*: some of its text was encoded twice, and lines are repaired. *notes* are for the marketer.
    """

    name: str
    is_clean: bool
    notes: tuple[str, ...] = ()
    is_twice: bool = False

    @property
    def error_mode(self) -> str:
        """The error handler for undecodable bytes, which marks them so that their row can be reported."""
        return "surrogateescape" if self.name in {"utf-8", "utf-8-sig", "cp1252"} else "replace"


def detect_encoding(path: Path) -> Encoding:
    """Read all of *path* once, in constant memory, and return its encoding."""
    with open_binary(path) as file:
        start = file.read(_CHUNK)
        if b"\x1b$" in start:
            return Encoding("iso2022_jp", is_clean=False)
        marked = next((name for bom, name in _BOMS if start.startswith(bom)), None)
        name = marked or _utf16_without_bom(start)
        if name is not None and name != "utf-8-sig":
            return Encoding(name, is_clean=False)
        return _utf8_or_guess(start, file, name or "utf-8")


def find_encoding(name: str) -> Encoding:
    """Return the encoding that a person named. Raises FileUnreadable for an unknown one."""
    try:
        "".encode(name)
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        found = ""
    if not found or re.sub("[-_]", "", found) in _NOT_OF_FILES:
        raise FileUnreadable(
            f"{name[:40]!r} is not an encoding; write for example utf-8, cp1252, cp1250, mac_roman or shift_jis"
        )
    return Encoding(found, is_clean=False)


def open_binary(path: Path) -> BinaryIO:
    """Open *path* for reading. Raises FileUnreadable."""
    try:
        if path.is_dir():
            raise FileUnreadable(f"{path} is a folder; name the file inside it")
        if not path.exists():
            raise FileUnreadable(f"{path} does not exist; check the path and the spelling")
        if not path.is_file():
            raise FileUnreadable(f"{path} is not a regular file; save its content to a file first")
        return path.open("rb", buffering=0)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise FileUnreadable(f"{str(path)!r} cannot be opened: {reason}; check its permissions") from error


def _utf16_without_bom(start: bytes) -> str | None:
    sample = start[:4096]
    pairs = len(sample) // 2
    if pairs < 4:
        return None
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if odd > pairs * 0.3 and even <= pairs * 0.02:
        return "utf-16-le"
    if even > pairs * 0.3 and odd <= pairs * 0.02:
        return "utf-16-be"
    return None


def _utf8_or_guess(start: bytes, file: BinaryIO, name: str) -> Encoding:
    """Choose UTF-8 or an older encoding by the evidence in the whole file."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    undecodable = letters = 0
    nul = twice = lost = False
    sample: dict[bytes, None] = {}  # lines with bytes outside ASCII
    chunk = start
    while True:
        text = decoder.decode(chunk, final=not chunk)
        nul = nul or "\0" in text
        if not text.isascii():
            escaped = sum("\udc80" <= letter <= "\udcff" for letter in text)
            undecodable += escaped
            letters += sum(letter > "\x7f" for letter in text) - escaped
            twice = twice or is_encoded_twice(text)
            lost = lost or "\ufffd" in text
            if escaped and len(sample) < _SAMPLE_LINES:
                sample |= dict.fromkeys(line[:_SAMPLE_WIDTH] for line in chunk.splitlines() if not line.isascii())
        if not chunk:
            break
        chunk = file.read(_CHUNK)
    # One damaged cell in a UTF-8 file must not turn every other accent into two wrong letters.
    if not undecodable or letters > undecodable or name == "utf-8-sig":
        return Encoding(name, not (undecodable or nul), (*[REPAIRED] * twice, *[_LOST] * lost), twice)
    guessed = guess_encoding(b"\n".join([*sample][:_SAMPLE_LINES]))
    label = encoding_label(guessed)
    return Encoding(guessed, is_clean=False, notes=(f"read as {label} (guessed); name another with --encoding",))


class LineReader:
    """The physical lines of a file, without their ends; *number* is the number of the last line returned.

    A line over MAX_LINE characters is cut to MAX_LINE + 1. Lines may be pushed back.
    """

    def __init__(self, file: BinaryIO, encoding: Encoding) -> None:
        self.number = 0
        self.bytes_read = 0
        self._file = file
        self._encoding = encoding
        self._batches = self._read()
        self._ready: list[str] = []  # in reverse

    def __iter__(self) -> LineReader:
        return self

    def __next__(self) -> str:
        while not self._ready:
            self._ready = next(self._batches)
        self.number += 1
        return repair(self._ready.pop()) if self._encoding.is_twice else self._ready.pop()

    def push_back(self, lines: list[str]) -> None:
        """Push *lines* back, to be read again in their order."""
        self._ready.extend(reversed(lines))
        self.number -= len(lines)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self) -> Iterator[list[str]]:
        decoder = io.IncrementalNewlineDecoder(
            codecs.getincrementaldecoder(self._encoding.name)(self._encoding.error_mode), translate=True
        )
        remainder = ""
        while chunk := self._file.read(_CHUNK):
            self.bytes_read += len(chunk)
            lines = decoder.decode(chunk).split("\n")
            lines[0] = remainder + lines[0]
            remainder = lines.pop()[: MAX_LINE + 1]
            lines.reverse()
            if lines:
                yield [line[: MAX_LINE + 1] for line in lines]
        remainder += decoder.decode(b"", final=True)
        last = remainder.split("\n")
        if not last[-1]:
            last.pop()
        last.reverse()
        yield last
