"""Untrusted mail is read in linear time, however it is built."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator
from datetime import date
from email.message import EmailMessage
from types import ModuleType
from typing import Any, Final

import pytest

from nurture import mail as package
from nurture.domain.replies import ReplyClass
from nurture.mail.inbound.classify import classify_mail, read_phrases
from nurture.mail.inbound.message import parse_mail
from nurture.mail.inbound.mime_parts import MAX_DEPTH, MAX_PARTS, decode_text, read_parts
from nurture.mail.inbound.out_of_office import parse_return_date
from nurture.mail.inbound.phrase_patterns import PhrasePattern
from nurture.mail.inbound.reply_text import extract_own_text, sanitize_text
from nurture.mail.providers.http_errors import _ADDRESS
from nurture.mail.providers.smtp.commands import sanitize_reply
from tests.mail.inbound.hostile_mails import INVALID_CHARSETS, MAILS, nested
from tests.mail.inbound.patterns import hazards
from tests.mail.inbound.replying import mail

TODAY: Final = date(2026, 1, 5)
MAX_CALLS: Final = 500_000
"""Function calls per mail; the largest legitimate one needs half. 100,000 calls take about 0.01 s."""

TRUSTED_INPUT_MODULES: Final = frozenset(
    f"nurture.mail.rendering.{name}"
    for name in (
        *("compile", "render", "mjml_layout", "markdown", "placeholders", "mime", "jinja_sandbox"),
        *("required_content", "email_file", "plain_text", "link_tracking", "link_rules", "tag_nesting", "text_checks"),
    )
) | {"nurture.mail.providers.sendgrid.payload"}
"""Modules that read only trusted input: templates and settings."""


def count_calls(raw: bytes) -> tuple[int, ReplyClass]:
    """Return the number of function calls needed to read a mail, and its kind."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    read_phrases()
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        kind = classify_mail(parse_mail(raw), TODAY).kind
    finally:
        sys.setprofile(before)
    return count, kind


@pytest.mark.parametrize("name", MAILS)
def test_a_hostile_mail_is_read_in_few_steps(name: str) -> None:
    count, _ = count_calls(MAILS[name]())
    assert count < MAX_CALLS


def _patterns() -> dict[str, re.Pattern[Any]]:
    modules = [one.name for one in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return {
        f"{name.removeprefix(f'{package.__name__}.')}.{label}": one.compiled if isinstance(one, PhrasePattern) else one
        for name in modules
        if name not in TRUSTED_INPUT_MODULES
        for label, one in _variables(importlib.import_module(name))
        if isinstance(one, re.Pattern | PhrasePattern)
    }


def _variables(module: ModuleType) -> Iterator[tuple[str, object]]:
    for name, value in vars(module).items():
        yield name, value
        if isinstance(value, dict):
            yield from ((f"{name}.{key}", one) for key, one in value.items())


def test_modules_with_trusted_input_exist() -> None:
    assert len(_patterns()) > 20
    assert all(importlib.import_module(name) for name in TRUSTED_INPUT_MODULES)


@pytest.mark.parametrize("name", _patterns())
def test_every_pattern_for_untrusted_input_takes_linear_time(name: str) -> None:
    assert hazards(_patterns()[name]) == []


@pytest.mark.parametrize(
    "pattern",
    [
        r"recipient:\s*(?:[\w-]+\s*;)?\s*<?([^\s<>;]+@[^\s<>;]+?)>?\s*$",
        r"[^\s<>\[\]]+@[^\s<>\[\]]+",
        r"\n\s*(?:regards|best)",
        r"absent\w*\b.{0,10}bureau",
        r"(?:a+)+b",
        r"(?:a{1,20}){1,20}b",
        r"\s*(?:auto)",
        r"\s*+(?:auto)",
        r"-{2,}\s*x",
        r"(?:noreply)\b.*@.*",
    ],
)
def test_a_pattern_with_superlinear_time_is_found(pattern: str) -> None:
    assert hazards(re.compile(pattern)) != []


@pytest.mark.parametrize("word", ["erst ", "wieder ", "zurück ", "am ", "ab ", "back ", "until ", "bis "])
def test_an_absence_without_a_date_has_no_return_date(word: str) -> None:
    assert parse_return_date(word * 1_000, TODAY) is None
    assert parse_return_date(word * 100 + "3 March" + " wieder" * (word in ("am ", "ab ")), TODAY) == date(
        2026, 3, 4 if word in ("until ", "bis ") else 3
    )


def test_depth_and_number_of_parts_are_limited() -> None:
    assert len(read_parts(nested(150, 400_000))) == MAX_DEPTH + 1
    assert len(read_parts(MAILS["many parts"]())) == MAX_PARTS


def test_parts_are_read_up_to_the_maximum_depth() -> None:
    assert parse_mail(nested(MAX_DEPTH, 2_000)).text.startswith("x\nx\n")
    assert parse_mail(nested(MAX_DEPTH + 1, 2_000)).text == ""


def test_headers_after_a_giant_header_are_read() -> None:
    raw = mail("Call me", kind="text/plain").replace(b"Subject:", b"X: " + b"y" * 150_000 + b"\r\nSubject:")
    read = parse_mail(raw)
    assert (read.header("subject"), read.text) == ("Re: Hello", "Call me")


def test_the_text_after_too_many_headers_is_read() -> None:
    raw = mail("Call me").replace(b"\r\n\r\n", b"\r\n" + b"x: y\r\n" * 100_000 + b"\r\n")
    assert parse_mail(raw).text == "Call me"


@pytest.mark.parametrize("charset", INVALID_CHARSETS)
def test_an_invalid_charset_is_ignored(charset: str) -> None:
    raw = b"\\u0041\\x41 68656c6c6f xn--a"
    assert decode_text(raw, charset) == raw.decode()


@pytest.mark.parametrize("charset", ["latin-1", "ISO-8859-15", "windows-1252", "cp437", "utf8", "utf-8-sig", "koi8-r"])
def test_a_charset_of_mail_is_used(charset: str) -> None:
    assert decode_text("Hello".encode(charset), charset) == "Hello"


@pytest.mark.parametrize(
    ("text", "charset"),
    [("größer", "mac-roman"), ("größer", "utf-7"), ("größer", "utf-16"), ("你好", "gb18030"),
     ("你好", "big5"), ("もしもし", "iso-2022-jp"), ("もしもし", "shift_jis"),
     ("안녕", "euc-kr"), ("привет", "koi8-u")],
)  # fmt: skip
def test_a_charset_of_another_language_is_used(text: str, charset: str) -> None:
    assert decode_text(text.encode(charset), charset) == text


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "8bit"])
def test_a_mail_of_the_standard_library_is_read_unchanged(encoding: str) -> None:
    written = EmailMessage()
    written["Subject"] = "Größe und Gewicht: " + "ä" * 100
    written["From"] = "Zoë <zoe@people.example>"
    written.set_content("Grüße, rufen Sie an.\n", cte=encoding)
    written.add_alternative("<p>Grüße</p>", subtype="html", cte=encoding)
    written.add_attachment(b"%PDF" * 1_000, maintype="application", subtype="pdf", filename="größe.pdf")
    read = parse_mail(bytes(written))
    assert read.header("subject") == written["Subject"]
    assert read.header("from") == "Zoë <zoe@people.example>"
    assert read.text.strip() == "Grüße, rufen Sie an."
    assert read.attachments == ("größe.pdf",)


def test_characters_split_across_encoded_words_are_joined() -> None:
    raw = b"Subject: a =?utf-8?q?=C3?= =?utf-8?q?=A4?= =?latin1?q?=E4?= b\n\nx"
    assert parse_mail(raw).header("subject") == "a ää b"


def test_the_number_of_combining_marks_per_letter_is_limited() -> None:
    assert len(sanitize_text("a" + "\u0301\u0316" * 50_000)) < 20
    assert sanitize_text("n\u0303o\u0302\u0301") == "ñ\u1ed1"


@pytest.mark.parametrize(
    "line",
    ["On Mon, 5 Jan 2026, Ada <ada@house.example> wrote:", "Am 05.01.2026 um 10:00 schrieb Ada Berg:",
     "Le lun. 5 janv. 2026, Ada a écrit :", "Ada Berg <ada@house.example> wrote:",
     "W dniu 5.01.2026 Ada napisał(a):",
     "Den 5 januari 2026 skrev Ada Berg:", "Op ma 5 jan. 2026 schreef Ada <ada@house.example>:"],
)  # fmt: skip
def test_an_attribution_line_is_recognized(line: str) -> None:
    assert extract_own_text(f"Call me\n\n{line}\nHello Mia").above_quotation == "Call me"


@pytest.mark.parametrize(
    "line", ["On Monday I wrote: call me", "Only Ada wrote this:", "He wrote:", "Am Montag schrieb ich es auf."]
)
def test_a_line_that_resembles_an_attribution_is_own_text(line: str) -> None:
    assert line in extract_own_text(f"Hello\n{line}\nbye").above_quotation


def test_a_servers_long_reply_is_quoted_without_addresses() -> None:
    assert sanitize_reply(b"550 " + b"a" * 64_000) == "550 " + "a" * 296
    assert sanitize_reply(b'<a.b@c.example> or "x y"@d.example said no') == "(address) or (address) said no"
    assert _ADDRESS.sub("(address)", "a" * 64_000 + " b@c.example!") == "a" * 64_000 + " (address)"
