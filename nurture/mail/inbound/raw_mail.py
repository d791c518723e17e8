"""Raw inbound mail: its routing hints, and its stored form."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from nurture.mail.inbound.classify import REPORT_CONTENT_TYPE, find_tokens, parse_sender
from nurture.mail.inbound.message import ROUTING_HEADERS, ParsedMail, parse_fields, parse_mail
from nurture.mail.inbound.mime_parts import MAX_BYTES, decode_text, read_headers

MAX_FIELD_BYTES: Final[Mapping[str, int]] = {
    "email": MAX_BYTES,
    "text": 1_000_000,
    "html": 1_000_000,
    "headers": 500_000,
    **dict.fromkeys(("envelope", "charsets", "subject", "from", "to", "cc"), 64 * 1024),
}
"""The fields that are stored, and the maximum bytes of each."""

_MAX_REPORT_BYTES: Final = 512 * 1024
"""Bytes of a delivery report that are searched for the headers of the returned mail."""

_MAX_TOKENS: Final = 20
_REFERENCE_HEADERS: Final = ("in-reply-to", "references")
_TOKEN: Final = re.compile(rb"(?i:reply)\+[A-Za-z2-7]{26}@")


class RoutingHints(NamedTuple):
    """What matches a mail to a message: tokens of reply addresses, the sender, and referenced Message-IDs."""

    tokens: tuple[str, ...]
    sender: str
    references: str


@dataclass(frozen=True, slots=True)
class RawMail:
    """A mail, either whole in the field `email`, or split by SendGrid into headers, text, html, to and others.

    *attachments* names the files beside the fields.
    """

    fields: Mapping[str, bytes]
    attachments: tuple[str, ...] = ()

    def routing_hints(self) -> RoutingHints:
        """Read the hints from the headers, and from those of the returned mail in a delivery report."""
        message = self.fields.get("email")
        source = self.fields.get("headers", b"") if message is None else message
        raw, body = read_headers(source)
        headers = {name: [decode_text(value) for value in values] for name, values in raw.items()}
        separate_fields = [decode_text(self.fields.get(name, b"")) for name in ("to", "cc")]
        routing_values = [
            *self._envelope()[0],
            *separate_fields,
            *(one for name in ROUTING_HEADERS for one in headers.get(name, ())),
        ]
        tokens = dict.fromkeys(token for one in routing_values for token in find_tokens(one))
        if any(REPORT_CONTENT_TYPE.match(one.strip()) for one in headers.get("content-type", ())):
            report = source[body : body + _MAX_REPORT_BYTES] if message is not None else self.fields.get("text", b"")
            tokens |= dict.fromkeys(
                token for match in _TOKEN.finditer(report) for token in find_tokens(match[0].decode("ascii"))
            )
        from_value = next(iter(headers.get("from", ())), "") or decode_text(self.fields.get("from", b""))
        references = " ".join(one for name in _REFERENCE_HEADERS for one in headers.get(name, ()))
        return RoutingHints(tuple(tokens)[:_MAX_TOKENS], parse_sender(from_value), references)

    def parse(self) -> ParsedMail:
        """Parse the whole mail."""
        to, sender = self._envelope()
        if "email" in self.fields:
            return parse_mail(self.fields["email"], envelope_to=to, envelope_from=sender)
        charset_fields = _parse_object(self.fields.get("charsets", b""))
        charsets = {name: value for name, value in charset_fields.items() if isinstance(value, str)}
        return parse_fields(self.fields, charsets, envelope_to=to, envelope_from=sender, attachments=self.attachments)

    def _envelope(self) -> tuple[list[str], str | None]:
        envelope = _parse_object(self.fields.get("envelope", b""))
        to, sender = envelope.get("to"), envelope.get("from")
        recipients = [to] if isinstance(to, str) else to if isinstance(to, list) else []
        return [one for one in recipients if isinstance(one, str)], sender if isinstance(sender, str) else None

    def pack(self) -> bytes:
        """Serialize the mail: one line of JSON with the field lengths, then the fields."""
        kept_fields = {
            name: value[: MAX_FIELD_BYTES[name]] for name, value in self.fields.items() if name in MAX_FIELD_BYTES
        }
        lengths = {name: len(value) for name, value in kept_fields.items()}
        head = orjson.dumps({"fields": lengths, "attachments": self.attachments})
        return b"\n".join((head, b"".join(kept_fields.values())))

    @classmethod
    def unpack(cls, packed: bytes) -> "RawMail":
        """Return the mail that `pack` serialized."""
        head, _, values = packed.partition(b"\n")
        header: dict[str, Any] = orjson.loads(head)
        fields, position = {}, 0
        for name, length in header["fields"].items():
            fields[name] = values[position : position + length]
            position += length
        return cls(fields, tuple(header["attachments"]))


def _parse_object(raw: bytes) -> Mapping[str, object]:
    try:
        parsed = orjson.loads(decode_text(raw))
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
