"""Build replies and bounces as mail programs and servers write them."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

TOKEN: Final = "abcdefghijklmnopqrstuvwxy2"
TO: Final = f"reply+{TOKEN}@in.example.com"


def mail(
    body: str,
    *,
    to: str = TO,
    sender: str = "Mia Berg <mia@people.example>",
    subject: str = "Re: Hello",
    kind: str = "text/plain; charset=utf-8",
    number: str = "1",
    **headers: str,
) -> bytes:
    """Return a reply. Header names have _ for -."""
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return (
        f"Return-Path: <mia@people.example>\r\nFrom: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\n"
        f"Date: Mon, 05 Jan 2026 11:30:00 +0000\r\nMessage-ID: <{number}@people.example>\r\n"
        f"MIME-Version: 1.0\r\n{more}Content-Type: {kind}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{body}"
    ).encode()


def bounce(recipient: str, status: str = "5.1.1", token: str = TOKEN, action: str = "failed") -> bytes:
    """Return a delivery status notification with the headers of the returned mail."""
    return (
        "Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.example\r\nTo: ada@house.example\r\n"
        "Subject: Undelivered Mail Returned to Sender\r\nAuto-Submitted: auto-replied\r\n"
        f"Message-ID: <{status}.{recipient}@mx.example>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="B"\r\n\r\n'
        "--B\r\nContent-Type: text/plain\r\n\r\nI am sorry to have to inform you.\r\n"
        "--B\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n"
        f"Final-Recipient: rfc822; {recipient}\r\nAction: {action}\r\nStatus: {status}\r\n"
        "Diagnostic-Code: smtp; 550 no such user\r\n"
        "--B\r\nContent-Type: text/rfc822-headers\r\n\r\n"
        f"From: Ada <ada@house.example>\r\nTo: {recipient}\r\nReply-To: reply+{token}@in.example.com\r\n"
        "--B--\r\n"
    ).encode()


def report(kind: str, fields: str, *, part: str = "", returned: str = f"Reply-To: {TO}") -> bytes:
    """Return a report of *kind* with its machine-readable *fields* and the headers of the returned mail."""
    lines = fields.replace("\r\n", "\n").replace("\n", "\r\n")
    return (
        "Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.example\r\nTo: ada@house.example\r\nSubject: Report\r\n"
        f"Message-ID: <{sha256((kind + fields + returned).encode()).hexdigest()[:20]}@mx.example>\r\n"
        f'MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type={kind}; boundary="B"\r\n\r\n'
        "--B\r\nContent-Type: text/plain\r\n\r\nThis is a report.\r\n"
        f"--B\r\nContent-Type: {part or f'message/{kind}'}\r\n\r\n{lines}\r\n"
        f"--B\r\nContent-Type: text/rfc822-headers\r\n\r\n{returned}\r\n--B--\r\n"
    ).encode()
