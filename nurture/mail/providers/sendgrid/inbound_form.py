"""Read the form in which SendGrid posts a mail, from a file, never as a whole."""

from __future__ import annotations

import mmap
from typing import IO, Final

from python_multipart.multipart import parse_options_header

from nurture.mail.inbound.mime_parts import as_text, parameter, read_headers, sections
from nurture.mail.inbound.raw_mail import MOST_OF, RawMail

_MOST_HEADERS: Final = 20
_WORDS: Final = ("headers", "text", "html")


class NoForm(ValueError):
    """A body that is no form, or breaks off."""


def read_form(body: IO[bytes], content_type: str) -> RawMail:
    """Read the mail in a multipart form; files are counted and passed over. Raises NoForm."""
    kind, told = parse_options_header(content_type.encode("latin-1", "replace"))
    boundary = told.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise NoForm("it is no multipart form")
    body.flush()
    try:
        # A search in the file's pages takes a thousandth of what walking through its bytes does.
        with mmap.mmap(body.fileno(), 0, access=mmap.ACCESS_READ) as whole:
            return _mail_in(whole, boundary)
    except ValueError as error:
        raise NoForm("it is a broken form") from error


def _mail_in(whole: mmap.mmap, boundary: bytes) -> RawMail:
    if whole.rfind(b"--" + boundary + b"--") < 0:
        raise NoForm("it breaks off")
    fields: dict[str, bytes] = {}
    files = 0
    for start, end in sections(whole, 0, len(whole), boundary):
        headers, place = read_headers(whole, start, end, _MOST_HEADERS)
        disposition = as_text(next(iter(headers.get("content-disposition", ())), b""))
        name = parameter(disposition, "name")
        if parameter(disposition, "filename") and name not in ("email", *_WORDS):
            files += 1
        elif name in MOST_OF:
            fields[name] = whole[place : min(end, place + MOST_OF[name])]
    if not fields.keys() & {"email", *_WORDS}:
        raise NoForm("it holds no mail")
    return RawMail(fields, files)
