"""A mail as it came, before it is read: what it says of where it belongs, and the form to keep it in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from nurture.mail.inbound.classify import REPORT, sender_of, tokens_in
from nurture.mail.inbound.message import ROUTING, Incoming, read_fields, read_mail
from nurture.mail.inbound.mime_parts import MOST_BYTES, as_text, read_headers

MOST_OF: Final[Mapping[str, int]] = {
    "email": MOST_BYTES,
    "text": 1_000_000,
    "html": 1_000_000,
    "headers": 500_000,
    **dict.fromkeys(("envelope", "charsets", "subject", "from", "to", "cc"), 64 * 1024),
}
"""The fields that are kept, and bytes of each."""

_MOST_REPORTED: Final = 512 * 1024
"""Bytes of a delivery report in which the headers of our mail are looked for."""

_MOST_TOKENS: Final = 20
_REFERENCES: Final = ("in-reply-to", "references")
_TOKEN: Final = re.compile(rb"(?i:reply)\+[A-Za-z2-7]{26}@")


class Mentions(NamedTuple):
    """What a mail says of where it belongs: the tokens of its addresses, who wrote it, what it answers."""

    tokens: tuple[str, ...]
    sender: str
    references: str


@dataclass(frozen=True, slots=True)
class RawMail:
    """A mail, whole in the field `email`, or as SendGrid takes it apart: headers, text, html, to and others.

    *attachments* is how many files came beside its fields.
    """

    fields: Mapping[str, bytes]
    attachments: int = 0

    def mentions(self) -> Mentions:
        """Look at the headers, and in a delivery report for those of the mail that came back."""
        whole = self.fields.get("email")
        source = self.fields.get("headers", b"") if whole is None else whole
        raw, body = read_headers(source)
        headers = {name: [as_text(one) for one in values] for name, values in raw.items()}
        apart = [as_text(self.fields.get(name, b"")) for name in ("to", "cc")]
        routed = [*self._envelope()[0], *apart, *(one for name in ROUTING for one in headers.get(name, ()))]
        tokens = dict.fromkeys(token for one in routed for token in tokens_in(one))
        if any(REPORT.match(one.strip()) for one in headers.get("content-type", ())):
            rest = source[body : body + _MOST_REPORTED] if whole is not None else self.fields.get("text", b"")
            tokens |= dict.fromkeys(
                token for match in _TOKEN.finditer(rest) for token in tokens_in(match[0].decode("ascii"))
            )
        written = next(iter(headers.get("from", ())), "") or as_text(self.fields.get("from", b""))
        answered = " ".join(one for name in _REFERENCES for one in headers.get(name, ()))
        return Mentions(tuple(tokens)[:_MOST_TOKENS], sender_of(written), answered)

    def read(self) -> Incoming:
        """Read the whole mail."""
        to, sender = self._envelope()
        if "email" in self.fields:
            return read_mail(self.fields["email"], envelope_to=to, envelope_from=sender)
        told = _document(self.fields.get("charsets", b""))
        charsets = {name: value for name, value in told.items() if isinstance(value, str)}
        return read_fields(
            self.fields, charsets, envelope_to=to, envelope_from=sender, attachments=self.attachments
        )

    def _envelope(self) -> tuple[list[str], str | None]:
        told = _document(self.fields.get("envelope", b""))
        to, sender = told.get("to"), told.get("from")
        listed = [to] if isinstance(to, str) else to if isinstance(to, list) else []
        return [one for one in listed if isinstance(one, str)], sender if isinstance(sender, str) else None

    def pack(self) -> bytes:
        """Return the mail as one row of bytes: the lengths of its fields on a line, then the fields."""
        kept = {name: value[: MOST_OF[name]] for name, value in self.fields.items() if name in MOST_OF}
        lengths = {name: len(value) for name, value in kept.items()}
        head = orjson.dumps({"fields": lengths, "attachments": self.attachments})
        return b"\n".join((head, b"".join(kept.values())))

    @classmethod
    def unpack(cls, packed: bytes) -> RawMail:
        """Return what was packed."""
        head, _, values = packed.partition(b"\n")
        told: dict[str, Any] = orjson.loads(head)
        fields, place = {}, 0
        for name, length in told["fields"].items():
            fields[name] = values[place : place + length]
            place += length
        return cls(fields, told["attachments"])


def _document(raw: bytes) -> Mapping[str, object]:
    try:
        told = orjson.loads(as_text(raw))
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return {}
    return told if isinstance(told, dict) else {}
