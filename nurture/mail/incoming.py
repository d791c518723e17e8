"""Read a mail that came in, however broken: its headers, its words, and what it encloses. Nothing raises."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import HeaderParseError, MessageError
from email.header import decode_header
from email.message import Message
from email.parser import BytesHeaderParser, BytesParser
from email.policy import Compat32
from email.utils import parsedate_to_datetime
from typing import Final

from nurture.mail.htmltext import text_of_html

MOST_BYTES: Final = 4 * 1024 * 1024
"""So much of a mail is read: words come before attachments."""

MOST_TEXT: Final = 100_000
"""Characters of a mail's words that are looked at."""

_MOST_PARTS: Final = 100
_MOST_HEADER: Final = 4_000
_MOST_VALUES: Final = 20
_MOST_PARSED: Final = 8_000
"""Bytes of one header that the parser sees: parameters take time by its square."""

_NO_CHARSETS: Final = frozenset({"idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape"})
"""What Python takes for a charset and no mail is written in; some need hours for a megabyte."""

_ODD: Final = (
    MessageError,
    HeaderParseError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
)
"""What the standard library raises for mail that nobody foresaw."""

_ROUTING: Final = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "to", "cc", "resent-to")


class _Bounded(Compat32):
    """Reads headers as mail of any age needs it, and not more of each than a header needs."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        """Return the name and the value of a header."""
        name, value = super().header_source_parse(sourcelines)
        return name, value[:_MOST_PARSED]


_POLICY: Final = _Bounded()


@dataclass(frozen=True, slots=True)
class Incoming:
    """A mail as far as it can be read. *headers* are decoded, by name in lower case.

    *recipients* are texts that may name where it went, the envelope's first. *null_sender*: nobody wants an
    answer. *enclosed* is what a report says of another mail. *attachments* is how many files came along.
    """

    headers: Mapping[str, tuple[str, ...]]
    text: str
    recipients: tuple[str, ...] = ()
    null_sender: bool = False
    enclosed: str = ""
    attachments: int = 0

    def header(self, name: str) -> str:
        """Return the first value of a header, "" without one."""
        return next(iter(self.headers.get(name, ())), "")

    @property
    def sent_at(self) -> datetime | None:
        """Return when the mail says it was written (UTC), None where it does not say."""
        try:
            told = parsedate_to_datetime(self.header("date"))
            return told.astimezone(UTC) if told.tzinfo else told.replace(tzinfo=UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None


def read_mail(raw: bytes, *, envelope_to: Sequence[str] = (), envelope_from: str | None = None) -> Incoming:
    """Read a whole mail. The envelope, where it is known, counts before the headers."""
    raw = raw[:MOST_BYTES]
    try:
        message = BytesParser(policy=_POLICY).parsebytes(raw)
        parts = _parts(message)
        headers = _headers(message)
        enclosed = _enclosed(parts)
        text = _text(parts)
        attachments = sum(1 for part in parts if _is_attachment(part))
    except _ODD:
        # Better a reply with its tags and signs than one that is lost.
        headers, enclosed, attachments = _headers_alone(raw), "", 0
        text = decode(raw.partition(b"\r\n\r\n")[2] or raw.partition(b"\n\n")[2])[:MOST_TEXT]
    return _incoming(headers, text, envelope_to, envelope_from, enclosed, attachments)


def read_fields(
    fields: Mapping[str, bytes],
    charsets: Mapping[str, str],
    *,
    envelope_to: Sequence[str] = (),
    envelope_from: str | None = None,
    attachments: int = 0,
) -> Incoming:
    """Read a mail that somebody took apart into fields: headers, text, html, subject, from, to, cc."""
    told = {name: decode(value, charsets.get(name, "")) for name, value in fields.items()}
    headers = _headers_alone(fields.get("headers", b""))
    for name in ("subject", "from", "to", "cc"):
        if told.get(name) and name not in headers:
            headers[name] = (_plain(told[name]),)
    text = told.get("text", "").strip() or text_of_html(told.get("html", "")[: MOST_TEXT * 4])
    return _incoming(headers, text[:MOST_TEXT], envelope_to, envelope_from, text[:MOST_TEXT], attachments)


def decode(raw: bytes, charset: str = "") -> str:
    """Return text, by its charset if that can be true, else by what it looks like."""
    for name in (charset.strip().strip("\"'"), "utf-8", "cp1252"):
        try:
            if name and codecs.lookup(name).name not in _NO_CHARSETS:
                return raw.decode(name)
        except (LookupError, ValueError):  # no such charset, or not in it
            continue
    return raw.decode("latin-1")


def _incoming(
    headers: Mapping[str, tuple[str, ...]],
    text: str,
    envelope_to: Sequence[str],
    envelope_from: str | None,
    enclosed: str,
    attachments: int,
) -> Incoming:
    routed = [value for name in _ROUTING for value in headers.get(name, ())]
    returned = [value.strip() for value in headers.get("return-path", ())]
    null_sender = "<>" in returned if envelope_from is None else envelope_from.strip() in ("", "<>")
    recipients = tuple(str(one)[:_MOST_HEADER] for one in (*envelope_to[:_MOST_VALUES], *routed))
    return Incoming(headers, text, recipients, null_sender, enclosed, attachments)


def _parts(message: Message) -> list[Message]:
    """Return the parts in order, not those of a mail inside this one."""
    found: list[Message] = []
    waiting = [message]
    while waiting and len(found) < _MOST_PARTS:
        part = waiting.pop(0)
        found.append(part)
        payload = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(payload, list):
            waiting[:0] = [one for one in payload if isinstance(one, Message)]
    return found


def _headers(message: Message) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, value in message.raw_items():
        lower = str(name).lower()
        if len(found.get(lower, ())) < _MOST_VALUES:
            found[lower] = (*found.get(lower, ()), _decoded(str(value)[:_MOST_HEADER]))
    return found


def _headers_alone(raw: bytes) -> dict[str, tuple[str, ...]]:
    try:
        return _headers(BytesHeaderParser(policy=_POLICY).parsebytes(raw[:200_000]))
    except _ODD:
        return {}


def _decoded(value: str) -> str:
    """Decode RFC 2047 as far as it is any, and 8-bit bytes that should not be there."""
    try:
        pieces = decode_header(value)
    except _ODD:
        pieces = [(value, None)]
    texts = [
        decode(piece if isinstance(piece, bytes) else _bytes(piece), charset or "")
        for piece, charset in pieces
    ]
    return _plain("".join(texts))


def _bytes(text: str) -> bytes:
    """Return the bytes that the parser could not make text of, as they came."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.encode("utf-8", "replace").decode("utf-8")).strip()


def _text(parts: Sequence[Message]) -> str:
    """Return the words of the mail: plain text if it has any, else what its HTML says."""
    for kind in ("text/plain", "text/html"):
        shown = [
            part
            for part in parts
            if part.get_content_type() == kind and part.get_content_disposition() != "attachment"
        ]
        said = [_said(part) for part in shown[:5]]
        if kind == "text/html":
            said = [text_of_html(one[: MOST_TEXT * 4]) for one in said]
        text = "\n".join(one for one in said if one.strip())
        if text:
            return text[:MOST_TEXT]
    return ""


def _said(part: Message) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    return decode(payload, str(part.get_param("charset") or "") if not part.is_multipart() else "")


def _is_attachment(part: Message) -> bool:
    return part.get_content_disposition() == "attachment" or bool(part.get_filename())


def _enclosed(parts: Sequence[Message]) -> str:
    """Return what a report says: its machine-readable part, and the headers of the mail that came back."""
    found: list[str] = []
    for part in parts:
        kind = part.get_content_type()
        if kind in (
            "message/delivery-status",
            "text/rfc822-headers",
            "message/rfc822",
            "message/global-headers",
        ):
            inner = part.get_payload()
            for one in inner if isinstance(inner, list) else ():
                if isinstance(one, Message):
                    found += [f"{name}: {value}" for name, value in one.items()] + [""]
            if not isinstance(inner, list):
                found.append(_said(part)[:20_000])
    return "\n".join(str(line)[:_MOST_HEADER] for line in found)[:60_000]
