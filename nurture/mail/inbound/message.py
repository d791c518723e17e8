"""Read a mail that came in, however broken: its headers, its words, and what it encloses. Nothing raises."""

from __future__ import annotations

import binascii
import quopri
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from nurture.mail.inbound.html_to_text import text_of_html
from nurture.mail.inbound.mime_parts import MOST_VALUES, Part, as_text, read_headers, read_parts

MOST_TEXT: Final = 100_000
"""Characters of a mail's words that are looked at."""

_MOST_SHOWN: Final = 5
"""Parts of one kind whose words are looked at."""

_MOST_HEADER: Final = 4_000
_MOST_DATE: Final = 100
_REPORTED: Final = frozenset(
    {"message/delivery-status", "text/rfc822-headers", "message/rfc822", "message/global-headers"}
)
ROUTING: Final = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "to", "cc", "resent-to")
_ENCODED: Final = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?]{0,2000}+)\?=")
_EMPTY_LINE: Final = re.compile(r"\n\r?\n")
_FOLD: Final = re.compile(r"\r?\n[ \t]++")


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
            told = parsedate_to_datetime(self.header("date")[:_MOST_DATE])
            return told.astimezone(UTC) if told.tzinfo else told.replace(tzinfo=UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None


def read_mail(raw: bytes, *, envelope_to: Sequence[str] = (), envelope_from: str | None = None) -> Incoming:
    """Read a whole mail. The envelope, where it is known, counts before the headers."""
    parts = read_parts(raw)
    return _incoming(
        _decoded_headers(parts[0].headers),
        _text(parts),
        envelope_to,
        envelope_from,
        _enclosed(parts),
        sum(1 for part in parts if part.is_attachment),
    )


def read_fields(
    fields: Mapping[str, bytes],
    charsets: Mapping[str, str],
    *,
    envelope_to: Sequence[str] = (),
    envelope_from: str | None = None,
    attachments: int = 0,
) -> Incoming:
    """Read a mail that somebody took apart into fields: headers, text, html, subject, from, to, cc."""
    told = {name: as_text(value, charsets.get(name, "")) for name, value in fields.items()}
    headers = _decoded_headers(read_headers(fields.get("headers", b""))[0])
    for name in ("subject", "from", "to", "cc"):
        if told.get(name) and name not in headers:
            headers[name] = (_plain(told[name][:_MOST_HEADER]),)
    text = told.get("text", "")[:MOST_TEXT].strip() or text_of_html(told.get("html", "")[: MOST_TEXT * 4])
    return _incoming(headers, text[:MOST_TEXT], envelope_to, envelope_from, text[:MOST_TEXT], attachments)


def _incoming(
    headers: Mapping[str, tuple[str, ...]],
    text: str,
    envelope_to: Sequence[str],
    envelope_from: str | None,
    enclosed: str,
    attachments: int,
) -> Incoming:
    routed = [value for name in ROUTING for value in headers.get(name, ())]
    returned = [value.strip() for value in headers.get("return-path", ())]
    null_sender = "<>" in returned if envelope_from is None else envelope_from.strip() in ("", "<>")
    recipients = tuple(str(one)[:_MOST_HEADER] for one in (*envelope_to[:MOST_VALUES], *routed))
    return Incoming(headers, text, recipients, null_sender, enclosed, attachments)


def _decoded_headers(headers: Mapping[str, tuple[bytes, ...]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(_decoded(as_text(one)) for one in values) for name, values in headers.items()}


def _decoded(value: str) -> str:
    """Decode RFC 2047: neighbours of one charset together, as letters may be cut in two by them."""
    pieces: list[tuple[str, bytes]] = []
    place = 0
    for match in _ENCODED.finditer(value):
        between = value[place : match.start()]
        if between.strip() or not pieces:
            pieces.append(("utf-8", between.encode("utf-8", "replace")))
        charset = match[1].partition("*")[0].lower()
        if len(pieces) > 1 and pieces[-1][0] == charset and not between.strip():
            pieces[-1] = (charset, pieces[-1][1] + _bytes_of(match))
        else:
            pieces.append((charset, _bytes_of(match)))
        place = match.end()
    return _plain("".join(as_text(raw, charset) for charset, raw in pieces) + value[place:])


def _bytes_of(word: re.Match[str]) -> bytes:
    told = word[3].encode("utf-8", "replace")
    if word[2] in "qQ":
        return quopri.decodestring(told, header=True)
    try:
        return binascii.a2b_base64(told.rstrip(b"=") + b"==")
    except binascii.Error:
        return told


def _plain(text: str) -> str:
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())


def _text(parts: Sequence[Part]) -> str:
    """Return the words of the mail: plain text if it has any, else what its HTML says."""
    for kind in ("text/plain", "text/html"):
        shown = [part for part in parts if part.kind == kind and not _is_saved(part)]
        said = "\n".join(text for part in shown[:_MOST_SHOWN] if (text := part.text()).strip())
        if kind == "text/html":
            said = text_of_html(said[: MOST_TEXT * 4])
        if said.strip():
            return said[:MOST_TEXT]
    return ""


def _is_saved(part: Part) -> bool:
    return part.header("content-disposition").strip().lower().startswith("attachment")


def _enclosed(parts: Sequence[Part]) -> str:
    """Return what a report says: its machine-readable part, and the headers of the mail that came back."""
    found: list[str] = []
    for part in parts:
        if part.kind in _REPORTED:
            text = part.text()[:20_000].lstrip("\r\n")
            if part.kind == "message/rfc822":
                text = _EMPTY_LINE.split(text, maxsplit=1)[0]
            found += [line[:_MOST_HEADER] for line in _FOLD.sub(" ", text).splitlines()]
    return "\n".join(found)[:60_000]
