"""Take a stranger's mail apart into its parts, in time that grows with its size alone.

The standard library's parser asks each open boundary for each line, so a few nested parts make megabytes of
short lines take minutes. Here a boundary is searched for once within the part that it divides, and what is
beyond a bound is not looked at.
"""

from __future__ import annotations

import binascii
import codecs
import quopri
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from mmap import mmap
from typing import Final

MOST_BYTES: Final = 4 * 1024 * 1024
"""So much of a mail is read: words come before attachments."""

MOST_NESTED: Final = 10
MOST_PARTS: Final = 100
MOST_HEADERS: Final = 1_000
"""Header lines of a mail; its parts may have a tenth of that."""

MOST_HEADER_BYTES: Final = 200_000
"""Bytes of all headers of a mail or part together."""

MOST_HEADER: Final = 4_000
"""Bytes of one header."""

MOST_VALUES: Final = 20
"""Headers of one name."""

_MOST_DECODED: Final = 600_000
"""Bytes of a part that are decoded: more than the characters that are ever looked at."""

_MOST_DIVIDERS: Final = 1_000
_MOST_BOUNDARY: Final = 200
_FIELD: Final = re.compile(rb"([!-9;-~]{1,100})[ \t]{0,10}:")
_BODY: Final = re.compile(rb"\n\r?\n")
_PARAMETER: Final = re.compile(r";\s*+([\w.-]{1,40})(\*?[\d*]{0,4})\s{0,5}=\s{0,5}(\"[^\"]*+\"?|[^\s;\"]*+)")

# What mail is written in. Codecs such as punycode and unicode_escape are none; some take hours for a mail.
_CHARSETS: Final = (
    *("ascii", "big5", "cp", "euc", "gb", "hz", "iso2022", "iso8859", "johab", "koi8", "kz1048"),
    *("mac-", "ptcp154", "shift", "tis-620", "utf-", "utf7"),
)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a mail: its headers as they came, by name in lower case, its type, how its body begins."""

    headers: Mapping[str, tuple[bytes, ...]]
    kind: str
    body: bytes

    def header(self, name: str) -> str:
        """Return the first value of a header, "" without one."""
        return as_text(next(iter(self.headers.get(name, ())), b""))

    def decoded(self) -> bytes:
        """Return the body without its transfer encoding."""
        body = self.body
        match self.header("content-transfer-encoding").strip().lower():
            case "base64":
                return _of_base64(body)
            case "quoted-printable":
                return quopri.decodestring(body)
            case _:
                return body

    def text(self) -> str:
        """Return the body as text, by its charset if that can be true."""
        return as_text(self.decoded(), parameter(self.header("content-type"), "charset"))

    @property
    def is_attachment(self) -> bool:
        """Whether it is meant to be saved, and not to be read where it stands."""
        disposition = self.header("content-disposition")
        return disposition.strip().lower().startswith("attachment") or bool(
            parameter(disposition, "filename") or parameter(self.header("content-type"), "name")
        )


def read_parts(raw: bytes) -> list[Part]:
    """Return a mail and its parts in order, not those of a mail inside this one."""
    raw = raw[:MOST_BYTES]
    if b"\n" not in raw:
        raw = raw.replace(b"\r", b"\n")
    found: list[Part] = []
    waiting = [(0, len(raw), 0)]
    while waiting and len(found) < MOST_PARTS:
        start, end, depth = waiting.pop(0)
        headers, body = read_headers(raw, start, end, MOST_HEADERS if depth == 0 else MOST_HEADERS // 10)
        told = as_text(next(iter(headers.get("content-type", ())), b""))
        kind = told.partition(";")[0].strip().lower()
        words = raw[body : min(end, body + _MOST_DECODED)]
        found.append(Part(headers, kind if "/" in kind else "text/plain", words))
        boundary = parameter(told, "boundary").encode("utf-8", "surrogateescape")[:_MOST_BOUNDARY]
        if kind.startswith("multipart/") and boundary and depth < MOST_NESTED:
            inner = islice(sections(raw, body, end, boundary), MOST_PARTS - len(found))
            waiting[:0] = [(first, last, depth + 1) for first, last in inner]
    return found


def read_headers(
    raw: bytes | mmap, start: int = 0, end: int | None = None, most: int = MOST_HEADERS
) -> tuple[dict[str, tuple[bytes, ...]], int]:
    """Return the headers at *start*, unfolded, by name in lower case, and where the body begins."""
    end = len(raw) if end is None else end
    found: dict[str, list[bytearray]] = {}
    now: bytearray | None = None
    place, left = start, MOST_HEADER_BYTES
    for number in range(most):
        stop = raw.find(b"\n", place, end)
        stop = end if stop < 0 else stop
        line = raw[place : min(stop, place + MOST_HEADER)].rstrip(b"\r")
        left -= len(line)
        if not line or left < 0:
            break
        name = _FIELD.match(line)
        if line[:1] in b" \t" and number:
            if now is not None:
                now += b" " + line.strip()[: max(0, MOST_HEADER - len(now))]
        elif name is not None:
            now = bytearray(line[name.end() :].strip())
            named = found.setdefault(name[1].decode("ascii").lower(), [])
            if len(named) < MOST_VALUES:
                named.append(now)
        elif number or not line.startswith(b"From "):  # as mailbox files begin a mail
            return _fixed(found), place
        if stop >= end:
            return _fixed(found), end
        place = stop + 1
    if raw[place : place + 1] == b"\n":
        return _fixed(found), place + 1
    if raw[place : place + 2] == b"\r\n":
        return _fixed(found), place + 2
    gap = _BODY.search(raw, place, end)
    return _fixed(found), gap.end() if gap is not None else end


def parameter(value: str, name: str) -> str:
    """Return a parameter of a header's value, "" without it."""
    for match in _PARAMETER.finditer(value[:MOST_HEADER]):
        if match[1].lower() == name:
            told = match[3].strip('"')
            return told.rpartition("'")[2] if "*" in match[2] else told
    return ""


def as_text(raw: bytes, charset: str = "") -> str:
    """Return text, by its charset if that can be true, else by what it looks like."""
    for name in (charset.strip().strip("\"'")[:40], "utf-8", "cp1252"):
        try:
            if name and is_charset(name):
                return raw.decode(name)
        except (LookupError, ValueError):  # not in it
            continue
    return raw.decode("latin-1")


def is_charset(name: str) -> bool:
    """Whether text may be written in what *name* names: not all that Python decodes is a charset."""
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        return False
    return found.name.lower().replace("_", "-").startswith(_CHARSETS)


def _fixed(found: Mapping[str, list[bytearray]]) -> dict[str, tuple[bytes, ...]]:
    return {name: tuple(bytes(one) for one in values) for name, values in found.items()}


def sections(raw: bytes | mmap, start: int, end: int, boundary: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each section between the lines of *boundary* begins and ends, the last perhaps cut off."""
    divider = b"--" + boundary
    began, place = -1, start
    for _ in range(_MOST_DIVIDERS):
        at = raw.find(divider, place, end)
        if at < 0:
            break
        place = at + len(divider)
        if at > start and raw[at - 1 : at] not in b"\r\n":
            continue
        stop = raw.find(b"\n", place, end)
        stop = end if stop < 0 else stop
        rest = raw[place : min(stop, place + 100)].strip()
        if rest not in (b"", b"--"):
            continue
        if began >= 0:
            yield began, max(began, at - (2 if raw[at - 2 : at] == b"\r\n" else 1))
        if rest:
            return
        began = place = min(stop + 1, end)
    if began >= 0:
        yield began, end


def _of_base64(body: bytes) -> bytes:
    kept = re.sub(rb"[^A-Za-z0-9+/]++", b"", body.partition(b"=")[0])  # a footer may follow
    return binascii.a2b_base64(kept[: len(kept) - (len(kept) % 4 == 1)] + b"===")
