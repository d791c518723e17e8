"""Split untrusted mail into MIME parts in linear time.

The standard library's parser checks each line against each open boundary: with a few nested parts, megabytes of
short lines take minutes. Here each boundary is searched once within its part, and input beyond the limits is
ignored.
"""

import binascii
import codecs
import quopri
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from mmap import mmap
from typing import Final
from urllib.parse import unquote

MAX_BYTES: Final = 4 * 1024 * 1024
"""Bytes of a mail that are read: its text precedes the attachments."""

MAX_DEPTH: Final = 10
MAX_PARTS: Final = 100
MAX_HEADERS: Final = 1_000
"""Header lines of a mail; a part may have a tenth of that."""

MAX_HEADER_BYTES: Final = 200_000
"""Bytes of all headers of a mail or part together."""

MAX_HEADER_LENGTH: Final = 4_000
"""Bytes of one header."""

MAX_VALUES_PER_HEADER: Final = 20
"""Headers of one name."""

_MAX_DECODED_BYTES: Final = 600_000
"""Bytes of a part that are decoded; more than MAX_TEXT needs."""

_MAX_DIVIDERS: Final = 1_000
_MAX_BOUNDARY_LENGTH: Final = 200
_FIELD: Final = re.compile(rb"([!-9;-~]{1,100})[ \t]{0,10}:")
_BODY: Final = re.compile(rb"\n\r?\n")
_PARAMETER: Final = re.compile(r";\s*+([\w.-]{1,40})(\*?[\d*]{0,4})\s{0,5}=\s{0,5}(\"[^\"]*+\"?|[^\s;\"]*+)")

# Charsets of mail. Python's other codecs, such as punycode and unicode_escape, may take hours for one mail.
_CHARSETS: Final = (
    *("ascii", "big5", "cp", "euc", "gb", "hz", "iso2022", "iso8859", "johab", "koi8", "kz1048"),
    *("mac-", "ptcp154", "shift", "tis-620", "utf-", "utf7"),
)


@dataclass(frozen=True, slots=True)
class MimePart:
    """A part of a mail: raw headers by name in lower case, content type, and the start of the body."""

    headers: Mapping[str, tuple[bytes, ...]]
    content_type: str
    body: bytes

    def header(self, name: str) -> str:
        """Return the first value of a header, or ""."""
        return decode_text(next(iter(self.headers.get(name, ())), b""))

    def decode(self) -> bytes:
        """Return the body with its transfer encoding decoded."""
        body = self.body
        match self.header("content-transfer-encoding").strip().lower():
            case "base64":
                return _decode_base64(body)
            case "quoted-printable":
                return quopri.decodestring(body)
            case _:
                return body

    def text(self) -> str:
        """Return the body as text."""
        return decode_text(self.decode(), header_parameter(self.header("content-type"), "charset"))

    @property
    def has_attachment_disposition(self) -> bool:
        """Return whether the part is to be shown as a file."""
        return self.header("content-disposition").strip().lower().startswith("attachment")

    @property
    def file_name(self) -> str:
        """Return the name of the file that the part is, undecoded, or ""."""
        named = header_parameter(self.header("content-disposition"), "filename")
        return named or header_parameter(self.header("content-type"), "name")


def read_parts(raw: bytes) -> list[MimePart]:
    """Return a mail and its parts in order, without the parts of an enclosed mail."""
    raw = raw[:MAX_BYTES]
    if b"\n" not in raw:
        raw = raw.replace(b"\r", b"\n")
    parts: list[MimePart] = []
    pending = [(0, len(raw), 0)]
    while pending and len(parts) < MAX_PARTS:
        start, end, depth = pending.pop(0)
        headers, body = read_headers(raw, start, end, MAX_HEADERS if depth == 0 else MAX_HEADERS // 10)
        content_type_header = decode_text(next(iter(headers.get("content-type", ())), b""))
        content_type = content_type_header.partition(";")[0].strip().lower()
        content = raw[body : min(end, body + _MAX_DECODED_BYTES)]
        parts.append(MimePart(headers, content_type if "/" in content_type else "text/plain", content))
        boundary = header_parameter(content_type_header, "boundary").encode("utf-8", "surrogateescape")[
            :_MAX_BOUNDARY_LENGTH
        ]
        if content_type.startswith("multipart/") and boundary and depth < MAX_DEPTH:
            inner = islice(find_sections(raw, body, end, boundary), MAX_PARTS - len(parts))
            pending[:0] = [(first, last, depth + 1) for first, last in inner]
    return parts


def read_headers(
    raw: bytes | mmap, start: int = 0, end: int | None = None, max_lines: int = MAX_HEADERS
) -> tuple[dict[str, tuple[bytes, ...]], int]:
    """Return the headers at *start*, unfolded, by name in lower case, and the offset of the body."""
    end = len(raw) if end is None else end
    headers: dict[str, list[bytearray]] = {}
    current: bytearray | None = None
    position, remaining = start, MAX_HEADER_BYTES
    for number in range(max_lines):
        line_end = raw.find(b"\n", position, end)
        line_end = end if line_end < 0 else line_end
        line = raw[position : min(line_end, position + MAX_HEADER_LENGTH)].rstrip(b"\r")
        remaining -= len(line)
        if not line or remaining < 0:
            break
        name = _FIELD.match(line)
        if line[:1] in b" \t" and number:
            if current is not None:
                current += b" " + line.strip()[: max(0, MAX_HEADER_LENGTH - len(current))]
        elif name is not None:
            current = bytearray(line[name.end() :].strip())
            values = headers.setdefault(name[1].decode("ascii").lower(), [])
            if len(values) < MAX_VALUES_PER_HEADER:
                values.append(current)
        elif number or not line.startswith(b"From "):  # the separator line of mbox files
            return _freeze(headers), position
        if line_end >= end:
            return _freeze(headers), end
        position = line_end + 1
    if raw[position : position + 1] == b"\n":
        return _freeze(headers), position + 1
    if raw[position : position + 2] == b"\r\n":
        return _freeze(headers), position + 2
    gap = _BODY.search(raw, position, end)
    return _freeze(headers), gap.end() if gap is not None else end


def header_parameter(value: str, name: str) -> str:
    """Return a parameter of a header's value, or ""."""
    for match in _PARAMETER.finditer(value[:MAX_HEADER_LENGTH]):
        if match[1].lower() == name:
            text = match[3].strip('"')
            return unquote(text.rpartition("'")[2]) if "*" in match[2] else text
    return ""


def decode_text(raw: bytes, charset: str = "") -> str:
    """Decode with *charset* if it fits, else as UTF-8, cp1252 or latin-1."""
    for name in (charset.strip().strip("\"'")[:40], "utf-8", "cp1252"):
        try:
            if name and is_known_charset(name):
                return raw.decode(name)
        except (LookupError, ValueError):  # not in this charset
            continue
    return raw.decode("latin-1")


def is_known_charset(name: str) -> bool:
    """Return whether *name* is a charset of mail: Python's codecs include others."""
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        return False
    return found.name.lower().replace("_", "-").startswith(_CHARSETS)


def _freeze(headers: Mapping[str, list[bytearray]]) -> dict[str, tuple[bytes, ...]]:
    return {name: tuple(bytes(value) for value in values) for name, values in headers.items()}


def find_sections(raw: bytes | mmap, start: int, end: int, boundary: bytes) -> Iterator[tuple[int, int]]:
    """Yield start and end of each section between the lines of *boundary*; the last may be truncated."""
    divider = b"--" + boundary
    section_start, position = -1, start
    for _ in range(_MAX_DIVIDERS):
        at = raw.find(divider, position, end)
        if at < 0:
            break
        position = at + len(divider)
        if at > start and raw[at - 1 : at] not in b"\r\n":
            continue
        line_end = raw.find(b"\n", position, end)
        line_end = end if line_end < 0 else line_end
        rest = raw[position : min(line_end, position + 100)].strip()
        if rest not in (b"", b"--"):
            continue
        if section_start >= 0:
            yield section_start, max(section_start, at - (2 if raw[at - 2 : at] == b"\r\n" else 1))
        if rest:
            return
        section_start = position = min(line_end + 1, end)
    if section_start >= 0:
        yield section_start, end


def _decode_base64(body: bytes) -> bytes:
    cleaned = re.sub(rb"[^A-Za-z0-9+/]++", b"", body.partition(b"=")[0])  # a footer may follow
    return binascii.a2b_base64(cleaned[: len(cleaned) - (len(cleaned) % 4 == 1)] + b"===")
