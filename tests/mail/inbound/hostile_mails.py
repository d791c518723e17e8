"""Mails that an attacker could send to block the reader: one per attack."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Final

from tests.mail.inbound.replying import TO, bounce, mail

MEGABYTE: Final = 1024 * 1024
_WORDS: Final = ("erst ", "wieder ", "zurück ", "am ", "ab ", "back ", "until ", "bis ", "1.1. ", "1 ", "am 1.1. ")
_REPEATED_TEXTS: Final = (
    "please ",
    "stop ",
    "on ",
    "Am 1. schrieb ",
    "user not found ",
    "-- ",
    "\n",
    " ",
    "hi ",
    "From: x\n",
)


def hostile(parts: int, blanks: int = 3990) -> bytes:
    """Return a delivery report with long runs of blanks."""
    part = "--B\r\nContent-Type: text/rfc822-headers\r\n\r\n"
    first = part + "final-recipient:" + " " * (blanks - 20) + "\r\n"
    return (
        f"From: a@example.net\r\nTo: {TO}\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; boundary="B"\r\n\r\n'
        + first
        + (part + " " * blanks + "\r\n") * (parts - 1)
        + "--B--\r\n"
    ).encode()


def nested(depth: int, size: int = 4 * MEGABYTE) -> bytes:
    """Return nested parts with short lines in the innermost."""
    levels = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(depth))
    head = _head() + levels + b"Content-Type: text/plain\r\n\r\n"
    return head + b"x\n" * ((size - len(head)) // 2)


def enclosed(depth: int) -> bytes:
    """Return nested mails."""
    return _head() + b"Content-Type: message/rfc822\r\n\r\n" * depth + b"Subject: x\r\n\r\nhi\r\n"


def _head() -> bytes:
    return f"From: a@example.net\r\nTo: {TO}\r\nMIME-Version: 1.0\r\n".encode()


def _multipart(body: bytes, kind: bytes = b"mixed") -> bytes:
    return _head() + b"Content-Type: multipart/%b; boundary=b\r\n\r\n%b" % (kind, body)


def _coded(encoding: bytes, body: bytes, kind: bytes = b"text/plain; charset=utf-8") -> bytes:
    return _head() + b"Content-Type: %b\r\nContent-Transfer-Encoding: %b\r\n\r\n%b" % (kind, encoding, body)


def _filled(piece: str, size: int = 4 * MEGABYTE) -> str:
    return piece * (size // len(piece.encode()))


INVALID_CHARSETS: Final = (
    *("unicode_escape", "raw_unicode_escape", "punycode", "idna", "rot13", "rot_13", "hex", "zip"),
    *("base64", "bz2", "uu", "quopri", "undefined", "mbcs", "oem"),
    *("../../etc/passwd", "utf_8\x00", "x" * 3_000, "UNICODE-ESCAPE", "unicode escape"),
)
_CHARSETS: Final = ("utf-7", "utf-16", "utf-32", "iso-2022-jp", "hz", "gb18030")

MAILS: Final[Mapping[str, Callable[[], bytes]]] = {
    "a report of blanks": lambda: hostile(15),
    "a report of a line of blanks": lambda: hostile(1, 60_000),
    "a report of actions": lambda: _multipart(
        (b"--b\r\nContent-Type: message/delivery-status\r\n\r\n" + b"Action: \n" * 7_000) * 3, b"report"
    ),
    "a report of unknown users": lambda: bounce("a@b.example", "5.0.0").replace(
        b"smtp; 550 no such user", b"user " * 3_900
    ),
    "a report of users that are not found": lambda: bounce("a@b.example", "5.0.0").replace(
        b"smtp; 550 no such user", b"not found " * 3_900
    ),
    "parts in parts": lambda: nested(150),
    "parts in parts, small": lambda: nested(50, 400_000),
    "ten parts in parts": lambda: nested(10),
    "mails in mails": lambda: enclosed(100_000),
    "mails in mails with lines": lambda: enclosed(100) + b"x\n" * MEGABYTE,
    "many parts": lambda: _multipart(b"--b\n\nx\n" * 525_000),
    "many empty parts": lambda: _multipart(b"--b\n" * 1_000_000),
    "many near dividers": lambda: _multipart(b"--b\n\nx\n--bx\n" + b"--by\n" * 800_000),
    "many dashes": lambda: _multipart(b"--b\n\n" + b"--\n" * 1_300_000),
    "a divider of dashes": lambda: (
        _head() + b'Content-Type: multipart/mixed; boundary="%b"\r\n\r\n' % (b"-" * 70) + b"-" * 4 * MEGABYTE
    ),
    "a divider without an end": lambda: (
        _head() + b'Content-Type: multipart/mixed; boundary="%b\r\n\r\nx' % (b"b" * 100_000)
    ),
    "many headers": lambda: _head() + b"".join(b"a%x:b\n" % n for n in range(100_000)) + b"\nhi\n",
    "one header many times": lambda: _head() + b"To: a@example.net\n" * 200_000 + b"\nhi\n",
    "many headers in each part": lambda: _multipart(
        (b"--b\n" + b"".join(b"a%x:b\n" % n for n in range(4_000)) + b"\nhi\n") * 100
    ),
    "headers without an end": lambda: _head() + b"X: y\n" * 800_000,
    "a header of many folds": lambda: _head() + b"X: y\n" + b" z\n" * 1_000_000 + b"\nhi\n",
    "a header of one line": lambda: _head() + b"X: " + b"y" * 4 * MEGABYTE,
    "a long encoded word": lambda: mail("hi", subject=f"=?utf-8?q?{'=41' * 300_000}?="),
    "many encoded words": lambda: mail("hi", subject="=?utf-8?q?a?= " * 100_000),
    "encoded words without an end": lambda: mail("hi", subject="=?a?q?" * 100_000),
    "encoded words in each header": lambda: (
        _head() + b"".join(b"a%x: %b\n" % (n, b"=?a?q?" * 600) for n in range(900)) + b"\nhi\n"
    ),
    "an encoded word of punycode": lambda: mail("hi", subject=f"=?punycode?q?{'9a' * 900}?=" * 2),
    "many parameters": lambda: mail("hi", kind="text/plain" + "; a=b" * 100_000),
    "parameters in pieces": lambda: mail(
        "hi", kind="text/plain" + "".join(f"; a*{n}*=utf-8''%41" for n in range(50_000))
    ),
    "parameters in open quotes": lambda: mail("hi", kind='text/plain; a="' + ";" * 300_000),
    "parameters of quotes": lambda: mail("hi", kind='text/plain; a="' + '\\"' * 300_000),
    "parameters in each part": lambda: _multipart(
        (b"--b\nContent-Type: text/plain" + b'; a="' * 8_000 + b"\n\nhi\n") * 100
    ),
    "base64 of nothing": lambda: _coded(b"base64", b"=" * 4 * MEGABYTE),
    "base64 of spaces": lambda: _coded(b"base64", b"QQ \n" * MEGABYTE),
    "base64 of blanks": lambda: _coded(b"base64", base64.b64encode(b" " * 3 * MEGABYTE)),
    "base64 in each part": lambda: _multipart(
        (b"--b\nContent-Transfer-Encoding: base64\n\n" + b"QUJD" * 10_000 + b"\n") * 100
    ),
    "quoted-printable of equals": lambda: _coded(b"quoted-printable", b"=" * 4 * MEGABYTE),
    "quoted-printable of soft breaks": lambda: _coded(b"quoted-printable", b"=\r\n" * MEGABYTE),
    "quoted-printable of blanks": lambda: _coded(b"quoted-printable", b" " * 4 * MEGABYTE + b"x"),
    "one line": lambda: mail("x" * 4 * MEGABYTE),
    "lines of one letter": lambda: mail("x\n" * 2 * MEGABYTE),
    "returns alone": lambda: mail("x").replace(b"\n", b"") + b"\r" * 4 * MEGABYTE,
    "nuls": lambda: mail("\0" * 4 * MEGABYTE),
    "marks on one letter": lambda: mail("a" + "\u0301\u0316" * 50_000),
    "marks on each letter": lambda: mail(("a" + "\u0301\u0316" * 12) * 4_000),
    "signs that turn text around": lambda: mail("\u202e" * 100_000),
    "ligatures": lambda: mail("\ufdfa" * 100_000),
    "addresses": lambda: mail("hi", to=TO + ", a@b.example" * 100_000),
    "groups of addresses": lambda: mail("hi", to=TO + ", a:b;" * 100_000),
    "senders": lambda: mail("hi", sender="a@b.example, " * 100_000),
    "comments in a sender": lambda: mail("hi", sender="(" * 100_000),
    "closed comments in a sender": lambda: mail("hi", sender="(" * 450 + ")" * 450 + " a@b.example"),
    "quotes in a sender": lambda: mail("hi", sender='"\\' * 100_000),
    "routes in a sender": lambda: mail("hi", sender="<" + "@a," * 100_000 + ":b@c.example>"),
    "dots in a sender": lambda: mail("hi", sender="." * 100_000),
    "tokens": lambda: mail("hi", to=TO + ", " + "reply+" * 100_000),
    "comments in a date": lambda: mail("hi", Date="(" * 100_000),
    "a date of digits": lambda: mail("hi", Date="Mon, " + "9" * 100_000 + " Jan 2026 11:30:00"),
    "days of digits": lambda: _out_of_office("back on " + "9" * 100_000 + " March " + "9" * 100_000),
    "days of digits and points": lambda: _out_of_office("back on " + "1." * 50_000),
    "days of all kinds": lambda: _out_of_office(
        "back on 1/1/99 2026-01-99 31 February 99.99.9999 1st of " * 2_000
    ),
    "nested tags": lambda: mail("<div>" * 100_000, kind="text/html"),
    "nested quotations": lambda: mail("<blockquote>" * 100_000, kind="text/html"),
    "tags that cross": lambda: mail(("<b>" * 500 + "<div>" * 500 + "</b>" * 500) * 20, kind="text/html"),
    "tags in tables": lambda: mail("<table><div>" * 100_000, kind="text/html"),
    "a giant attribute": lambda: mail(f"<div a='{'x' * 4 * MEGABYTE}'>hi", kind="text/html"),
    "many attributes": lambda: mail(f"<div {'a=b ' * MEGABYTE}>hi", kind="text/html"),
    "comments in HTML": lambda: mail("<!--" * MEGABYTE, kind="text/html"),
    "entities": lambda: mail("&" * 4 * MEGABYTE, kind="text/html"),
    "entities that are some": lambda: mail("&amp;" * 800_000, kind="text/html"),
    "open tags": lambda: mail("<" * 4 * MEGABYTE, kind="text/html"),
    "many HTML parts": lambda: _multipart(
        (b"--b\nContent-Type: text/html\n\n" + b"<div>" * 8_000 + b"\n") * 100
    ),
    **{f"charset {name[:20]!r}": lambda name=name: _in(name) for name in (*INVALID_CHARSETS, *_CHARSETS)},  # type: ignore[misc]
    **{f"away: {word!r}": lambda word=word: _out_of_office(_filled(word)) for word in _WORDS},  # type: ignore[misc]
    **{f"said: {word!r}": lambda word=word: mail(_filled(word)) for word in _REPEATED_TEXTS},  # type: ignore[misc]
}  # fmt: skip
"""Builders by name."""


def _in(charset: str) -> bytes:
    body = b"\\u0041\\x41+AGE-a-" + b"9a" * MEGABYTE
    return _coded(b"8bit", body, b'text/plain; charset="%b"' % charset.encode())


def _out_of_office(body: str) -> bytes:
    return mail(body, subject="Automatic reply: Hello", Auto_Submitted="auto-replied")
