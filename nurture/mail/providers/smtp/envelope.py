"""Build the SMTP envelope and content of an email for the extensions that a server offers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from nurture.mail.providers.smtp.connection import SmtpConnection, SmtpServer
from nurture.mail.rendering.mime import build_mime, encode_address
from nurture.mail.rendering.render import ComposedEmail


class UnsupportedByServer(Exception):
    """The server lacks an extension that the sender's address needs."""


@dataclass(frozen=True, slots=True)
class SmtpMessage:
    """An email as SMTP commands and dot-stuffed content."""

    mail_command: bytes
    rcpt_command: bytes
    content: bytes


def build_smtp_message(
    connection: SmtpConnection, server: SmtpServer, email: ComposedEmail, now: datetime
) -> SmtpMessage:
    """Build *email* for the server's extensions. Raises ValueError or UnsupportedByServer."""
    content = build_mime(email, now, eight_bit=connection.extension_parameters("8bitmime") is not None)
    sender, to = encode_address(email.sender.email, "sender"), encode_address(email.to.email)
    reply_to = encode_address(email.reply_to.email, "reply address") if email.reply_to else ""
    ascii_only = (sender + to + reply_to).isascii()
    if not ascii_only and connection.extension_parameters("smtputf8") is None:
        if to.isascii():
            raise UnsupportedByServer(
                f"{server} accepts no address with non-ASCII letters before the @ (no SMTPUTF8). "
                "Correct the sender and reply_to in templates/defaults.yaml."
            )
        raise ValueError(
            f"the recipient's address has non-ASCII letters before the @, which {server} does not accept (no SMTPUTF8)"
        )
    size = connection.extension_parameters("size") or ""
    if size.isdigit() and 0 < int(size) < len(content):
        raise ValueError(f"it has {len(content):,} bytes; the limit of {server} is {int(size):,}")
    options = [
        f" SIZE={len(content)}" if connection.extension_parameters("size") is not None else "",
        "" if content.isascii() else " BODY=8BITMIME",
        "" if ascii_only else " SMTPUTF8",
    ]
    return SmtpMessage(
        mail_command=f"MAIL FROM:<{sender}>{''.join(options)}\r\n".encode(),
        rcpt_command=f"RCPT TO:<{to}>\r\n".encode(),
        content=content.replace(b"\r\n.", b"\r\n..") + b".\r\n",
    )
