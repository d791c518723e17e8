"""Read the form in which SendGrid posts a mail, from a file, never as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Final

import orjson
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from nurture.mail.incoming import Incoming, read_fields, read_mail
from nurture.mail.mime_parts import MOST_BYTES, as_text

CHUNK: Final = 64 * 1024
_MOST_OF: Final = {"email": MOST_BYTES, "text": 1_000_000, "html": 1_000_000, "headers": 500_000}
_SMALL: Final = ("envelope", "charsets", "subject", "from", "to", "cc")
_MOST_SMALL: Final = 64 * 1024


class NoForm(ValueError):
    """A body that is no form, or breaks off."""


@dataclass
class Form:
    """What a form says of a mail: its fields as far as they are looked at, and how many files came along."""

    fields: dict[str, bytearray] = field(default_factory=dict)
    files: int = 0


class _Reading:
    """Gathers the parts that are wanted; files are counted and forgotten."""

    def __init__(self) -> None:
        self.form = Form()
        self._name = b""
        self._value = b""
        self._into: bytearray | None = None
        self._most = 0
        self.ended = False

    def on_part_begin(self) -> None:
        self._into, self._name, self._value = None, b"", b""

    def on_header_field(self, chunk: bytes, start: int, end: int) -> None:
        self._name += chunk[start:end]

    def on_header_value(self, chunk: bytes, start: int, end: int) -> None:
        self._value += chunk[start:end]

    def on_header_end(self) -> None:
        if self._name.strip().lower() == b"content-disposition":
            _, told = parse_options_header(self._value)
            name = told.get(b"name", b"").decode("latin-1")
            if b"filename" in told and name not in _MOST_OF:
                self.form.files += 1
            elif name in _MOST_OF or name in _SMALL:
                self._into = self.form.fields.setdefault(name, bytearray())
                self._most = _MOST_OF.get(name, _MOST_SMALL)
        self._name, self._value = b"", b""

    def on_part_data(self, chunk: bytes, start: int, end: int) -> None:
        if self._into is not None and len(self._into) < self._most:
            self._into += chunk[start : min(end, start + self._most - len(self._into))]

    def on_end(self) -> None:
        self.ended = True


def read_form(body: IO[bytes], content_type: str) -> Form:
    """Read a multipart form from its beginning. Raises NoForm."""
    kind, told = parse_options_header(content_type.encode("latin-1", "replace"))
    boundary = told.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise NoForm("it is no multipart form")
    reading = _Reading()
    names = ("part_begin", "header_field", "header_value", "header_end", "part_data", "end")
    try:
        callbacks = {f"on_{name}": getattr(reading, f"on_{name}") for name in names}
        parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
        body.seek(0)
        while chunk := body.read(CHUNK):
            parser.write(chunk)
    except FormParserError as error:
        raise NoForm("it is a broken form") from error
    if not reading.ended:
        raise NoForm("it breaks off")
    return reading.form


def mail_of(form: Form) -> Incoming:
    """Return the mail in a form, whole ("raw") or taken apart. Raises NoForm for a form without one."""
    to, sender = _envelope(bytes(form.fields.get("envelope", b"")))
    if "email" in form.fields:
        return read_mail(bytes(form.fields["email"]), envelope_to=to, envelope_from=sender)
    if "headers" not in form.fields and "text" not in form.fields and "html" not in form.fields:
        raise NoForm("it holds no mail")
    told = _document(bytes(form.fields.get("charsets", b"")))
    charsets = {name: value for name, value in told.items() if isinstance(value, str)}
    fields = {name: bytes(value) for name, value in form.fields.items()}
    return read_fields(fields, charsets, envelope_to=to, envelope_from=sender, attachments=form.files)


def _envelope(raw: bytes) -> tuple[list[str], str | None]:
    told = _document(raw)
    to, sender = told.get("to"), told.get("from")
    listed = [to] if isinstance(to, str) else to if isinstance(to, list) else []
    return [one for one in listed if isinstance(one, str)], sender if isinstance(sender, str) else None


def _document(raw: bytes) -> Mapping[str, object]:
    try:
        told = orjson.loads(as_text(raw))
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return {}
    return told if isinstance(told, dict) else {}
