"""Parse inbound mail, however malformed: headers, text and reports. Never raises."""

import binascii
import quopri
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from nurture.domain.plain_text import replace_control_characters
from nurture.mail.inbound.calendar_part import CalendarPart, parse_calendar
from nurture.mail.inbound.html_to_text import html_to_text
from nurture.mail.inbound.mime_parts import (
    MAX_VALUES_PER_HEADER,
    MimePart,
    decode_text,
    header_parameter,
    read_headers,
    read_parts,
)

MAX_TEXT: Final = 100_000
"""Characters of a mail's text that are read."""

_MAX_TEXT_PARTS: Final = 5
"""Text parts of one type that are read."""

_MAX_HEADER_LENGTH: Final = 4_000
_MAX_DATE_LENGTH: Final = 100
_REPORT_TYPE: Final = re.compile(
    r"message/(?:global-)?(delivery-status|disposition-notification|feedback-report)", re.IGNORECASE
)
"""The machine-readable parts of a report, by its kind."""

_RETURNED_MAIL_TYPES: Final = frozenset(
    {"text/rfc822-headers", "message/rfc822", "message/global", "message/global-headers"}
)
_MAX_FILE_NAMES: Final = 20
_MAX_FILE_NAME: Final = 100
_CALENDAR_TYPES: Final = frozenset({"text/calendar", "application/ics"})
ROUTING_HEADERS: Final = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "to", "cc", "resent-to")
_ENCODED_WORD: Final = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?]{0,2000}+)\?=")
_EMPTY_LINE: Final = re.compile(r"\n\r?\n")
_FOLDED_LINE: Final = re.compile(r"\r?\n[ \t]++")


@dataclass(frozen=True, slots=True)
class ParsedMail:
    """A parsed mail. *headers* are decoded, by name in lower case.

    *recipients* are texts that may contain recipient addresses, the envelope's first. *has_null_sender*: the
    envelope sender is <>. *report_type* is the kind of report that it is: "delivery-status",
    "disposition-notification" (a receipt), "feedback-report" (a complaint), another one, or "" for no report.
    *report_text* is its machine-readable part and the headers of the returned mail. *attachments* names
    attached files. *calendar* is an invitation or the answer to one.
    """

    headers: Mapping[str, tuple[str, ...]]
    text: str
    recipients: tuple[str, ...] = ()
    has_null_sender: bool = False
    report_text: str = ""
    attachments: tuple[str, ...] = ()
    report_type: str = ""
    calendar: CalendarPart | None = None

    def header(self, name: str) -> str:
        """Return the first value of a header, or ""."""
        return next(iter(self.headers.get(name, ())), "")

    @property
    def sent_at(self) -> datetime | None:
        """Return the time of the Date header (UTC), or None."""
        try:
            parsed = parsedate_to_datetime(self.header("date")[:_MAX_DATE_LENGTH])
            return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None


def parse_mail(raw: bytes, *, envelope_to: Sequence[str] = (), envelope_from: str | None = None) -> ParsedMail:
    """Parse a whole mail. A known envelope takes precedence over the headers."""
    parts = read_parts(raw)
    headers = _decode_headers(parts[0].headers)
    calendar = next((part for part in parts if part.content_type in _CALENDAR_TYPES), None)
    return _build_mail(
        headers,
        _extract_text(parts),
        envelope_to,
        envelope_from,
        _extract_report_text(parts),
        [part.file_name for part in parts if part.has_attachment_disposition or part.file_name],
        next((kind[1] for part in parts[1:] if (kind := _REPORT_TYPE.fullmatch(part.content_type))), ""),
        parse_calendar(calendar.text()) if calendar is not None else None,
    )


def parse_fields(
    fields: Mapping[str, bytes],
    charsets: Mapping[str, str],
    *,
    envelope_to: Sequence[str] = (),
    envelope_from: str | None = None,
    attachments: Sequence[str] = (),
) -> ParsedMail:
    """Parse a mail that was split into fields: headers, text, html, subject, from, to, cc."""
    texts = {name: decode_text(value, charsets.get(name, "")) for name, value in fields.items()}
    headers = _decode_headers(read_headers(fields.get("headers", b""))[0])
    for name in ("subject", "from", "to", "cc"):
        if texts.get(name) and name not in headers:
            headers[name] = (_normalize_space(texts[name][:_MAX_HEADER_LENGTH]),)
    text = texts.get("text", "")[:MAX_TEXT].strip() or html_to_text(texts.get("html", "")[: MAX_TEXT * 4])
    return _build_mail(headers, text[:MAX_TEXT], envelope_to, envelope_from, text[:MAX_TEXT], attachments)


def _build_mail(
    headers: Mapping[str, tuple[str, ...]],
    text: str,
    envelope_to: Sequence[str],
    envelope_from: str | None,
    report_text: str,
    attachments: Sequence[str],
    report_type: str = "",
    calendar: CalendarPart | None = None,
) -> ParsedMail:
    routing_values = [value for name in ROUTING_HEADERS for value in headers.get(name, ())]
    return_paths = [value.strip() for value in headers.get("return-path", ())]
    has_null_sender = "<>" in return_paths if envelope_from is None else envelope_from.strip() in ("", "<>")
    recipients = tuple(str(one)[:_MAX_HEADER_LENGTH] for one in (*envelope_to[:MAX_VALUES_PER_HEADER], *routing_values))
    names = tuple(_read_file_name(one) for one in attachments[:_MAX_FILE_NAMES])
    content_type = next(iter(headers.get("content-type", ())), "")
    if not content_type.lower().startswith("multipart/report"):
        report_type = ""
    elif not report_type:
        report_type = header_parameter(content_type, "report-type").lower() or "delivery-status"
    return ParsedMail(headers, text, recipients, has_null_sender, report_text, names, report_type, calendar)


def _decode_headers(headers: Mapping[str, tuple[bytes, ...]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(_decode_header(decode_text(one)) for one in values) for name, values in headers.items()}


def _decode_header(value: str) -> str:
    """Decode RFC 2047; join adjacent words of one charset first, as they may split a character."""
    pieces: list[tuple[str, bytes]] = []
    position = 0
    for match in _ENCODED_WORD.finditer(value):
        between = value[position : match.start()]
        if between.strip() or not pieces:
            pieces.append(("utf-8", between.encode("utf-8", "replace")))
        charset = match[1].partition("*")[0].lower()
        if len(pieces) > 1 and pieces[-1][0] == charset and not between.strip():
            pieces[-1] = (charset, pieces[-1][1] + _decode_word(match))
        else:
            pieces.append((charset, _decode_word(match)))
        position = match.end()
    return _normalize_space("".join(decode_text(raw, charset) for charset, raw in pieces) + value[position:])


def _read_file_name(written: str) -> str:
    return replace_control_characters(_decode_header(written[:_MAX_HEADER_LENGTH]))[:_MAX_FILE_NAME] or "unnamed"


def _decode_word(word: re.Match[str]) -> bytes:
    encoded = word[3].encode("utf-8", "replace")
    if word[2] in "qQ":
        return quopri.decodestring(encoded, header=True)
    try:
        return binascii.a2b_base64(encoded.rstrip(b"=") + b"==")
    except binascii.Error:
        return encoded


def _normalize_space(text: str) -> str:
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())


def _extract_text(parts: Sequence[MimePart]) -> str:
    """Return the text of the mail: its plain text if it has any, else its HTML as text."""
    for kind in ("text/plain", "text/html"):
        displayed = [part for part in parts if part.content_type == kind and not part.has_attachment_disposition]
        text_of_parts = "\n".join(text for part in displayed[:_MAX_TEXT_PARTS] if (text := part.text()).strip())
        if kind == "text/html":
            text_of_parts = html_to_text(text_of_parts[: MAX_TEXT * 4])
        if text_of_parts.strip():
            return text_of_parts[:MAX_TEXT]
    return ""


def _extract_report_text(parts: Sequence[MimePart]) -> str:
    """Return the machine-readable part of a report and the headers of the returned mail."""
    lines: list[str] = []
    for part in parts:
        if _REPORT_TYPE.fullmatch(part.content_type) or part.content_type in _RETURNED_MAIL_TYPES:
            text = part.text()[:20_000].lstrip("\r\n")
            if part.content_type in ("message/rfc822", "message/global"):
                text = _EMPTY_LINE.split(text, maxsplit=1)[0]
            lines += [line[:_MAX_HEADER_LENGTH] for line in _FOLDED_LINE.sub(" ", text).splitlines()]
    return "\n".join(lines)[:60_000]
