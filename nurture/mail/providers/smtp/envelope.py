"""An email as one SMTP server wants it: envelope and content, by what it offers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from nurture.mail.providers.smtp.connection import SmtpConnection, SmtpServer
from nurture.mail.rendering.mime import build_mime, encode_address
from nurture.mail.rendering.render import ComposedEmail


class UnsupportedByServer(Exception):
    """This server cannot take what the sender of the email needs."""


@dataclass(frozen=True, slots=True)
class SmtpMessage:
    """An email as this server wants it."""

    mail_command: bytes
    rcpt_command: bytes
    content: bytes


def build_smtp_message(
    connection: SmtpConnection, server: SmtpServer, email: ComposedEmail, now: datetime
) -> SmtpMessage:
    """Write *email* for what the server offers. Raises ValueError or NotByThisServer."""
    content = build_mime(email, now, eight_bit=connection.extension_parameters("8bitmime") is not None)
    sender, to = encode_address(email.sender.email, "sender"), encode_address(email.to.email)
    reply_to = encode_address(email.reply_to.email, "reply address") if email.reply_to else ""
    ascii_only = (sender + to + reply_to).isascii()
    if not ascii_only and connection.extension_parameters("smtputf8") is None:
        if to.isascii():
            raise UnsupportedByServer(
                f"{server} takes no address with letters beyond ASCII before the @ (no SMTPUTF8). "
                "Correct the sender and reply_to in templates/defaults.yaml."
            )
        raise ValueError(
            f"the recipient's address has letters beyond ASCII before the @, "
            f"and {server} takes none there (no SMTPUTF8)"
        )
    size = connection.extension_parameters("size") or ""
    if size.isdigit() and 0 < int(size) < len(content):
        raise ValueError(f"it has {len(content):,} bytes, and {server} takes {int(size):,}")
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
